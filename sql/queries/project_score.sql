-- How well sessions went: the mean score of the closed ones that began in a period, and how many.
-- Bands: good from 80, fair from 50, poor below. Source: sessions.md, section 5.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    count() AS closed_sessions,
    if(closed_sessions = 0, NULL, round(avg(experience_score), 2)) AS score,
    countIf(experience_score >= 80) AS good,
    countIf(experience_score >= 50 AND experience_score < 80) AS fair,
    countIf(experience_score < 50) AS poor
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND started_at >= period_start AND started_at < period_end
  AND is_closed AND experience_score IS NOT NULL
