"""The API over much data: each read through a running process, new and from the cache.

Ten million events of 400 days with their sessions, insights and errors, in five projects of which
one has most, and ten years of daily and hourly aggregates are made inside ClickHouse. Each read is
asked over HTTP, each time about another period, page or session, with `Cache-Control: no-cache`:

- one at a time (`alone`), with the time on a core that the API's process and ClickHouse take for
  it: other work on the machine changes that least;
- at a fixed arrival rate (`arriving`), measured from the moment a request was meant to be sent;
- the same question again and again, as the cache answers it (`cached`).

`rows` and `granules` are what ClickHouse's indexes leave to be read by the read's queries, for a
week in the middle. Targets at p95: 300 ms for overviews, 200 ms for lists of sessions, 150 ms for
timelines.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import quantiles
from typing import Any

import aiohttp
import psutil
from aiohttp.test_utils import TestClient, TestServer

from api.app import create_app
from api.services import Services
from benchmarks.api_data import DAYS, EVENTS_A_SESSION, fill
from benchmarks.bench_machine import (
    CLICKHOUSE,
    BenchMachine,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
    server_process,
)
from benchmarks.read_costs import RecordingRunner, costs_of
from cli.project_store import connect as connect_projects
from cli.project_store import create_key
from connectors.clickhouse import connect
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres

REQUESTS = 40
RATE = 4.0  # Requests a second of one read.
DEEP_PAGES = 20
TARGETS_MS = {"overview": 300, "sessions": 200, "timeline": 150}
ZONES = ("UTC", "Asia/Ho_Chi_Minh", "America/New_York")
Make = Callable[[], str]
Ask = Callable[[str], Awaitable[float]]


@dataclass(frozen=True)
class Reads:
    """Which questions there are: each a path with its query, another one each time."""

    makes: Mapping[str, Make]
    middle: Mapping[str, str]  # One of each, about a week in the middle.


def run(events: int = 10_000_000, requests: int = REQUESTS) -> dict[str, object]:
    """Times, CPU and rows of each read over so many events, from so many requests of each."""
    with bench_machine() as machine:
        client = connect(machine.urls["CLICKHOUSE_URL"], timeout_s=3_600)
        began = time.perf_counter()
        end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        sessions = fill(client, machine.project_id, events, end)
        filled_s = time.perf_counter() - began
        ids = [
            str(row[0])
            for row in client.query(
                "SELECT session_id FROM session_starts WHERE project_id = {project:String} "
                "AND started_at < {day:Date} ORDER BY started_at DESC LIMIT 200",
                parameters={
                    "project": machine.project_id,
                    "day": end.date() - timedelta(days=DAYS // 2),
                },
            ).result_rows
        ]
        client.close()
        figures = asyncio.run(_measure(machine, end.date(), ids, requests))
        return {
            "benchmark": "api",
            "events": events,
            "sessions_of_the_project": sessions,
            "days": DAYS,
            "events_a_session": EVENTS_A_SESSION,
            "fill_s": round(filled_s, 1),
            "requests": requests,
            "rate_a_s": RATE,
            "load_average": round(psutil.getloadavg()[0], 1),
            **{f"{name}_target_ms": target for name, target in TARGETS_MS.items()},
            **figures,
        }


async def _measure(
    machine: BenchMachine, end: date, ids: Sequence[str], requests: int
) -> dict[str, object]:
    with connect_projects(machine.urls["DATABASE_URL"]) as connection:
        key, _ = create_key(connection, machine.project_id, name="r", permission="read")
    port = free_port()
    environ = {
        "API_PORT": str(port),
        "API_HOST": "127.0.0.1",
        "API_READS_PER_MINUTE": "1000000",
        "JWT_SECRET": "a benchmark needs no secret, only one",
    }
    clickhouse = server_process(machine, CLICKHOUSE)
    assert clickhouse is not None
    figures: dict[str, object] = {}
    with own_process(machine, "api", ["api"], port, **environ) as api:
        base = f"http://127.0.0.1:{port}/api/v1/projects/{machine.project_id}/"
        async with aiohttp.ClientSession(
            headers={"X-GoSight-Key": key}, connector=aiohttp.TCPConnector(limit=100)
        ) as session:
            ask = _asker(session, base, {"Cache-Control": "no-cache"})
            reads = await _reads(session, base, end, ids)
            for name, make in reads.makes.items():
                print(f"api: {name}", file=sys.stderr, flush=True)
                await ask(make())
                before = cpu_seconds(api), cpu_seconds(clickhouse)
                alone = [await ask(make()) for _ in range(requests)]
                after = cpu_seconds(api), cpu_seconds(clickhouse)
                figures |= _summary(f"{name}_alone_ms", alone)
                figures[f"{name}_api_cpu_ms"] = _per_request(before[0], after[0], requests)
                figures[f"{name}_clickhouse_cpu_ms"] = _per_request(before[1], after[1], requests)
                arriving = await _arriving(ask, make, requests)
                figures |= _summary(f"{name}_arriving_ms", arriving)
            figures |= await _cached(session, base, reads, requests, api)
        figures["api_rss_mb"] = round(rss_mb(api))
    return figures | await _costs(machine, key, reads.middle)


async def _reads(session: aiohttp.ClientSession, base: str, end: date, ids: Sequence[str]) -> Reads:
    chance = random.Random(1)

    def days(length: int) -> str:
        last = end - timedelta(days=chance.randrange(1, DAYS - 2 * length))
        first = last - timedelta(days=length - 1)
        return f"start_date={first}&end_date={last}&timezone={chance.choice(ZONES)}"

    middle = end - timedelta(days=DAYS // 2)
    week = f"start_date={middle - timedelta(days=6)}&end_date={middle}"
    month = f"start_date={middle - timedelta(days=29)}&end_date={middle}"
    filters = ("country=VN", "device_type=mobile", "browser=Chrome", "has_error=true")
    filters += ("has_rage_click=true&country=VN", "min_duration=76.5", "user_id=user-10")
    filters += ("converted=false", "utm_source=none", "path=/page-7", "path=/page-1*")
    makes: dict[str, Make] = {
        "overview": lambda: f"overview?{days(7)}",
        "overview_30_days": lambda: f"overview?{days(30)}",
        "sessions": lambda: f"sessions?{days(30)}",
        "sessions_filtered": lambda: f"sessions?{days(30)}&{chance.choice(filters)}",
    }

    def sorted_by(sort: str) -> Make:
        return lambda: f"sessions?{days(30)}&sort={sort}&order={chance.choice(('asc', 'desc'))}"

    def behind(path: str, cursors: Sequence[str]) -> Make:
        return lambda: f"{path}&cursor={chance.choice(cursors)}"

    for sort in ("started_at", "duration", "events"):
        makes[f"sessions_by_{sort}"] = sorted_by(sort)
        path = f"sessions?{month}&sort={sort}&per_page=100"
        makes[f"sessions_deep_by_{sort}"] = behind(path, await _cursors(session, base + path))
    makes |= {
        "timeline": lambda: f"sessions/{chance.choice(ids)}/events",
        "session": lambda: f"sessions/{chance.choice(ids)}",
        "events": lambda: f"events?{days(7)}",
        "errors": lambda: f"errors?{days(7)}&grouped=false",
        "insights": lambda: f"insights?{days(7)}",
        "pages": lambda: f"pages?{days(7)}",
        "heatmaps": lambda: f"heatmaps?{days(7)}&path=/page-{chance.randrange(200)}",
    }
    return Reads(
        makes,
        {
            "overview": f"overview?{week}",
            "sessions": f"sessions?{week}",
            "timeline": f"sessions/{ids[0]}/events",
            "events": f"events?{week}",
            "insights": f"insights?{week}",
            "heatmaps": f"heatmaps?{week}&path=/page-7",
        },
    )


async def _cursors(session: aiohttp.ClientSession, url: str) -> list[str]:
    """Where some pages of a list end, each deeper than the one before."""
    cursors: list[str] = []
    for _ in range(DEEP_PAGES):
        more = f"&cursor={cursors[-1]}" if cursors else ""
        async with session.get(url + more) as answer:
            document = await answer.json()
            assert answer.status == 200, document
        following = document["meta"]["next_cursor"]
        if following is None:
            break
        cursors.append(following)
    assert cursors, "too few sessions for a second page"
    return cursors[len(cursors) // 2 :]


def _asker(session: aiohttp.ClientSession, base: str, headers: Mapping[str, str]) -> Ask:
    async def ask(path: str) -> float:
        began = time.perf_counter()
        async with session.get(base + path, headers=headers) as answer:
            content = await answer.read()
            assert answer.status == 200, content
        return (time.perf_counter() - began) * 1000

    return ask


async def _arriving(ask: Ask, make: Make, requests: int) -> list[float]:
    """Times from when each request was meant to be sent, whatever became of those before."""
    began = time.perf_counter()

    async def one(number: int) -> float:
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late_ms = (time.perf_counter() - due) * 1000
        return late_ms + await ask(make())

    return list(await asyncio.gather(*(one(number) for number in range(requests))))


async def _cached(
    session: aiohttp.ClientSession, base: str, reads: Reads, requests: int, api: psutil.Process
) -> dict[str, object]:
    """The same questions from the cache; and a hundred of one at once, answered by one."""
    figures: dict[str, object] = {}
    ask = _asker(session, base, {})
    for name in ("overview", "heatmaps"):
        path = reads.middle[name]
        await ask(path)
        before = cpu_seconds(api)
        times = [await ask(path) for _ in range(requests)]
        figures |= _summary(f"{name}_cached_ms", times)
        figures[f"{name}_cached_api_cpu_ms"] = _per_request(before, cpu_seconds(api), requests)
    path = reads.middle["overview"].replace("overview?", "overview?top=7&")
    figures |= _summary(
        "overview_hundred_at_once_ms", await asyncio.gather(*(ask(path) for _ in range(100)))
    )
    return figures


async def _costs(machine: BenchMachine, key: str, paths: Mapping[str, str]) -> dict[str, object]:
    """Rows and granules that the queries of each read leave to be read."""
    figures: dict[str, object] = {}
    client = connect(machine.urls["CLICKHOUSE_URL"])
    async with _recorded(machine) as (http, runner):
        for name, path in paths.items():
            runner.asked.clear()
            url = f"/api/v1/projects/{machine.project_id}/{path}"
            async with http.get(url, headers={"X-GoSight-Key": key}) as answer:
                assert answer.status == 200, await answer.text()
            costs = [cost for asked in runner.asked for cost in costs_of(client, *asked)]
            figures[f"{name}_queries"] = len(runner.asked)
            figures[f"{name}_rows"] = sum(cost.rows for cost in costs)
            figures[f"{name}_granules"] = sum(cost.granules for cost in costs)
    client.close()
    return figures


@asynccontextmanager
async def _recorded(machine: BenchMachine) -> Any:
    pool = await connect_postgres(machine.urls["DATABASE_URL"])
    runner = RecordingRunner(machine.urls["CLICKHOUSE_URL"])
    services = Services(
        queries=runner,
        keys=KeyStore(PostgresKeySource(pool), None),
        checks={},
        vital=frozenset(),
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    async with TestClient(TestServer(create_app(services))) as client:
        yield client, runner
    runner.close()
    await pool.close()


def _per_request(before_s: float, after_s: float, requests: int) -> float:
    return round((after_s - before_s) / requests * 1000, 1)


def _summary(name: str, times_ms: Sequence[float]) -> dict[str, object]:
    cuts = quantiles(times_ms, n=100, method="inclusive")
    return {f"{name}_{part}": round(cuts[int(part[1:]) - 1], 1) for part in ("p50", "p95", "p99")}
