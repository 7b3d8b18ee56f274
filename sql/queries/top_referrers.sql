-- Where most sessions of a period came from: one source a session, the first that its events name.
-- It is the campaign's source, else a name for a site that everybody knows, else the foreign site,
-- else direct. Source: api.md, section 6.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    source,
    count() AS sessions
FROM (
    SELECT
        session_id,
        -- Two events at one time are told apart by what they name, not by the order of reading.
        argMinIf(event_source, (timestamp, event_source), event_source != '') AS named,
        extract(
            named,
            '^(?:.+\\.)?(google|bing|duckduckgo|yahoo|baidu|yandex|facebook|instagram|linkedin|reddit|youtube|twitter)\\.[a-z.]+$'
        ) AS known,
        multiIf(known != '', known, named != '', named, 'direct') AS source
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
