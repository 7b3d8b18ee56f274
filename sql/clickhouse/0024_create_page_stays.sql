-- why: how long each view of a page lasted is asked by two reports, in forty lines that were in both.
-- blocking: no

-- The views of a period, one row each; `time_ms` is null where nobody knows. Of a view: what its exit
-- measured, else the time to the session's next view, 30 minutes at most; of the last view it is
-- unknown. An exit is that of the view whose page_view_id it has, without one that of the last view
-- of its path. Exits and next views are looked for up to a day after the period, which is as long as
-- a session lasts. Source: sessions.md, section 3.
CREATE VIEW IF NOT EXISTS page_stays AS
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    session_id,
    view.3 AS path,
    view.4 AS anonymous_id,
    time_ms
FROM (
    -- In order of time: when, id, path, visitor, the longest that an exit of it measured (0: none).
    SELECT
        session_id,
        arraySort(arrayMap(
            part -> ((part.2)[1], (part.3)[1], (part.5)[1], (part.6)[1], arrayMax(part.7)),
            -- A view and its exits. What begins with an exit is of an earlier view, or of a lost one.
            arrayFilter(
                part -> (part.4)[1],
                arraySplit(
                    (one, key_before) -> one.4 OR one.1 != key_before,
                    told,
                    arrayPopBack(arrayPushFront(told.1, ''))
                )
            )
        )) AS views
    FROM (
        -- One sort of each session; windows over all rows took twice as long.
        SELECT
            session_id,
            arraySort(groupArray((
                if(page_view_id != '', page_view_id, events.path),
                toUnixTimestamp64Milli(timestamp),
                event_id,
                event_type = 'page_view',
                events.path,
                events.anonymous_id,
                ifNull(time_on_page_ms, 0)
            ))) AS told
        FROM events FINAL
        WHERE project_id = {project_id:String}
          AND event_type IN ('page_view', 'page_exit')
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end) + 1
          AND timestamp >= period_start AND timestamp < period_end + toIntervalDay(1)
        GROUP BY session_id
    )
)
ARRAY JOIN
    views AS view,
    arrayMap(
        (at_ms, exit_ms, next_ms) -> multiIf(
            exit_ms > 0, exit_ms,
            next_ms > 0, least(next_ms - at_ms, 30 * 60000),
            NULL
        ),
        views.1,
        views.5,
        arrayPopFront(arrayPushBack(views.1, 0))
    ) AS time_ms
WHERE view.1 < {end_ms:Int64};
