-- The most clicked elements of a page, with the text they were mostly clicked under.
-- Both days are included (UTC). Source: the documents' first example query; view element_clicks_mv.
SELECT
    target_selector,
    target_tag,
    argMax(target_text, (clicks_of_text, target_text)) AS target_text,
    sum(clicks_of_text) AS total_clicks
FROM (
    SELECT
        target_selector,
        target_tag,
        target_text,
        sum(click_count) AS clicks_of_text
    FROM element_clicks_mv
    WHERE project_id = {project_id:String}
      AND path = {path:String}
      AND date BETWEEN {first_day:Date} AND {last_day:Date}
    GROUP BY target_selector, target_tag, target_text
)
GROUP BY target_selector, target_tag
ORDER BY total_clicks DESC, target_selector, target_tag
LIMIT {limit:UInt32}
