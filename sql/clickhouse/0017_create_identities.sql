-- why: who an anonymous visitor turned out to be, so that earlier and later visits are one person's.
-- blocking: no

-- One row for each time that somebody said who it is: on a shared computer the last word before an
-- event counts, and a repetition between two other people's words must not be lost. A row comes from
-- an event and is as repeatable as that. No time limit: a link holds for as long as the visitor's
-- browser keeps its id. Source: sessions.md, section 7.
CREATE TABLE IF NOT EXISTS identities (
    project_id    String,
    anonymous_id  String,
    user_id       String,
    linked_at     DateTime64(3, 'UTC'),
    link_source   LowCardinality(String), -- identify, login, handshake
    event_id      UUID, -- Of two links of one millisecond the one of the higher id counts.
    traits        Map(String, String) CODEC(ZSTD(3)),

    INDEX user_id_bloom user_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (project_id, anonymous_id, linked_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- At most 50 traits of 1,024 characters. What its name says to be a secret is left out: `pin` only as
-- a word of its own, or an address for shipping would be one.
CREATE MATERIALIZED VIEW IF NOT EXISTS identities_mv TO identities AS
SELECT
    project_id,
    anonymous_id,
    user_id,
    timestamp AS linked_at,
    'identify' AS link_source,
    event_id,
    mapFromArrays(
        arrayMap(trait -> trait.1, traits_kept),
        arrayMap(trait -> substringUTF8(trait.2, 1, 1024), traits_kept)
    ) AS traits
FROM (
    SELECT
        project_id,
        anonymous_id,
        user_id,
        timestamp,
        event_id,
        arraySlice(
            arrayFilter(
                trait -> NOT match(
                    trait.1,
                    '(?i)pass(word|wd|phrase)|secret|token|card|(?-i)(^|[^a-zA-Z])(pin|PIN|Pin)([^a-z]|$)|[a-z]P(in|IN)([^a-z]|$)'
                ),
                JSONExtractKeysAndValues(payload, 'traits', 'String')
            ),
            1,
            50
        ) AS traits_kept
    FROM events
    WHERE event_type = 'identify' AND user_id != '' AND anonymous_id != ''
);
