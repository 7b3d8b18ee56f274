-- All stored events of one session, in the order they happened, as sessions and detectors need them.
-- `body_types` are the types whose payload is needed: flows.core.session_bodies.BODY_KINDS.
SELECT
    events.project_id AS project_id,
    toString(events.session_id) AS session_id,
    toUnixTimestamp64Milli(received_at) AS received_at_ms,
    retain_days,
    country,
    country_code,
    city,
    toString(events.event_id) AS event_id,
    event_type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    if(has({body_types:Array(String)}, event_type), payload, '{}') AS payload,
    url,
    path,
    referrer,
    referrer_domain,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    user_id,
    anonymous_id,
    page_view_id,
    channel_type,
    browser,
    os,
    device_type,
    is_bot
FROM events FINAL
WHERE events.project_id = {project_id:String}
  AND events.session_id = toUUIDOrZero({session_id:String})
ORDER BY timestamp, events.event_id
