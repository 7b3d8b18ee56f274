-- The most frequent sequences of 2 to 5 pages, each session once, anywhere in its journey.
-- `start` and `end` are the first and last page, empty for any; `depth` is the most pages of a sequence.
-- `reached` is in how many sessions the first one, two ... pages of the sequence stand in this order,
-- `drop_off` what share of them did not go on to the next. Steps as in session_journey.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end,
    sequences AS (
        SELECT
            arrayJoin(
                arrayDistinct(
                    arrayFlatten(
                        arrayMap(
                            first -> arrayMap(
                                size -> tuple(arraySlice(screens, first, size)),
                                range(1, least({depth:UInt32}, length(screens) - first + 1) + 1)
                            ),
                            range(1, length(screens) + 1)
                        )
                    )
                )
            ).1 AS screens_seen,
            count() AS sessions
        FROM (
            SELECT
                arraySlice(
                    arrayCompact(
                        arrayMap(
                            view -> view.3,
                            arraySort(groupArray((
                                timestamp,
                                event_id,
                                path || if(match(fragment(url), '^[/!]'), '#' || fragment(url), '')
                            )))
                        )
                    ),
                    1,
                    200
                ) AS screens
            FROM events FINAL
            WHERE project_id = {project_id:String}
              AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
              AND timestamp >= period_start AND timestamp < period_end
              AND event_type = 'page_view'
            GROUP BY session_id
        )
        GROUP BY screens_seen
    )
SELECT
    whole.screens_seen AS screens,
    any(whole.sessions) AS sessions,
    arrayMap(step -> step.2, arraySort(groupArray((length(part.screens_seen), part.sessions))))
        AS reached,
    arrayMap(
        step -> round(1 - reached[step + 1] / reached[step], 4), range(1, length(screens))
    ) AS drop_off
FROM (
    SELECT
        screens_seen,
        sessions,
        arrayMap(size -> arraySlice(screens_seen, 1, size), range(1, length(screens_seen) + 1))
            AS beginnings
    FROM sequences
    WHERE length(screens_seen) > 1
      AND ({start:String} = '' OR screens_seen[1] = {start:String})
      AND ({end:String} = '' OR screens_seen[-1] = {end:String})
    ORDER BY sessions DESC, length(screens_seen) DESC, screens_seen
    LIMIT {limit:UInt32}
) AS whole
ARRAY JOIN beginnings AS beginning
INNER JOIN sequences AS part ON part.screens_seen = beginning
GROUP BY whole.screens_seen
ORDER BY sessions DESC, length(screens) DESC, screens
