"""The API over much data: overview, list of sessions and timeline, with what is read for them.

Events of 400 days and ten years of daily and hourly aggregates are made inside ClickHouse. Requests
go over HTTP to the application in this process, one after the other, each about another period or
session; times are from the request to the last byte. `granules` are those that
`EXPLAIN indexes = 1` says are read, of how many there are; `cpu_ms` is the time on a core that
ClickHouse and this process take for a request: other work on the machine changes it least.
Targets: 300, 200 and 150 ms at p95.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any

import psutil
from aiohttp.test_utils import TestClient, TestServer
from clickhouse_connect.driver.client import Client

from api.app import create_app
from api.clickhouse_runner import ClickHouseRunner
from api.services import Services
from benchmarks.bench_machine import (
    CLICKHOUSE,
    BenchMachine,
    bench_machine,
    cpu_seconds,
    server_process,
)
from cli.project_store import connect as connect_projects
from cli.project_store import create_key
from connectors.clickhouse import connect
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from sql.loader import load_query

EVENTS_A_SESSION = 20
DAYS = 400
CHUNK = 500_000
REQUESTS = 40
TARGETS_MS = {"overview": 300, "sessions": 200, "timeline": 150}
AGGREGATE_DAYS = 3_650

_SESSION_ID = "reinterpretAsUUID(sipHash128(session_number))"
_STARTED = (
    "{end:DateTime64(3, 'UTC')} - toIntervalMillisecond("
    f"intDiv((session_number + 1) * {DAYS} * 86400000, {{sessions:UInt64}}))"
)
_EVENTS = f"""
INSERT INTO events (event_id, project_id, session_id, user_id, anonymous_id, page_view_id,
    event_type, timestamp, received_at, url, path, title, referrer_domain, click_x, click_y,
    target_selector, target_tag, scroll_depth, lcp, cls, ttfb, time_on_page_ms, payload, browser,
    os, device_type, viewport_width, viewport_height, country, country_code, retain_days)
SELECT
    reinterpretAsUUID(sipHash128(number, 'event')),
    {{project:String}},
    {_SESSION_ID},
    if(session_number % 10 = 0, concat('user-', toString(session_number % 5000)), ''),
    concat('visitor-', toString(intDiv(session_number, 3))),
    toString(intDiv(number, 10)),
    ['page_view', 'page_load', 'mouse_move', 'mouse_move', 'scroll', 'click', 'mouse_move',
     'scroll', 'web_vitals', 'page_exit'][step % 10 + 1] AS kind,
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
    reinterpretAsUUID(sipHash128(session_number, 'insight')),
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
_DAILY = f"""
INSERT INTO sessions_daily
SELECT
    {{project:String}},
    toDate({{end:DateTime64(3, 'UTC')}}) - toIntervalDay({DAYS} + intDiv(number, 12)),
    ['Vietnam', 'Germany', 'Sweden', 'Brazil'][number % 4 + 1],
    ['desktop', 'mobile', 'tablet'][number % 3 + 1],
    100, 100, uniqState(toString(number)), uniqState(toString(number + 1)),
    7600000, 200, 5, 4, 3, 33, 2, now64(3)
FROM numbers(12 * {AGGREGATE_DAYS})
GROUP BY number
"""
_HOURLY = f"""
INSERT INTO events_hourly
SELECT
    {{project:String}},
    toStartOfHour({{end:DateTime64(3, 'UTC')}})
        - toIntervalHour(24 * {DAYS} + intDiv(number, 6)) AS hour,
    ['page_view', 'click', 'scroll'][number % 3 + 1],
    concat('/page-', toString(number % 2)),
    50, uniqState(reinterpretAsUUID(sipHash128(number))), uniqState(toString(number)),
    uniqState(toString(number + 1))
FROM numbers(6 * 24 * {AGGREGATE_DAYS})
GROUP BY number
"""
_GRANULES = re.compile(r"Granules: (\d+)/(\d+)")
Ask = Callable[[str], Awaitable[float]]


def run(events: int = 10_000_000) -> dict[str, object]:
    """Times and granules over so many events."""
    with bench_machine() as machine:
        client = connect(machine.urls["CLICKHOUSE_URL"], timeout_s=3_600)
        began = time.perf_counter()
        end = datetime.now(UTC).replace(microsecond=0)
        _fill(client, machine.project_id, events, end)
        filled_s = time.perf_counter() - began
        measured = asyncio.run(_measure(machine, events // EVENTS_A_SESSION, end))
        granules = _granules(client, machine.project_id, end)
        client.close()
        figures: dict[str, float] = {}
        for name, (times, cpu_ms) in measured.items():
            figures |= {f"{name}_ms_{part}": value for part, value in _summary(times).items()}
            figures[f"{name}_cpu_ms"] = round(cpu_ms, 1)
        return {
            "benchmark": "api",
            "events": events,
            "sessions": events // EVENTS_A_SESSION,
            "fill_s": round(filled_s, 1),
            "load_average": round(psutil.getloadavg()[0], 1),
            **figures,
            **{f"{name}_target_ms": target for name, target in TARGETS_MS.items()},
            **{f"granules_{name}": found for name, found in granules.items()},
        }


def _fill(client: Client, project_id: str, events: int, end: datetime) -> None:
    values = {"project": project_id, "end": end, "sessions": events // EVENTS_A_SESSION}
    for first in range(0, events, CHUNK):
        count = min(CHUNK, events - first)
        client.command(_EVENTS, parameters={**values, "first": first, "count": count})
        print(f"api: {first + count:,} events", file=sys.stderr, flush=True)
    for statement in (_SESSIONS, _INSIGHTS, _DAILY, _HOURLY):
        # Ten years are more months than one insert should have, or any of ours ever has.
        client.command(
            statement, parameters=values, settings={"max_partitions_per_insert_block": 1_000}
        )


async def _measure(
    machine: BenchMachine, sessions: int, end: datetime
) -> Mapping[str, tuple[Sequence[float], float]]:
    server = server_process(machine, CLICKHOUSE)
    assert server is not None

    def used_seconds() -> float:
        return _own_seconds() + cpu_seconds(server)

    chance = random.Random(1)
    async with _application(machine) as ask:

        def days(length: int) -> str:
            last = end.date() - timedelta(days=chance.randrange(DAYS - length))
            zone = chance.choice(("UTC", "Asia/Ho_Chi_Minh", "America/New_York"))
            first = last - timedelta(days=length - 1)
            return f"start_date={first}&end_date={last}&timezone={zone}"

        async def timed(make: Callable[[], str]) -> tuple[list[float], float]:
            await ask(make())
            before = used_seconds()
            times = [await ask(make()) for _ in range(REQUESTS)]
            return times, (used_seconds() - before) / REQUESTS * 1000

        client = connect(machine.urls["CLICKHOUSE_URL"])
        ids = [
            str(row[0])
            for row in client.query(
                "SELECT session_id FROM sessions LIMIT 100 OFFSET {n:UInt64}",
                parameters={"n": max(0, sessions // 2 - 100)},
            ).result_rows
        ]
        client.close()
        return {
            "overview": await timed(lambda: f"overview?{days(7)}"),
            "overview_30_days": await timed(lambda: f"overview?{days(30)}"),
            "sessions": await timed(lambda: f"sessions?{days(30)}"),
            "sessions_filtered": await timed(
                lambda: f"sessions?{days(30)}&has_rage_click=true&country=VN&sort=duration"
            ),
            "sessions_by_path": await timed(lambda: f"sessions?{days(30)}&path=/page-7"),
            "timeline": await timed(lambda: f"sessions/{chance.choice(ids)}/events"),
        }


@asynccontextmanager
async def _application(machine: BenchMachine) -> Any:
    with connect_projects(machine.urls["DATABASE_URL"]) as connection:
        key, _ = create_key(connection, machine.project_id, name="r", permission="read")
    pool = await connect_postgres(machine.urls["DATABASE_URL"])
    runner = ClickHouseRunner(machine.urls["CLICKHOUSE_URL"], threads=8, timeout_s=60)
    services = Services(
        queries=runner,
        keys=KeyStore(PostgresKeySource(pool), None),
        checks={},
        vital=frozenset(),
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    async with TestClient(TestServer(create_app(services))) as client:

        async def ask(path: str) -> float:
            url = f"/api/v1/projects/{machine.project_id}/{path}"
            began = time.perf_counter()
            async with client.get(url, headers={"X-GoSight-Key": key}) as answer:
                content = await answer.read()
                assert answer.status == 200, content
            return (time.perf_counter() - began) * 1000

        yield ask
    runner.close()
    await pool.close()


def _granules(client: Client, project_id: str, end: datetime) -> Mapping[str, str]:
    """Read and all granules of the tables of three queries, for a week in the middle."""
    start_ms = round((end - timedelta(days=DAYS // 2)).timestamp() * 1000)
    period = {"start_ms": start_ms, "end_ms": start_ms + 7 * 86_400_000}
    (row,) = client.query("SELECT session_id, toDate(started_at) FROM sessions LIMIT 1").result_rows
    names = ("has_error", "has_rage_click", "has_dead_click", "has_replay", "converted", "country")
    texts = ("device_type", "browser", "user_id", "utm_source", "path", "cursor_id")
    asked: dict[str, Mapping[str, Any]] = {
        "overview_summary": period,
        "top_pages": {**period, "limit": 10},
        "sessions_list": {
            **period,
            **dict.fromkeys((*names, *texts), ""),
            "min_duration_ms": 0,
            "max_duration_ms": 2**50,
            "sort": "started_at",
            "direction": -1,
            "cursor_place": 0,
            "limit": 51,
        },
        "session_timeline": {
            "session_id": str(row[0]),
            "first_day": row[1],
            "last_day": row[1],
            "event_types": [],
            "cursor_ms": 0,
            "cursor_id": "",
            "offset": 0,
            "limit": 51,
        },
    }
    return {
        name: _granules_of(client, name, {"project_id": project_id, **parameters})
        for name, parameters in asked.items()
    }


def _granules_of(client: Client, name: str, parameters: Mapping[str, Any]) -> str:
    sql = f"EXPLAIN indexes = 1 {load_query(name)}"
    lines = [str(row[0]) for row in client.query(sql, parameters=dict(parameters)).result_rows]
    found = [(int(match[1]), int(match[2])) for match in map(_GRANULES.search, lines) if match]
    # The last index of a table says what is left; the first one how many there were.
    return f"{found[-1][0]} of {max(whole for _, whole in found)}" if found else "unknown"


def _own_seconds() -> float:
    """Of this process alone: the servers are children of it."""
    times = psutil.Process().cpu_times()
    return times.user + times.system


def _summary(times_ms: Sequence[float]) -> Mapping[str, float]:
    return {
        "p50": round(median(times_ms), 1),
        "p95": round(quantiles(times_ms, n=20, method="inclusive")[18], 1),
    }
