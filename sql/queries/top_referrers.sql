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
        argMinIf(
            if(utm_source != '', utm_source, referrer_domain),
            timestamp,
            utm_source != '' OR referrer_domain != ''
        ) AS named,
        extract(named, '^(?:.+\\.)?(google|bing|duckduckgo|yahoo|baidu|yandex|facebook|instagram|linkedin|reddit|youtube|twitter)\\.[a-z.]+$') AS known,
        multiIf(known != '', known, named != '', named, 'direct') AS source
    FROM events FINAL
    WHERE project_id = {project_id:String}
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
    GROUP BY session_id
)
GROUP BY source
ORDER BY sessions DESC, source
LIMIT {limit:UInt32}
