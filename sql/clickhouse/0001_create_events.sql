-- why: one row per accepted event, with the columns every report reads and the whole payload as JSON.
-- blocking: no

-- A redelivery has the same sort key, so the newest copy replaces the older ones: `ingested_at` is the
-- version because the only writer that brings other values for the same event is a later correction
-- (enrichment done again), and that one must win whatever the order of merges.
-- Numbers are 32 bits wide and saturate in the writer: 16 bits turned an LCP of 70,000 ms into 4,464.
CREATE TABLE IF NOT EXISTS events (
    -- Identifiers
    event_id           UUID,
    project_id         String,
    session_id         UUID,
    user_id            String DEFAULT '',
    anonymous_id       String DEFAULT '',
    page_view_id       String DEFAULT '',

    -- Event
    event_type         LowCardinality(String),
    timestamp          DateTime64(3, 'UTC'),

    -- Page and campaign
    url                String DEFAULT '',
    path               String DEFAULT '',
    title              String DEFAULT '',
    referrer           String DEFAULT '',
    referrer_domain    String DEFAULT '',
    utm_source         LowCardinality(String) DEFAULT '',
    utm_medium         LowCardinality(String) DEFAULT '',
    utm_campaign       String DEFAULT '',
    utm_term           String DEFAULT '',
    utm_content        String DEFAULT '',

    -- Click: page coordinates in CSS pixels
    click_x            Nullable(Int32),
    click_y            Nullable(Int32),
    target_selector    String DEFAULT '',
    target_tag         LowCardinality(String) DEFAULT '',
    target_text        String DEFAULT '',

    -- Scroll: percent, 0 to 100
    scroll_depth       Nullable(UInt32),
    scroll_direction   LowCardinality(String) DEFAULT '',

    -- Error
    error_message      String DEFAULT '',
    error_stack        String DEFAULT '' CODEC(ZSTD(3)),
    error_type         LowCardinality(String) DEFAULT '',
    error_fingerprint  String DEFAULT '',

    -- Performance: milliseconds, but for cls, which has no unit
    lcp                Nullable(UInt32),
    fid                Nullable(UInt32),
    cls                Nullable(Float32),
    ttfb               Nullable(UInt32),
    fcp                Nullable(UInt32),
    inp                Nullable(UInt32),
    load_complete      Nullable(UInt32),
    time_on_page_ms    Nullable(UInt32),

    -- Everything the event carried, as JSON with sorted keys
    payload            String DEFAULT '{}' CODEC(ZSTD(3)),
    custom             String DEFAULT '{}' CODEC(ZSTD(3)),

    -- Device
    browser            LowCardinality(String) DEFAULT '',
    browser_version    LowCardinality(String) DEFAULT '',
    os                 LowCardinality(String) DEFAULT '',
    os_version         LowCardinality(String) DEFAULT '',
    device_type        LowCardinality(String) DEFAULT '',
    screen_width       UInt32 DEFAULT 0,
    screen_height      UInt32 DEFAULT 0,
    viewport_width     UInt32 DEFAULT 0,
    viewport_height    UInt32 DEFAULT 0,
    device_pixel_ratio Float32 DEFAULT 0,
    language           LowCardinality(String) DEFAULT '',
    timezone           LowCardinality(String) DEFAULT '',

    -- Place
    ip                 String DEFAULT '',
    country            LowCardinality(String) DEFAULT '',
    country_code       LowCardinality(String) DEFAULT '',
    region             LowCardinality(String) DEFAULT '',
    city               LowCardinality(String) DEFAULT '',

    -- Channel
    channel_type       LowCardinality(String) DEFAULT '',
    external_id        String DEFAULT '',
    handshake_token    String DEFAULT '',
    sdk_version        LowCardinality(String) DEFAULT '',
    is_bot             Bool DEFAULT false,

    -- Receipt, and the place in Kafka this row was read from
    received_at        DateTime64(3, 'UTC'),
    retain_days        UInt32 DEFAULT 90,
    source_topic       LowCardinality(String) DEFAULT '',
    source_partition   UInt32 DEFAULT 0,
    source_offset      UInt64 DEFAULT 0,
    source_index       UInt32 DEFAULT 0,
    source_block_last  UInt64 DEFAULT 0, -- The last offset of the block this row was written with.
    ingested_at        DateTime64(3, 'UTC') DEFAULT now64(3),

    -- Computed, so that no writer can set it wrongly; UTC whatever the server's time zone.
    event_date         Date MATERIALIZED toDate(timestamp),

    -- A session's page gives no date; a ledger check gives only the time of receipt.
    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_minmax received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(event_date)
ORDER BY (project_id, event_date, event_type, session_id, timestamp, event_id)
-- Each row carries its project's limit; 0 is a writer that did not know it, never "delete at once".
TTL event_date + toIntervalDay(least(if(retain_days = 0, 90, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000;
