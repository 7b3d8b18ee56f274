-- How many people reached each step of a funnel, and the median time from the step before.
-- A person enters in the period, at any event that matches step 1. Each further step is the earliest
-- match strictly later than the one before (time, then id) and within the window from the entry.
-- Who entered several times counts with the entry that got furthest, of those with the first. All
-- entries are followed in one pass from the last event to the first: `chains[k]` is how things go on
-- from the next match of step k. Source: revenue.md, section 6.
-- Step k is `kinds[k]` page (path `texts[k]`, a * at its end matches a beginning), goal (told by the
-- page, or a custom event of that name) or attribute (a goal told by the page only).
-- `group` is utm_source, device_type, of the session of the entry, or empty. Who is who: event_people.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC') AS period_until
SELECT
    group_value,
    step,
    count() AS visitors,
    quantileExactInclusive(0.5)(seconds_taken) AS median_seconds
FROM (
    SELECT
        multiIf(
            {group:String} = 'utm_source', toString(entered.utm_source),
            {group:String} = 'device_type', toString(entered.device_type),
            ''
        ) AS group_value,
        arrayJoin(arrayEnumerate(reached)) AS step,
        arrayDifference(reached)[step] / 1000 AS seconds_taken
    FROM (
        SELECT
            arrayFold(
                (acc, event) -> (
                    arrayMap(
                        k -> if(
                            event.3[k] = 1, arrayPushFront(acc.1[k + 1], event.1), acc.1[k]
                        ),
                        range(1, length({kinds:Array(String)}) + 2)
                    ),
                    if(
                        event.3[1] = 1 AND event.1 < {end_ms:Int64},
                        arrayPushBack(acc.2, (arrayPushFront(acc.1[2], event.1), event.4)),
                        acc.2
                    )
                ),
                arrayReverse(arraySort(groupArray((at_ms, id, matches, session)))),
                (
                    arrayMap(
                        k -> CAST([] AS Array(Int64)),
                        range(1, length({kinds:Array(String)}) + 2)
                    ),
                    CAST([] AS Array(Tuple(Array(Int64), UUID)))
                )
            ).2 AS entries,
            arraySort(
                entry -> (-length(entry.1), entry.1[1]),
                arrayMap(
                    entry -> (
                        arrayFilter(at -> at - entry.1[1] <= {window_ms:Int64}, entry.1), entry.2
                    ),
                    entries
                )
            )[1] AS best,
            best.1 AS reached,
            best.2 AS entry_session
        FROM (
            SELECT
                toUnixTimestamp64Milli(event.timestamp) AS at_ms,
                toString(event.id) AS id, -- UUIDs themselves are sorted by their second half.
                event.matches AS matches,
                event.session AS session,
                multiIf(
                    event.user_id != '', event.user_id,
                    known.user_id != '', known.user_id,
                    event.anonymous_id != '', event.anonymous_id,
                    toString(event.session)
                ) AS person
            FROM (
                SELECT
                    event_id AS id,
                    session_id AS session,
                    timestamp,
                    user_id,
                    anonymous_id,
                    arrayMap(
                        (kind, text) -> toUInt8(multiIf(
                            kind = 'page',
                            event_type = 'page_view' AND if(
                                endsWith(text, '*'),
                                startsWith(path, substring(text, 1, length(text) - 1)),
                                path = text
                            ),
                            event_type = 'purchase', kind = 'goal' AND text = 'purchase',
                            event_type = 'goal' OR (kind = 'goal' AND event_type = 'custom_event'),
                            JSONExtractString(payload, 'name') = text,
                            false
                        )),
                        {kinds:Array(String)},
                        {texts:Array(String)}
                    ) AS matches
                FROM events FINAL
                WHERE events.project_id = {project_id:String}
                  AND event_date BETWEEN toDate(period_start) AND toDate(period_until)
                  AND timestamp >= period_start AND timestamp < period_until
                  AND event_type IN ('page_view', 'goal', 'custom_event', 'purchase')
                  AND has(matches, 1)
            ) AS event
            ASOF LEFT JOIN (
                SELECT anonymous_id, known_from, user_id
                FROM visitor_users
                WHERE project_id = {project_id:String}
            ) AS known
                ON event.anonymous_id = known.anonymous_id AND event.timestamp >= known.known_from
        )
        GROUP BY person
    ) AS people
    LEFT JOIN (
        SELECT session_id, utm_source, device_type
        FROM sessions FINAL
        WHERE project_id = {project_id:String}
          AND {group:String} != ''
          AND started_at >= period_start - toIntervalDay(2)
          AND started_at < period_until
    ) AS entered ON people.entry_session = entered.session_id
    WHERE notEmpty(reached)
)
GROUP BY group_value, step
ORDER BY group_value, step
