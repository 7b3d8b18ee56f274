-- Completions of a goal in a period by day and by where their sessions came from, with totals: a row
-- whose `by` is day, source or total. `sessions` are those with a completion; `worth` is the sum of
-- what the events say, else of `value` each. `kind` and `text` as a step of funnel_steps; the source
-- of a session as in top_referrers.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    multiIf(grouping(day) = 0, 'day', grouping(source) = 0, 'source', 'total') AS by,
    day,
    source,
    count() AS conversions,
    uniqExact(session) AS sessions,
    sum(worth_each) AS worth
FROM (
    SELECT
        session_id AS session,
        toDate(timestamp, {timezone:String}) AS day,
        coalesce(JSONExtract(payload, 'value', 'Nullable(Float64)'), {value:Float64}) AS worth_each
    FROM events FINAL
    WHERE events.project_id = {project_id:String}
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND multiIf(
          {kind:String} = 'page',
          event_type = 'page_view' AND if(
              endsWith({text:String}, '*'),
              startsWith(path, substring({text:String}, 1, length({text:String}) - 1)),
              path = {text:String}
          ),
          event_type = 'purchase', {kind:String} = 'goal' AND {text:String} = 'purchase',
          event_type = 'goal' OR ({kind:String} = 'goal' AND event_type = 'custom_event'),
          JSONExtractString(payload, 'name') = {text:String},
          false
      )
) AS completed
INNER JOIN (
    SELECT
        session_id,
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
        WHERE events.project_id = {project_id:String}
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
    )
    GROUP BY session_id
) AS came ON completed.session = came.session_id
GROUP BY GROUPING SETS ((day), (source), ())
HAVING conversions > 0
ORDER BY by, sessions DESC, source, day
LIMIT {limit:UInt32}
