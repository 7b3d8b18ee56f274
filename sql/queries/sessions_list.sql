-- Sessions that began in a period and pass all filters, one page at a time.
-- A filter that is empty does not filter; `path` is a page the session saw, a trailing * means all
-- pages below. A user's sessions are those that say so, and those that say nobody of visitors who were
-- the user when they ended: ask user_visitors for them first. `place` is what the list is sorted by,
-- negated where it goes down: the next page starts after the last row's (place, id); pass '' as
-- cursor_id for the first page. A session whose start was moved is listed at its former start as well:
-- ask session_starts_now which one holds.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(session_starts.session_id) AS id,
    user_id,
    anonymous_id,
    toUnixTimestamp64Milli(started_at) AS started_at_ms,
    toUnixTimestamp64Milli(ended_at) AS ended_at_ms,
    duration_ms,
    entry_url,
    exit_url,
    page_count,
    event_count,
    has_error,
    has_rage_click,
    has_dead_click,
    has_replay,
    converted,
    is_closed,
    experience_score,
    browser,
    os,
    device_type,
    country,
    country_code,
    city,
    utm_source,
    {direction:Int64} * multiIf(
        {sort:String} = 'duration', toInt64(duration_ms),
        {sort:String} = 'events', toInt64(event_count),
        toUnixTimestamp64Milli(started_at)
    ) AS place
FROM session_starts FINAL
WHERE project_id = {project_id:String}
  AND started_at >= period_start AND started_at < period_end
  -- How far a list in the order of starts has come already.
  AND (
      {cursor_id:String} = '' OR {sort:String} IN ('duration', 'events') OR {direction:Int64} = 1
      OR started_at <= fromUnixTimestamp64Milli(-{cursor_place:Int64}, 'UTC')
  )
  AND (
      {cursor_id:String} = '' OR {sort:String} IN ('duration', 'events') OR {direction:Int64} = -1
      OR started_at >= fromUnixTimestamp64Milli({cursor_place:Int64}, 'UTC')
  )
  AND ({has_error:String} = '' OR has_error = ({has_error:String} = 'true'))
  AND ({has_rage_click:String} = '' OR has_rage_click = ({has_rage_click:String} = 'true'))
  AND ({has_dead_click:String} = '' OR has_dead_click = ({has_dead_click:String} = 'true'))
  AND ({has_replay:String} = '' OR has_replay = ({has_replay:String} = 'true'))
  AND ({converted:String} = '' OR converted = ({converted:String} = 'true'))
  AND ({country:String} = '' OR country_code = upper({country:String}))
  AND ({device_type:String} = '' OR device_type = {device_type:String})
  AND ({browser:String} = '' OR browser = {browser:String})
  AND (
      {user_id:String} = ''
      OR user_id = {user_id:String}
      OR (
          user_id = ''
          AND has({visitors:Array(String)}, anonymous_id)
          AND arrayExists(
              (visitor, from_ms, until_ms) ->
                  visitor = anonymous_id AND ended_at_ms >= from_ms AND ended_at_ms < until_ms,
              {visitors:Array(String)},
              {visitors_from_ms:Array(Int64)},
              {visitors_until_ms:Array(Int64)}
          )
      )
  )
  AND ({utm_source:String} = '' OR utm_source = lower({utm_source:String}))
  AND duration_ms BETWEEN {min_duration_ms:UInt64} AND {max_duration_ms:UInt64}
  AND (
      {path:String} = ''
      OR session_starts.session_id IN (
          SELECT events.session_id
          FROM events
          WHERE {path:String} != ''
            AND events.project_id = {project_id:String}
            AND event_type = 'page_view'
            AND event_date BETWEEN toDate(period_start) AND toDate(period_end) + 1
            AND if(
                endsWith({path:String}, '*'),
                startsWith(path, substring({path:String}, 1, length({path:String}) - 1)),
                path = {path:String}
            )
      )
  )
  AND (
      {cursor_id:String} = ''
      OR (place, session_starts.session_id) > ({cursor_place:Int64}, toUUIDOrZero({cursor_id:String}))
  )
ORDER BY place, session_starts.session_id
LIMIT {limit:UInt32}
-- The partition is a function of the start, which is part of the key.
SETTINGS do_not_merge_across_partitions_select_final = 1
