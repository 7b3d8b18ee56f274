"""Data for reads: several projects over many days, made inside ClickHouse.

One project has most of the events; sessions, insights and errors belong to them, and aggregates of
ten years lie behind. All of it is a function of its numbers: made twice it is the same.
"""

from __future__ import annotations

import sys
from datetime import datetime
from uuid import UUID

from clickhouse_connect.driver.client import Client

EVENTS_A_SESSION = 20
DAYS = 400
AGGREGATE_DAYS = 3_650
OTHER_PROJECTS = tuple(str(UUID(int=number + 1)) for number in range(4))
OTHER_SHARE = 0.05  # Of all events, each.
_CHUNK = 500_000

_SESSION_ID = "reinterpretAsUUID(sipHash128(session_number, {project:String}))"
_STARTED = (
    "{end:DateTime64(3, 'UTC')} - toIntervalMillisecond("
    "intDiv((session_number + 1) * {days:UInt64} * 86400000, {sessions:UInt64}))"
)
_EVENTS = f"""
INSERT INTO events (event_id, project_id, session_id, user_id, anonymous_id, page_view_id,
    event_type, timestamp, received_at, url, path, title, referrer_domain, click_x, click_y,
    target_selector, target_tag, scroll_depth, lcp, cls, ttfb, time_on_page_ms, error_message,
    error_type, error_fingerprint, payload, browser, os, device_type,
    viewport_width, viewport_height, country, country_code, retain_days)
SELECT
    reinterpretAsUUID(sipHash128(number, 'event', {{project:String}})),
    {{project:String}},
    {_SESSION_ID},
    if(session_number % 10 = 0, concat('user-', toString(session_number % 5000)), ''),
    concat('visitor-', toString(intDiv(session_number, 3))),
    toString(intDiv(number, 10)),
    if(
        step = 6 AND session_number % 17 = 0,
        'js_error',
        ['page_view', 'page_load', 'mouse_move', 'mouse_move', 'scroll', 'click', 'mouse_move',
         'scroll', 'web_vitals', 'page_exit'][step % 10 + 1]
    ) AS kind,
    {_STARTED} + toIntervalMillisecond(step * 4000 + number % 1000) AS happened_at,
    happened_at,
    concat('https://shop.example', path),
    concat('/page-', toString((session_number * 7 + intDiv(step, 10)) % 200)) AS path,
    'A page',
    ['', 'www.google.com', 't.co'][session_number % 3 + 1],
    if(kind = 'click', number % 1400, NULL),
    if(kind = 'click', number % 3000, NULL),
    if(kind = 'click', concat('#button-', toString(number % 30)), ''),
    if(kind = 'click', 'button', ''),
    if(kind IN ('scroll', 'page_exit'), number % 101, NULL),
    if(kind = 'web_vitals', 500 + number % 4000, NULL),
    if(kind = 'web_vitals', (number % 100) / 400, NULL),
    if(kind = 'page_load', 100 + number % 900, NULL),
    if(kind = 'page_exit', 1000 + number % 60000, NULL),
    if(kind = 'js_error', concat('error ', toString(session_number % 40)), ''),
    if(kind = 'js_error', 'TypeError', ''),
    if(kind = 'js_error', lower(hex(sipHash64(session_number % 40))), ''),
    if(
        kind = 'mouse_move',
        '{{"positions":[{{"timestamp":0,"x":100,"y":200}},{{"timestamp":50,"x":140,"y":220}}]}}',
        '{{"scroll_top":300,"page_height":3000}}'
    ),
    ['Chrome', 'Firefox', 'Safari'][session_number % 3 + 1],
    ['Windows', 'Linux', 'iOS'][session_number % 3 + 1],
    ['desktop', 'desktop', 'mobile'][session_number % 3 + 1],
    [1440, 1366, 390][session_number % 3 + 1],
    [900, 657, 844][session_number % 3 + 1],
    ['Vietnam', 'Germany', 'Sweden', 'Brazil'][session_number % 4 + 1],
    ['VN', 'DE', 'SE', 'BR'][session_number % 4 + 1],
    730
FROM (
    SELECT
        number,
        intDiv(number, {EVENTS_A_SESSION}) AS session_number,
        number % {EVENTS_A_SESSION} AS step
    FROM numbers({{first:UInt64}}, {{count:UInt64}})
)
"""
_SESSIONS = f"""
INSERT INTO sessions (session_id, project_id, user_id, anonymous_id, started_at, ended_at,
    duration_ms, entry_path, exit_path, page_count, event_count, click_count, has_error,
    has_rage_click, is_bounce, browser, os, device_type, country, country_code, experience_score,
    emotion, revision, is_closed, retain_days)
SELECT
    {_SESSION_ID},
    {{project:String}},
    if(session_number % 10 = 0, concat('user-', toString(session_number % 5000)), ''),
    concat('visitor-', toString(intDiv(session_number, 3))),
    {_STARTED} AS begun_at,
    begun_at + toIntervalMillisecond(lasted_ms),
    76000 + session_number % 1000 AS lasted_ms,
    concat('/page-', toString((session_number * 7) % 200)),
    concat('/page-', toString((session_number * 7 + 1) % 200)),
    2, {EVENTS_A_SESSION}, 2,
    session_number % 17 = 0,
    session_number % 23 = 0,
    session_number % 3 = 0,
    ['Chrome', 'Firefox', 'Safari'][session_number % 3 + 1],
    ['Windows', 'Linux', 'iOS'][session_number % 3 + 1],
    ['desktop', 'desktop', 'mobile'][session_number % 3 + 1],
    ['Vietnam', 'Germany', 'Sweden', 'Brazil'][session_number % 4 + 1],
    ['VN', 'DE', 'SE', 'BR'][session_number % 4 + 1],
    100 - session_number % 60, 'neutral', 7, true, 730
FROM (SELECT number AS session_number FROM numbers({{sessions:UInt64}}))
"""
_INSIGHTS = f"""
INSERT INTO insights (insight_id, project_id, session_id, insight_type, timestamp, ended_at, path,
    target_selector, severity, retain_days)
SELECT
    reinterpretAsUUID(sipHash128(session_number, 'insight', {{project:String}})),
    {{project:String}},
    {_SESSION_ID},
    ['rage_click', 'dead_click', 'u_turn'][session_number % 3 + 1],
    {_STARTED} AS found_at,
    found_at,
    concat('/page-', toString((session_number * 7) % 200)),
    concat('#button-', toString(session_number % 30)),
    'high', 730
FROM (SELECT number * 10 AS session_number FROM numbers(intDiv({{sessions:UInt64}}, 10)))
"""
_DAILY = """
INSERT INTO sessions_daily
SELECT
    {project:String},
    toDate({end:DateTime64(3, 'UTC')}) - toIntervalDay({days:UInt64} + intDiv(number, 12)),
    ['Vietnam', 'Germany', 'Sweden', 'Brazil'][number % 4 + 1],
    ['desktop', 'mobile', 'tablet'][number % 3 + 1],
    100, 100, uniqState(toString(number)), uniqState(toString(number + 1)),
    7600000, 200, 5, 4, 3, 33, 2, now64(3)
FROM numbers(12 * {aggregate_days:UInt64})
GROUP BY number
"""
_HOURLY = """
INSERT INTO events_hourly
SELECT
    {project:String},
    toStartOfHour({end:DateTime64(3, 'UTC')})
        - toIntervalHour(24 * {days:UInt64} + intDiv(number, 6)) AS hour,
    ['page_view', 'click', 'scroll'][number % 3 + 1],
    concat('/page-', toString(number % 2)),
    50, uniqState(reinterpretAsUUID(sipHash128(number))), uniqState(toString(number)),
    uniqState(toString(number + 1))
FROM numbers(6 * 24 * {aggregate_days:UInt64})
GROUP BY number
"""


def fill(
    client: Client,
    project_id: str,
    events: int,
    end: datetime,
    *,
    days: int = DAYS,
    aggregate_days: int = AGGREGATE_DAYS,
) -> int:
    """Make so many events in all; returns how many sessions the measured project has."""
    share = int(events * OTHER_SHARE)
    for other in OTHER_PROJECTS:
        _fill_project(client, other, share, end, days, 0)
    mine = events - share * len(OTHER_PROJECTS)
    _fill_project(client, project_id, mine, end, days, aggregate_days)
    return mine // EVENTS_A_SESSION


def _fill_project(
    client: Client, project_id: str, events: int, end: datetime, days: int, aggregate_days: int
) -> None:
    values = {
        "project": project_id,
        "end": end,
        "sessions": max(1, events // EVENTS_A_SESSION),
        "days": days,
        "aggregate_days": aggregate_days,
    }
    for first in range(0, events, _CHUNK):
        count = min(_CHUNK, events - first)
        client.command(_EVENTS, parameters={**values, "first": first, "count": count})
        print(f"api: {first + count:,} events", file=sys.stderr, flush=True)
    for statement in (_SESSIONS, _INSIGHTS, _DAILY, _HOURLY):
        # Ten years are more months than one insert should have, or any of ours ever has.
        client.command(
            statement, parameters=values, settings={"max_partitions_per_insert_block": 1_000}
        )
