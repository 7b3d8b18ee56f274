-- Where most sessions of a period came from: the campaign's source, else the foreign site, else direct.
-- One source a session: the first that any of its events names.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    source,
    count() AS sessions
FROM (
    SELECT
        session_id,
        argMinIf(event_source, (timestamp, event_source), event_source != '') AS named,
        if(named = '', 'direct', named) AS source
    FROM (
        SELECT
            session_id,
            timestamp,
            if(utm_source != '', utm_source, referrer_domain) AS event_source
        FROM events FINAL
        WHERE project_id = {project_id:String}
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
    )
    GROUP BY session_id
)
GROUP BY source
ORDER BY sessions DESC, source
LIMIT {limit:UInt32}
