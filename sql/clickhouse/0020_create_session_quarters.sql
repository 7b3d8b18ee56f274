-- why: the overview of a month counted every event of it, several times over; what one session did in
--      a quarter of an hour is one row, whatever it did.
-- blocking: yes

-- No time zone in use begins its days within a quarter of an hour, so every day of every zone is made
-- of whole rows. Sets of ids are exact: an id is a key, never a sketch. The first source is what
-- top_referrers asks for; without any it is the end of time and ''. Rows go when their events go.
CREATE TABLE IF NOT EXISTS session_quarters (
    project_id     String,
    quarter        DateTime('UTC'),
    session_id     UUID,
    anonymous_id   String,
    user_id        String,
    browser        LowCardinality(String),
    device_type    LowCardinality(String),
    country        LowCardinality(String),
    country_code   LowCardinality(String),
    event_count    SimpleAggregateFunction(sum, UInt64),
    page_views     SimpleAggregateFunction(sum, UInt64),
    first_source   SimpleAggregateFunction(min, Tuple(DateTime64(3, 'UTC'), String)),
    changed_at     SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    retain_days    SimpleAggregateFunction(max, UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(quarter)
ORDER BY (
    project_id, quarter, session_id, anonymous_id, user_id, browser, device_type, country,
    country_code
)
TTL toDate(quarter) + toIntervalDay(least(if(retain_days = 0, 90, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000
-- Events that are there already, while nothing writes. Row by row, so that it needs no memory for the
-- groups: the table makes them. If it is broken off, drop the table before the next try.
AS SELECT
    project_id,
    toStartOfFifteenMinutes(timestamp),
    session_id,
    anonymous_id,
    user_id,
    browser,
    device_type,
    country,
    country_code,
    1,
    event_type = 'page_view',
    (
        if(utm_source != '' OR referrer_domain != '', timestamp, toDateTime64('2299-12-31', 3, 'UTC')),
        if(utm_source != '', toString(utm_source), referrer_domain)
    ),
    ingested_at,
    if(retain_days = 0, 90, retain_days)
FROM events FINAL;

CREATE MATERIALIZED VIEW IF NOT EXISTS session_quarters_mv TO session_quarters AS
SELECT
    project_id,
    toStartOfFifteenMinutes(timestamp) AS quarter,
    session_id,
    anonymous_id,
    user_id,
    browser,
    device_type,
    country,
    country_code,
    count() AS event_count,
    countIf(event_type = 'page_view') AS page_views,
    min((
        if(utm_source != '' OR referrer_domain != '', timestamp, toDateTime64('2299-12-31', 3, 'UTC')),
        if(utm_source != '', toString(utm_source), referrer_domain)
    )) AS first_source,
    max(ingested_at) AS changed_at,
    max(if(events.retain_days = 0, 90, events.retain_days)) AS retain_days
FROM events
GROUP BY
    project_id, quarter, session_id, anonymous_id, user_id, browser, device_type, country,
    country_code;
