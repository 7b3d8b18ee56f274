-- why: bursts of clicks, errors and requests under the names that reports ask for.
-- blocking: no

-- Plain views: nothing is stored twice, and a project's filter reaches the tables below.
CREATE VIEW IF NOT EXISTS rage_click_events AS
SELECT
    project_id,
    session_id,
    insight_id,
    target_selector AS element_id,
    path,
    JSONExtractUInt(details, 'click_count') AS click_count,
    timestamp AS first_click_at,
    ended_at AS last_click_at,
    ingested_at AS detected_at
FROM insights FINAL
WHERE insight_type = 'rage_click';

CREATE VIEW IF NOT EXISTS error_logs AS
SELECT
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
FROM events FINAL
WHERE event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error');

-- `path` is that of the request, without query; a status of 0 is a request that got no answer.
CREATE VIEW IF NOT EXISTS latency_metrics AS
SELECT
    project_id,
    session_id,
    event_id,
    event_date,
    timestamp AS requested_at,
    upper(JSONExtractString(payload, 'method')) AS method,
    path(JSONExtractString(payload, 'url')) AS path,
    JSONExtractUInt(payload, 'duration_ms') AS latency_ms,
    JSONExtractUInt(payload, 'status') AS status
FROM events FINAL
WHERE event_type IN ('xhr_request', 'fetch_request');
