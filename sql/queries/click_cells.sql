-- Clicks per 10 px cell of a page: the cell's centre, and the element mostly clicked in it.
-- Both days are included (UTC). An empty device type or viewport class means all.
-- Source: view click_heatmap_mv.
SELECT
    grid_x * 10 + 5 AS x,
    grid_y * 10 + 5 AS y,
    sum(clicks_on_element) AS clicks,
    argMax(target_selector, (clicks_on_element, target_selector)) AS target_selector
FROM (
    SELECT
        grid_x,
        grid_y,
        target_selector,
        sum(click_count) AS clicks_on_element
    FROM click_heatmap_mv
    WHERE project_id = {project_id:String}
      AND path = {path:String}
      AND date BETWEEN {first_day:Date} AND {last_day:Date}
      AND ({device_type:String} = '' OR device_type = {device_type:String})
      AND ({viewport_class:String} = '' OR viewport_class = {viewport_class:String})
    GROUP BY grid_x, grid_y, target_selector
)
GROUP BY grid_x, grid_y
ORDER BY clicks DESC, y, x
LIMIT {limit:UInt32}
