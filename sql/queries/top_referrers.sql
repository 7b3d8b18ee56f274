-- Where most sessions of a period came from: one source a session, the first that its events name.
-- It is the campaign's source, else a name for a site that everybody knows, else the foreign site,
-- else direct. Source: api.md, section 6.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end,
    -- Quarters of an hour that an edge of the period cuts are told from their events.
    arrayMap(
        edge -> toStartOfFifteenMinutes(edge),
        arrayFilter(
            edge -> toDateTime64(toStartOfFifteenMinutes(edge), 3, 'UTC') != edge,
            [period_start, period_end]
        )
    ) AS cut_quarters
SELECT
    source,
    count() AS sessions
FROM (
    SELECT
        -- Two events at one time are told apart by what they name, not by the order of reading.
        min(named_at).2 AS named,
        extract(
            named,
            '^(?:.+\\.)?(google|bing|duckduckgo|yahoo|baidu|yandex|facebook|instagram|linkedin|reddit|youtube|twitter)\\.[a-z.]+$'
        ) AS known,
        multiIf(known != '', known, named != '', named, 'direct') AS source
    FROM (
        SELECT session_id, first_source AS named_at
        FROM session_quarters
        WHERE project_id = {project_id:String}
          AND quarter >= toStartOfFifteenMinutes(period_start) AND quarter < period_end
          AND indexOf(cut_quarters, quarter) = 0
        UNION ALL
        SELECT
            session_id,
            (
                if(
                    utm_source != '' OR referrer_domain != '',
                    timestamp,
                    toDateTime64('2299-12-31', 3, 'UTC')
                ),
                if(utm_source != '', toString(utm_source), referrer_domain)
            ) AS named_at
        FROM events
        WHERE project_id = {project_id:String}
          AND has(arrayMap(cut -> toDate(cut), cut_quarters), event_date)
          AND timestamp >= period_start AND timestamp < period_end
          AND has(cut_quarters, toStartOfFifteenMinutes(timestamp))
    )
    GROUP BY session_id
)
GROUP BY source
ORDER BY sessions DESC, source
LIMIT {limit:UInt32}
