-- The most clicked elements of a page, with the text they were mostly clicked under, and their share
-- of all clicks on elements of the page.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    target_selector AS selector,
    any(element_tag) AS tag,
    argMax(target_text, (clicks_of_text, target_text)) AS text,
    sum(clicks_of_text) AS clicks,
    round(clicks / any(all_clicks), 4) AS share
FROM (
    SELECT
        target_selector,
        target_text,
        max(toString(target_tag)) AS element_tag,
        count() AS clicks_of_text,
        sum(clicks_of_text) OVER () AS all_clicks
    FROM events FINAL
    WHERE project_id = {project_id:String}
      AND event_type = 'click'
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND path = {path:String}
      AND ({device_type:String} = '' OR device_type = {device_type:String})
      AND viewport_width BETWEEN {width_min:UInt32} AND {width_max:UInt32}
      AND target_selector != ''
    GROUP BY target_selector, target_text
)
GROUP BY target_selector
ORDER BY clicks DESC, selector
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
