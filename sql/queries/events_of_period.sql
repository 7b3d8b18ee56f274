-- All events of the sessions of a period, session by session, each in the order it happened. Of a
-- session all kept events are read, on whatever day they happened: ids are the client's, and events
-- may come days late. Those of a period began in it, so that neighbouring periods give each session
-- once; with `any_event` they have an event in it.
-- `body_types` are the types whose payload is needed: flows.core.session_bodies.BODY_KINDS; empty
-- `event_types` means all. Of a session that never ends `session_rows_max` rows are given.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end,
    found AS (
        SELECT session_id
        FROM events
        WHERE project_id = {project_id:String}
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
    )
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
    is_bot,
    toUnixTimestamp64Milli(ingested_at) AS stored_at_ms
FROM events FINAL
-- Of other days only ids are read. Rows that replace each other have one id: it may be asked first.
PREWHERE events.project_id = {project_id:String}
  AND events.session_id IN (SELECT session_id FROM found)
WHERE ({any_event:Bool} OR events.session_id NOT IN (
      SELECT session_id
      FROM events
      WHERE project_id = {project_id:String}
        AND event_date <= toDate(period_start) AND timestamp < period_start
        AND session_id IN (SELECT session_id FROM found)
  ))
  AND (empty({event_types:Array(String)}) OR has({event_types:Array(String)}, event_type))
ORDER BY events.session_id, timestamp, events.event_id
LIMIT {session_rows_max:UInt32} BY events.session_id
