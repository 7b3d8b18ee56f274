-- Events of all sessions that began in a period, session by session, each in the order it happened.
-- A session lasts a day at most, so that neighbouring periods give each session once, and whole.
-- `body_types` are the types whose payload is needed: flows.core.session_bodies.BODY_KINDS; empty
-- `event_types` means all.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
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
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end) + 1
  AND events.session_id IN (
      SELECT session_id
      FROM events
      WHERE project_id = {project_id:String}
        AND event_date BETWEEN toDate(period_start) - 1 AND toDate(period_end)
      GROUP BY session_id
      HAVING min(timestamp) >= period_start AND min(timestamp) < period_end
  )
  AND (empty({event_types:Array(String)}) OR has({event_types:Array(String)}, event_type))
ORDER BY events.session_id, timestamp, events.event_id
