CREATE TABLE click_heatmap
(
    `project_id` String,
    `path` String,
    `date` Date,
    `viewport_class` LowCardinality(String),
    `device_type` LowCardinality(String),
    `grid_x` Int32,
    `grid_y` Int32,
    `target_selector` String,
    `target_tag` LowCardinality(String),
    `click_count` UInt64
)
ENGINE = SummingMergeTree(click_count)
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date, viewport_class, device_type, grid_x, grid_y, target_selector, target_tag)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW click_heatmap_mv TO click_heatmap
(
    `project_id` String,
    `path` String,
    `date` Date,
    `viewport_class` String,
    `device_type` LowCardinality(String),
    `grid_x` Int32,
    `grid_y` Int32,
    `target_selector` String,
    `target_tag` LowCardinality(String),
    `click_count` UInt64
)
AS SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    multiIf(viewport_width = 0, 'unknown', viewport_width <= 480, 'narrow', viewport_width <= 1024, 'medium', 'wide') AS viewport_class,
    device_type,
    toInt32(floor(assumeNotNull(click_x) / 10)) AS grid_x,
    toInt32(floor(assumeNotNull(click_y) / 10)) AS grid_y,
    target_selector,
    target_tag,
    count() AS click_count
FROM events
WHERE (event_type = 'click') AND (click_x IS NOT NULL) AND (click_y IS NOT NULL)
GROUP BY
    project_id,
    path,
    date,
    viewport_class,
    device_type,
    grid_x,
    grid_y,
    target_selector,
    target_tag;

CREATE TABLE element_clicks
(
    `project_id` String,
    `path` String,
    `date` Date,
    `target_selector` String,
    `target_tag` LowCardinality(String),
    `target_text` String,
    `click_count` UInt64
)
ENGINE = SummingMergeTree(click_count)
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date, target_selector, target_tag, target_text)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW element_clicks_mv TO element_clicks
(
    `project_id` String,
    `path` String,
    `date` Date,
    `target_selector` String,
    `target_tag` LowCardinality(String),
    `target_text` String,
    `click_count` UInt64
)
AS SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    target_selector,
    target_tag,
    target_text,
    count() AS click_count
FROM events
WHERE (event_type = 'click') AND (target_selector != '')
GROUP BY
    project_id,
    path,
    date,
    target_selector,
    target_tag,
    target_text;

CREATE TABLE erasing_ids
(
    `request_id` UUID,
    `project_id` String,
    `kind` LowCardinality(String),
    `id` String
)
ENGINE = MergeTree
PARTITION BY request_id
ORDER BY (kind, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE VIEW error_logs
(
    `project_id` String,
    `session_id` UUID,
    `event_id` UUID,
    `event_date` Date,
    `occurred_at` DateTime64(3, 'UTC'),
    `event_type` LowCardinality(String),
    `path` String,
    `error_type` LowCardinality(String),
    `error_message` String,
    `error_stack` String,
    `error_fingerprint` String,
    `browser` LowCardinality(String),
    `os` LowCardinality(String)
)
AS SELECT
    project_id,
    session_id,
    event_id,
    event_date,
    timestamp AS occurred_at,
    event_type,
    path,
    error_type,
    error_message,
    error_stack,
    error_fingerprint,
    browser,
    os
FROM events
FINAL
WHERE event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error');

CREATE TABLE events
(
    `event_id` UUID,
    `project_id` String,
    `session_id` UUID,
    `user_id` String DEFAULT '',
    `anonymous_id` String DEFAULT '',
    `page_view_id` String DEFAULT '',
    `event_type` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `url` String DEFAULT '',
    `path` String DEFAULT '',
    `title` String DEFAULT '',
    `referrer` String DEFAULT '',
    `referrer_domain` String DEFAULT '',
    `utm_source` LowCardinality(String) DEFAULT '',
    `utm_medium` LowCardinality(String) DEFAULT '',
    `utm_campaign` String DEFAULT '',
    `utm_term` String DEFAULT '',
    `utm_content` String DEFAULT '',
    `click_x` Nullable(Int32),
    `click_y` Nullable(Int32),
    `target_selector` String DEFAULT '',
    `target_tag` LowCardinality(String) DEFAULT '',
    `target_text` String DEFAULT '',
    `scroll_depth` Nullable(UInt32),
    `scroll_direction` LowCardinality(String) DEFAULT '',
    `error_message` String DEFAULT '',
    `error_stack` String DEFAULT '' CODEC(ZSTD(3)),
    `error_type` LowCardinality(String) DEFAULT '',
    `error_fingerprint` String DEFAULT '',
    `lcp` Nullable(UInt32),
    `fid` Nullable(UInt32),
    `cls` Nullable(Float32),
    `ttfb` Nullable(UInt32),
    `fcp` Nullable(UInt32),
    `inp` Nullable(UInt32),
    `load_complete` Nullable(UInt32),
    `time_on_page_ms` Nullable(UInt32),
    `payload` String DEFAULT '{}' CODEC(ZSTD(3)),
    `custom` String DEFAULT '{}' CODEC(ZSTD(3)),
    `browser` LowCardinality(String) DEFAULT '',
    `browser_version` LowCardinality(String) DEFAULT '',
    `os` LowCardinality(String) DEFAULT '',
    `os_version` LowCardinality(String) DEFAULT '',
    `device_type` LowCardinality(String) DEFAULT '',
    `screen_width` UInt32 DEFAULT 0,
    `screen_height` UInt32 DEFAULT 0,
    `viewport_width` UInt32 DEFAULT 0,
    `viewport_height` UInt32 DEFAULT 0,
    `device_pixel_ratio` Float32 DEFAULT 0,
    `language` LowCardinality(String) DEFAULT '',
    `timezone` LowCardinality(String) DEFAULT '',
    `ip` String DEFAULT '',
    `country` LowCardinality(String) DEFAULT '',
    `country_code` LowCardinality(String) DEFAULT '',
    `region` LowCardinality(String) DEFAULT '',
    `city` LowCardinality(String) DEFAULT '',
    `channel_type` LowCardinality(String) DEFAULT '',
    `external_id` String DEFAULT '',
    `handshake_token` String DEFAULT '',
    `sdk_version` LowCardinality(String) DEFAULT '',
    `is_bot` Bool DEFAULT false,
    `received_at` DateTime64(3, 'UTC'),
    `retain_days` UInt32 DEFAULT 90,
    `source_topic` LowCardinality(String) DEFAULT '',
    `source_partition` UInt32 DEFAULT 0,
    `source_offset` UInt64 DEFAULT 0,
    `source_index` UInt32 DEFAULT 0,
    `source_block_last` UInt64 DEFAULT 0,
    `ingested_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    `event_date` Date MATERIALIZED toDate(timestamp),
    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_minmax received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(event_date)
ORDER BY (project_id, event_date, event_type, session_id, timestamp, event_id)
TTL event_date + toIntervalDay(least(if(retain_days = 0, 90, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE events_hourly
(
    `project_id` String,
    `hour` DateTime('UTC'),
    `event_type` LowCardinality(String),
    `path` String,
    `event_count` SimpleAggregateFunction(sum, UInt64),
    `session_count` AggregateFunction(uniq, UUID),
    `user_count` AggregateFunction(uniq, String),
    `visitor_count` AggregateFunction(uniq, String)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (project_id, hour, event_type, path)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW events_hourly_mv TO events_hourly
(
    `project_id` String,
    `hour` DateTime('UTC'),
    `event_type` LowCardinality(String),
    `path` String,
    `event_count` UInt64,
    `session_count` AggregateFunction(uniq, UUID),
    `user_count` AggregateFunction(uniq, String),
    `visitor_count` AggregateFunction(uniq, String)
)
AS SELECT
    project_id,
    toStartOfHour(timestamp) AS hour,
    event_type,
    path,
    count() AS event_count,
    uniqState(session_id) AS session_count,
    uniqStateIf(user_id, user_id != '') AS user_count,
    uniqStateIf(anonymous_id, anonymous_id != '') AS visitor_count
FROM events
GROUP BY
    project_id,
    hour,
    event_type,
    path;

CREATE TABLE flow_positions
(
    `source_topic` LowCardinality(String),
    `source_partition` UInt32,
    `next_offset` SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (source_topic, source_partition)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW flow_positions_mv TO flow_positions
(
    `source_topic` LowCardinality(String),
    `source_partition` UInt32,
    `next_offset` UInt64
)
AS SELECT
    source_topic,
    source_partition,
    max(block_last) + 1 AS next_offset
FROM ledger_entries
GROUP BY
    source_topic,
    source_partition;

CREATE TABLE identities
(
    `project_id` String,
    `anonymous_id` String,
    `user_id` String,
    `linked_at` DateTime64(3, 'UTC'),
    `link_source` LowCardinality(String),
    `event_id` UUID,
    `traits` Map(String, String) CODEC(ZSTD(3)),
    INDEX user_id_bloom user_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (project_id, anonymous_id, linked_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW identities_mv TO identities
(
    `project_id` String,
    `anonymous_id` String,
    `user_id` String,
    `linked_at` DateTime64(3, 'UTC'),
    `link_source` String,
    `event_id` UUID,
    `traits` Map(String, String)
)
AS SELECT
    project_id,
    anonymous_id,
    user_id,
    timestamp AS linked_at,
    'identify' AS link_source,
    event_id,
    mapFromArrays(arrayMap(trait -> (trait.1), traits_kept), arrayMap(trait -> substringUTF8(trait.2, 1, 1024), traits_kept)) AS traits
FROM
(
    SELECT
        project_id,
        anonymous_id,
        user_id,
        timestamp,
        event_id,
        arraySlice(arrayFilter(trait -> (NOT match(trait.1, '(?i)pass(word|wd|phrase)|secret|token|card|(?-i)(^|[^a-zA-Z])(pin|PIN|Pin)([^a-z]|$)|[a-z]P(in|IN)([^a-z]|$)')), JSONExtractKeysAndValues(payload, 'traits', 'String')), 1, 50) AS traits_kept
    FROM events
    WHERE (event_type = 'identify') AND (user_id != '') AND (anonymous_id != '')
);

CREATE TABLE insights
(
    `insight_id` UUID,
    `project_id` String,
    `session_id` UUID,
    `insight_type` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `ended_at` DateTime64(3, 'UTC'),
    `url` String DEFAULT '',
    `path` String DEFAULT '',
    `x` Nullable(Int32),
    `y` Nullable(Int32),
    `target_selector` String DEFAULT '',
    `severity` LowCardinality(String) DEFAULT '',
    `detector_version` LowCardinality(String) DEFAULT '',
    `details` String DEFAULT '{}' CODEC(ZSTD(3)),
    `related_event_ids` Array(UUID),
    `revision` UInt64 DEFAULT 1,
    `retain_days` UInt32 DEFAULT 365,
    `ingested_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    `insight_date` Date MATERIALIZED toDate(timestamp),
    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(insight_date)
ORDER BY (project_id, insight_type, timestamp, insight_id)
TTL insight_date + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE VIEW latency_metrics
(
    `project_id` String,
    `session_id` UUID,
    `event_id` UUID,
    `event_date` Date,
    `requested_at` DateTime64(3, 'UTC'),
    `method` String,
    `path` String,
    `latency_ms` UInt64,
    `status` UInt64
)
AS WITH
    cutQueryStringAndFragment(JSONExtractString(payload, 'url')) AS address
SELECT
    project_id,
    session_id,
    event_id,
    event_date,
    timestamp AS requested_at,
    upper(JSONExtractString(payload, 'method')) AS method,
    if(startsWith(address, '/') OR (position(address, '/') = (position(address, '://') + 1)), if(path(address) = '', '/', path(address)), concat('/', address)) AS path,
    JSONExtractUInt(payload, 'duration_ms') AS latency_ms,
    JSONExtractUInt(payload, 'status') AS status
FROM events
FINAL
WHERE event_type IN ('xhr_request', 'fetch_request');

CREATE TABLE ledger_entries
(
    `project_id` String,
    `minute` DateTime('UTC'),
    `outcome` LowCardinality(String),
    `reason` LowCardinality(String) DEFAULT '',
    `events` UInt64,
    `source_topic` LowCardinality(String),
    `source_partition` UInt32,
    `block_first` UInt64,
    `block_last` UInt64,
    `written_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (project_id, minute, outcome, reason)
TTL minute + toIntervalDay(30)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE ledger_minutes
(
    `project_id` String,
    `minute` DateTime('UTC'),
    `outcome` LowCardinality(String),
    `reason` LowCardinality(String),
    `events` UInt64
)
ENGINE = SummingMergeTree(events)
PARTITION BY toYYYYMM(minute)
ORDER BY (project_id, minute, outcome, reason)
TTL minute + toIntervalDay(730)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW ledger_minutes_mv TO ledger_minutes
(
    `project_id` String,
    `minute` DateTime('UTC'),
    `outcome` LowCardinality(String),
    `reason` LowCardinality(String),
    `events` UInt64
)
AS SELECT
    project_id,
    minute,
    outcome,
    reason,
    sum(events) AS events
FROM ledger_entries
GROUP BY
    project_id,
    minute,
    outcome,
    reason;

CREATE TABLE page_performance
(
    `project_id` String,
    `day` Date,
    `path` String,
    `device_type` LowCardinality(String),
    `view_count` SimpleAggregateFunction(sum, UInt64),
    `avg_lcp` AggregateFunction(avg, UInt32),
    `avg_fid` AggregateFunction(avg, UInt32),
    `avg_inp` AggregateFunction(avg, UInt32),
    `avg_cls` AggregateFunction(avg, Float32),
    `avg_ttfb` AggregateFunction(avg, UInt32),
    `avg_fcp` AggregateFunction(avg, UInt32),
    `avg_load_complete` AggregateFunction(avg, UInt32),
    `quantiles_lcp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_fid` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_inp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_cls` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), Float32),
    `quantiles_ttfb` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_fcp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_load_complete` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, path, device_type)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW page_performance_mv TO page_performance
(
    `project_id` String,
    `day` Date,
    `path` String,
    `device_type` LowCardinality(String),
    `view_count` UInt64,
    `avg_lcp` AggregateFunction(avg, UInt32),
    `avg_fid` AggregateFunction(avg, UInt32),
    `avg_inp` AggregateFunction(avg, UInt32),
    `avg_cls` AggregateFunction(avg, Float32),
    `avg_ttfb` AggregateFunction(avg, UInt32),
    `avg_fcp` AggregateFunction(avg, UInt32),
    `avg_load_complete` AggregateFunction(avg, UInt32),
    `quantiles_lcp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_fid` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_inp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_cls` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), Float32),
    `quantiles_ttfb` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_fcp` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    `quantiles_load_complete` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
AS SELECT
    project_id,
    toDate(timestamp) AS day,
    path,
    device_type,
    countIf(event_type = 'page_load') AS view_count,
    avgStateIf(assumeNotNull(lcp), lcp IS NOT NULL) AS avg_lcp,
    avgStateIf(assumeNotNull(fid), fid IS NOT NULL) AS avg_fid,
    avgStateIf(assumeNotNull(inp), inp IS NOT NULL) AS avg_inp,
    avgStateIf(assumeNotNull(cls), cls IS NOT NULL) AS avg_cls,
    avgStateIf(assumeNotNull(ttfb), ttfb IS NOT NULL) AS avg_ttfb,
    avgStateIf(assumeNotNull(fcp), fcp IS NOT NULL) AS avg_fcp,
    avgStateIf(assumeNotNull(load_complete), load_complete IS NOT NULL) AS avg_load_complete,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(lcp), lcp IS NOT NULL) AS quantiles_lcp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(fid), fid IS NOT NULL) AS quantiles_fid,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(inp), inp IS NOT NULL) AS quantiles_inp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(cls), cls IS NOT NULL) AS quantiles_cls,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(ttfb), ttfb IS NOT NULL) AS quantiles_ttfb,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(fcp), fcp IS NOT NULL) AS quantiles_fcp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(load_complete), load_complete IS NOT NULL) AS quantiles_load_complete
FROM events
WHERE event_type IN ('page_load', 'web_vitals')
GROUP BY
    project_id,
    day,
    path,
    device_type;

CREATE VIEW page_stays
AS WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    session_id,
    view.3 AS path,
    view.4 AS anonymous_id,
    time_ms
FROM
(
    SELECT
        session_id,
        arraySort(arrayMap(part -> ((part.2)[1], (part.3)[1], (part.5)[1], (part.6)[1], arrayMax(part.7)), arrayFilter(part -> ((part.4)[1]), arraySplit((one, key_before) -> ((one.4) OR ((one.1) != key_before)), told, arrayPopBack(arrayPushFront(told.1, '')))))) AS views
    FROM
    (
        SELECT
            session_id,
            arraySort(groupArray((if(page_view_id != '', page_view_id, events.path), toUnixTimestamp64Milli(timestamp), event_id, event_type = 'page_view', events.path, events.anonymous_id, ifNull(time_on_page_ms, 0)))) AS told
        FROM events
        FINAL
        WHERE (project_id = {project_id:String}) AND (event_type IN ('page_view', 'page_exit')) AND ((event_date >= toDate(period_start)) AND (event_date <= (toDate(period_end) + 1))) AND (timestamp >= period_start) AND (timestamp < (period_end + toIntervalDay(1)))
        GROUP BY session_id
    )
)
ARRAY JOIN
    views AS view,
    arrayMap((at_ms, exit_ms, next_ms) -> multiIf(exit_ms > 0, exit_ms, next_ms > 0, least(next_ms - at_ms, 30 * 60000), NULL), views.1, views.5, arrayPopFront(arrayPushBack(views.1, 0))) AS time_ms
WHERE (view.1) < {end_ms:Int64};

CREATE TABLE page_time
(
    `project_id` String,
    `path` String,
    `date` Date,
    `view_count` SimpleAggregateFunction(sum, UInt64),
    `avg_time_on_page` AggregateFunction(avg, UInt32),
    `min_time_on_page` SimpleAggregateFunction(min, UInt32),
    `max_time_on_page` SimpleAggregateFunction(max, UInt32),
    `total_time_on_page` SimpleAggregateFunction(sum, UInt64),
    `quantiles_time_on_page` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW page_time_mv TO page_time
(
    `project_id` String,
    `path` String,
    `date` Date,
    `view_count` UInt64,
    `avg_time_on_page` AggregateFunction(avg, UInt32),
    `min_time_on_page` UInt32,
    `max_time_on_page` UInt32,
    `total_time_on_page` UInt64,
    `quantiles_time_on_page` AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
AS SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    count() AS view_count,
    avgState(assumeNotNull(time_on_page_ms)) AS avg_time_on_page,
    min(assumeNotNull(time_on_page_ms)) AS min_time_on_page,
    max(assumeNotNull(time_on_page_ms)) AS max_time_on_page,
    sum(assumeNotNull(time_on_page_ms)) AS total_time_on_page,
    quantilesTDigestState(0.5, 0.75, 0.95)(assumeNotNull(time_on_page_ms)) AS quantiles_time_on_page
FROM events
WHERE (event_type = 'page_exit') AND (time_on_page_ms > 0)
GROUP BY
    project_id,
    path,
    date;

CREATE VIEW rage_click_events
(
    `project_id` String,
    `session_id` UUID,
    `insight_id` UUID,
    `element_id` String,
    `path` String,
    `click_count` UInt64,
    `first_click_at` DateTime64(3, 'UTC'),
    `last_click_at` DateTime64(3, 'UTC'),
    `detected_at` DateTime64(3, 'UTC')
)
AS SELECT
    project_id,
    session_id,
    insight_id,
    target_selector AS element_id,
    path,
    JSONExtractUInt(details, 'click_count') AS click_count,
    timestamp AS first_click_at,
    ended_at AS last_click_at,
    ingested_at AS detected_at
FROM insights
FINAL
WHERE insight_type = 'rage_click';

CREATE TABLE replay_chunks
(
    `session_id` UUID,
    `project_id` String,
    `chunk_index` UInt32,
    `timestamp_start` DateTime64(3, 'UTC'),
    `timestamp_end` DateTime64(3, 'UTC'),
    `data` String CODEC(NONE),
    `data_size` UInt32,
    `compressed_size` UInt32 DEFAULT 0,
    `codec` LowCardinality(String) DEFAULT '',
    `checksum` String DEFAULT '',
    `event_count` UInt32,
    `has_snapshot` Bool DEFAULT false,
    `has_errors` Bool DEFAULT false,
    `has_network` Bool DEFAULT false,
    `recorder_id` String DEFAULT '',
    `seq_first` UInt32 DEFAULT 0,
    `seq_last` UInt32 DEFAULT 0,
    `retain_days` UInt32 DEFAULT 30,
    `ingested_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    `chunk_date` Date MATERIALIZED toDate(timestamp_start)
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(chunk_date)
ORDER BY (project_id, session_id, chunk_index)
TTL chunk_date + toIntervalDay(least(if(retain_days = 0, 30, retain_days), 90))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE scroll_depth
(
    `project_id` String,
    `path` String,
    `date` Date,
    `device_type` LowCardinality(String),
    `reached_25` AggregateFunction(uniq, UUID),
    `reached_50` AggregateFunction(uniq, UUID),
    `reached_75` AggregateFunction(uniq, UUID),
    `reached_90` AggregateFunction(uniq, UUID),
    `reached_100` AggregateFunction(uniq, UUID),
    `total_sessions` AggregateFunction(uniq, UUID)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date, device_type)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW scroll_depth_mv TO scroll_depth
(
    `project_id` String,
    `path` String,
    `date` Date,
    `device_type` LowCardinality(String),
    `reached_25` AggregateFunction(uniq, UUID),
    `reached_50` AggregateFunction(uniq, UUID),
    `reached_75` AggregateFunction(uniq, UUID),
    `reached_90` AggregateFunction(uniq, UUID),
    `reached_100` AggregateFunction(uniq, UUID),
    `total_sessions` AggregateFunction(uniq, UUID)
)
AS SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    device_type,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 25) AS reached_25,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 50) AS reached_50,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 75) AS reached_75,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 90) AS reached_90,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 100) AS reached_100,
    uniqState(session_id) AS total_sessions
FROM events
WHERE event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')
GROUP BY
    project_id,
    path,
    date,
    device_type;

CREATE TABLE session_quarters
(
    `project_id` String,
    `quarter` DateTime('UTC'),
    `session_id` UUID,
    `anonymous_id` String,
    `user_id` String,
    `browser` LowCardinality(String),
    `device_type` LowCardinality(String),
    `country` LowCardinality(String),
    `country_code` LowCardinality(String),
    `event_count` SimpleAggregateFunction(sum, UInt64),
    `page_views` SimpleAggregateFunction(sum, UInt64),
    `first_source` SimpleAggregateFunction(min, Tuple(
        DateTime64(3, 'UTC'),
        String)),
    `changed_at` SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    `retain_days` SimpleAggregateFunction(max, UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(quarter)
ORDER BY (project_id, quarter, session_id, anonymous_id, user_id, browser, device_type, country, country_code)
TTL toDate(quarter) + toIntervalDay(least(if(retain_days = 0, 90, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW session_quarters_mv TO session_quarters
(
    `project_id` String,
    `quarter` DateTime('UTC'),
    `session_id` UUID,
    `anonymous_id` String,
    `user_id` String,
    `browser` LowCardinality(String),
    `device_type` LowCardinality(String),
    `country` LowCardinality(String),
    `country_code` LowCardinality(String),
    `event_count` UInt64,
    `page_views` UInt64,
    `first_source` Tuple(
        DateTime64(3, 'UTC'),
        String),
    `changed_at` DateTime64(3, 'UTC'),
    `retain_days` UInt32
)
AS SELECT
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
    min((if((utm_source != '') OR (referrer_domain != ''), timestamp, toDateTime64('2299-12-31', 3, 'UTC')), if(utm_source != '', toString(utm_source), referrer_domain))) AS first_source,
    max(ingested_at) AS changed_at,
    max(if(events.retain_days = 0, 90, events.retain_days)) AS retain_days
FROM events
GROUP BY
    project_id,
    quarter,
    session_id,
    anonymous_id,
    user_id,
    browser,
    device_type,
    country,
    country_code;

CREATE TABLE session_starts
(
    `project_id` String,
    `started_at` DateTime64(3, 'UTC'),
    `session_id` UUID,
    `ended_at` DateTime64(3, 'UTC'),
    `user_id` String,
    `anonymous_id` String,
    `duration_ms` UInt64,
    `entry_url` String,
    `exit_url` String,
    `page_count` UInt32,
    `event_count` UInt32,
    `has_error` Bool,
    `has_rage_click` Bool,
    `has_dead_click` Bool,
    `has_replay` Bool,
    `is_bounce` Bool,
    `is_closed` Bool,
    `converted` Bool,
    `experience_score` Nullable(Int32),
    `browser` LowCardinality(String),
    `os` LowCardinality(String),
    `device_type` LowCardinality(String),
    `country` LowCardinality(String),
    `country_code` LowCardinality(String),
    `city` LowCardinality(String),
    `utm_source` LowCardinality(String),
    `revision` UInt64,
    `retain_days` UInt32,
    `ingested_at` DateTime64(3, 'UTC'),
    INDEX ended_at_minmax ended_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(started_at)
ORDER BY (project_id, started_at, session_id)
TTL toDate(started_at) + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE MATERIALIZED VIEW session_starts_mv TO session_starts
(
    `project_id` String,
    `started_at` DateTime64(3, 'UTC'),
    `session_id` UUID,
    `ended_at` DateTime64(3, 'UTC'),
    `user_id` String,
    `anonymous_id` String,
    `duration_ms` UInt64,
    `entry_url` String,
    `exit_url` String,
    `page_count` UInt32,
    `event_count` UInt32,
    `has_error` Bool,
    `has_rage_click` Bool,
    `has_dead_click` Bool,
    `has_replay` Bool,
    `is_bounce` Bool,
    `is_closed` Bool,
    `converted` Bool,
    `experience_score` Nullable(Int32),
    `browser` LowCardinality(String),
    `os` LowCardinality(String),
    `device_type` LowCardinality(String),
    `country` LowCardinality(String),
    `country_code` LowCardinality(String),
    `city` LowCardinality(String),
    `utm_source` LowCardinality(String),
    `revision` UInt64,
    `retain_days` UInt32,
    `ingested_at` DateTime64(3, 'UTC')
)
AS SELECT
    project_id,
    started_at,
    session_id,
    ended_at,
    user_id,
    anonymous_id,
    duration_ms,
    entry_url,
    exit_url,
    page_count,
    event_count,
    has_error,
    has_rage_click,
    has_dead_click,
    has_replay,
    is_bounce,
    is_closed,
    converted,
    experience_score,
    browser,
    os,
    device_type,
    country,
    country_code,
    city,
    utm_source,
    revision,
    retain_days,
    ingested_at
FROM sessions;

CREATE TABLE sessions
(
    `session_id` UUID,
    `project_id` String,
    `user_id` String DEFAULT '',
    `anonymous_id` String DEFAULT '',
    `started_at` DateTime64(3, 'UTC'),
    `ended_at` DateTime64(3, 'UTC'),
    `duration_ms` UInt64 DEFAULT 0,
    `entry_url` String DEFAULT '',
    `entry_path` String DEFAULT '',
    `exit_url` String DEFAULT '',
    `exit_path` String DEFAULT '',
    `page_count` UInt32 DEFAULT 0,
    `event_count` UInt32 DEFAULT 0,
    `click_count` UInt32 DEFAULT 0,
    `error_count` UInt32 DEFAULT 0,
    `max_scroll_depth` UInt32 DEFAULT 0,
    `has_error` Bool DEFAULT false,
    `has_rage_click` Bool DEFAULT false,
    `has_dead_click` Bool DEFAULT false,
    `is_bounce` Bool DEFAULT false,
    `utm_source` LowCardinality(String) DEFAULT '',
    `utm_medium` LowCardinality(String) DEFAULT '',
    `utm_campaign` String DEFAULT '',
    `utm_term` String DEFAULT '',
    `utm_content` String DEFAULT '',
    `browser` LowCardinality(String) DEFAULT '',
    `os` LowCardinality(String) DEFAULT '',
    `device_type` LowCardinality(String) DEFAULT '',
    `country` LowCardinality(String) DEFAULT '',
    `country_code` LowCardinality(String) DEFAULT '',
    `city` LowCardinality(String) DEFAULT '',
    `channel_type` LowCardinality(String) DEFAULT '',
    `referrer` String DEFAULT '',
    `referrer_domain` String DEFAULT '',
    `converted` Bool DEFAULT false,
    `conversion_event` String DEFAULT '',
    `goals_completed` UInt32 DEFAULT 0,
    `revenue_minor` Int64 DEFAULT 0,
    `currency` LowCardinality(String) DEFAULT '',
    `rage_click_count` UInt32 DEFAULT 0,
    `dead_click_count` UInt32 DEFAULT 0,
    `error_click_count` UInt32 DEFAULT 0,
    `engaged_ms` UInt64 DEFAULT 0,
    `end_reason` LowCardinality(String) DEFAULT '',
    `has_replay` Bool DEFAULT false,
    `experience_score` Nullable(Int32),
    `issues` String DEFAULT '[]' CODEC(ZSTD(3)),
    `emotion` LowCardinality(String) DEFAULT '',
    `emotion_confidence` Float64 DEFAULT 0,
    `emotion_event_id` Nullable(UUID),
    `revision` UInt64,
    `is_closed` Bool DEFAULT false,
    `retain_days` UInt32 DEFAULT 365,
    `ingested_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    `session_date` Date MATERIALIZED toDate(started_at)
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY cityHash64(session_id) % 4
ORDER BY (project_id, session_id)
TTL toDate(started_at) + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE sessions_daily
(
    `project_id` String,
    `day` Date,
    `country` LowCardinality(String),
    `device_type` LowCardinality(String),
    `session_count` UInt64,
    `closed_sessions` UInt64,
    `user_count` AggregateFunction(uniq, String),
    `visitor_count` AggregateFunction(uniq, String),
    `total_duration_ms` UInt64,
    `total_pages` UInt64,
    `error_sessions` UInt64,
    `rage_click_sessions` UInt64,
    `dead_click_sessions` UInt64,
    `bounce_sessions` UInt64,
    `converted_sessions` UInt64,
    `refreshed_at` DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(refreshed_at)
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, country, device_type)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW sessions_daily_mv
REFRESH EVERY 1 MINUTE APPEND TO sessions_daily
(
    `project_id` String,
    `day` Date,
    `country` LowCardinality(String),
    `device_type` LowCardinality(String),
    `session_count` UInt64,
    `closed_sessions` UInt64,
    `user_count` AggregateFunction(uniq, String),
    `visitor_count` AggregateFunction(uniq, String),
    `total_duration_ms` UInt64,
    `total_pages` UInt64,
    `error_sessions` UInt64,
    `rage_click_sessions` UInt64,
    `dead_click_sessions` UInt64,
    `bounce_sessions` UInt64,
    `converted_sessions` UInt64,
    `refreshed_at` DateTime64(3, 'UTC')
)
AS WITH
    (
        SELECT groupUniqArrayArray([(project_id, toDate(started_at)), (project_id, toDate(ended_at))])
        FROM sessions
        WHERE ingested_at >= (now64(3) - toIntervalDay(1))
    ) AS touched
SELECT
    project_id,
    day,
    country,
    device_type,
    countIf(is_session) AS session_count,
    countIf(is_closed) AS closed_sessions,
    uniqStateIf(user_id, user_id != '') AS user_count,
    uniqStateIf(anonymous_id, anonymous_id != '') AS visitor_count,
    sum(duration_ms) AS total_duration_ms,
    sum(page_count) AS total_pages,
    countIf(has_error) AS error_sessions,
    countIf(has_rage_click) AS rage_click_sessions,
    countIf(has_dead_click) AS dead_click_sessions,
    countIf(is_bounce) AS bounce_sessions,
    countIf(converted) AS converted_sessions,
    now64(3, 'UTC') AS refreshed_at
FROM
(
    SELECT
        project_id,
        toDate(started_at) AS day,
        country,
        device_type,
        true AS is_session,
        is_closed,
        user_id,
        anonymous_id,
        duration_ms,
        page_count,
        has_error,
        has_rage_click,
        has_dead_click,
        is_bounce,
        converted
    FROM sessions
    FINAL
    WHERE (project_id, toDate(started_at)) IN (
        SELECT arrayJoin(touched)
    )
    UNION ALL
    SELECT
        project_id,
        day,
        country,
        device_type,
        false AS is_session,
        false,
        '',
        '',
        0,
        0,
        false,
        false,
        false,
        false,
        false
    FROM sessions_daily
    WHERE (project_id, day) IN (
        SELECT arrayJoin(touched)
    )
)
GROUP BY
    project_id,
    day,
    country,
    device_type;

CREATE TABLE source_topics
(
    `source_topic` String,
    `topic_id` String,
    `noted_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(noted_at)
ORDER BY source_topic
SETTINGS index_granularity = 8192;

CREATE VIEW visitor_users
(
    `project_id` String,
    `anonymous_id` String,
    `known_from` DateTime64(3, 'UTC'),
    `user_id` String
)
AS SELECT
    project_id,
    anonymous_id,
    word.1 AS known_from,
    word.2 AS user_id
FROM
(
    SELECT
        project_id,
        anonymous_id,
        arraySort(groupArray((linked_at, said))) AS words
    FROM
    (
        SELECT
            project_id,
            anonymous_id,
            linked_at,
            argMax(user_id, event_id) AS said
        FROM identities
        GROUP BY
            project_id,
            anonymous_id,
            linked_at
    )
    GROUP BY
        project_id,
        anonymous_id
)
ARRAY JOIN arrayPushFront(words, (((words[1]).1) - toIntervalDay(30), (words[1]).2)) AS word;
