-- why: one row per session under FINAL, however often late events revise it.
-- blocking: no

-- The highest revision wins. The end of a session cannot be the version: a correction that does not
-- move the end would lose. The partition is a function of the session's id alone, because a start that
-- moves to an earlier month would leave the old row behind in its partition for ever.
CREATE TABLE IF NOT EXISTS sessions (
    session_id         UUID,
    project_id         String,
    user_id            String DEFAULT '',
    anonymous_id       String DEFAULT '',

    started_at         DateTime64(3, 'UTC'),
    ended_at           DateTime64(3, 'UTC'),
    duration_ms        UInt64 DEFAULT 0,

    entry_url          String DEFAULT '',
    entry_path         String DEFAULT '',
    exit_url           String DEFAULT '',
    exit_path          String DEFAULT '',

    page_count         UInt32 DEFAULT 0,
    event_count        UInt32 DEFAULT 0,
    click_count        UInt32 DEFAULT 0,
    error_count        UInt32 DEFAULT 0,
    max_scroll_depth   UInt32 DEFAULT 0, -- Percent.

    has_error          Bool DEFAULT false,
    has_rage_click     Bool DEFAULT false,
    has_dead_click     Bool DEFAULT false,
    is_bounce          Bool DEFAULT false,

    utm_source         LowCardinality(String) DEFAULT '',
    utm_medium         LowCardinality(String) DEFAULT '',
    utm_campaign       String DEFAULT '',
    utm_term           String DEFAULT '',
    utm_content        String DEFAULT '',

    browser            LowCardinality(String) DEFAULT '',
    os                 LowCardinality(String) DEFAULT '',
    device_type        LowCardinality(String) DEFAULT '',

    country            LowCardinality(String) DEFAULT '',
    country_code       LowCardinality(String) DEFAULT '',
    city               LowCardinality(String) DEFAULT '',

    channel_type       LowCardinality(String) DEFAULT '',
    referrer           String DEFAULT '',
    referrer_domain    String DEFAULT '',

    converted          Bool DEFAULT false,
    conversion_event   String DEFAULT '',
    goals_completed    UInt32 DEFAULT 0,
    revenue_minor      Int64 DEFAULT 0, -- In the currency's smallest unit.
    currency           LowCardinality(String) DEFAULT '',

    rage_click_count   UInt32 DEFAULT 0,
    dead_click_count   UInt32 DEFAULT 0,
    error_click_count  UInt32 DEFAULT 0,
    engaged_ms         UInt64 DEFAULT 0,
    end_reason         LowCardinality(String) DEFAULT '',
    has_replay         Bool DEFAULT false,
    experience_score   Nullable(Int32),

    revision           UInt64,
    is_closed          Bool DEFAULT false,
    retain_days        UInt32 DEFAULT 365,
    ingested_at        DateTime64(3, 'UTC') DEFAULT now64(3),

    session_date       Date MATERIALIZED toDate(started_at)
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY cityHash64(session_id) % 4
ORDER BY (project_id, session_id)
TTL toDate(started_at) + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000;
