-- For how long each band of 100 px of a page was on the screen while the visitor did something.
-- Slots of 5 s with an active event count for what the window showed from where it was last scrolled
-- to; `avg_time_ms` is over all sessions with such a slot. Source: sessions.md, section 3.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    band * 100 AS y_start,
    band * 100 + 100 AS y_end,
    round(5000 * count() / any(sessions)) AS avg_time_ms
FROM (
    SELECT
        uniqExact(session_id) OVER () AS sessions,
        -- A window of no known height shows nothing; no page is longer than a million pixels.
        range(
            intDiv(top, 100), intDiv(top + least(height, 10000) + 99, 100)
        ) AS bands
    FROM (
        SELECT
            session_id,
            height,
            least(
                greatest(
                    ifNull(
                        last_value(scrolled_to) IGNORE NULLS OVER (
                            PARTITION BY session_id ORDER BY slot
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ),
                        0
                    ),
                    0
                ),
                1000000
            ) AS top
        FROM (
            SELECT
                session_id,
                intDiv(toUnixTimestamp64Milli(timestamp), 5000) AS slot,
                max(viewport_height) AS height,
                argMaxOrNullIf(
                    if(event_type = 'scroll', JSONExtractInt(payload, 'scroll_top'), 0),
                    (timestamp, event_id),
                    event_type IN ('page_view', 'scroll')
                ) AS scrolled_to
            FROM events FINAL
            WHERE project_id = {project_id:String}
              AND event_type IN (
                  'page_view', 'page_visible', 'click', 'dblclick', 'context_menu', 'mouse_move',
                  'scroll', 'scroll_milestone', 'input_change', 'input_focus',
                  'input_blur', 'form_start', 'form_submit', 'form_abandon', 'form_error', 'media_play',
                  'media_pause', 'media_complete', 'media_seek', 'media_error', 'copy', 'cut', 'paste',
                  'text_select', 'text_deselect', 'custom_event', 'goal', 'purchase'
              )
              AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
              AND timestamp >= period_start AND timestamp < period_end
              AND path = {path:String}
              AND ({device_type:String} = '' OR device_type = {device_type:String})
              AND viewport_width BETWEEN {width_min:UInt32} AND {width_max:UInt32}
            GROUP BY session_id, slot
        )
        WHERE height > 0
    )
)
ARRAY JOIN bands AS band
GROUP BY band
ORDER BY band
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
