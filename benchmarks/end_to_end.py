"""HTTP request to row: a gateway and a storage flow, at a steady rate for a minute.

CPU of each process apart, time from receipt to the row being stored, and how many events were on
their way at each ten seconds: if that does not grow, the rate is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from benchmarks.bench_machine import (
    CLICKHOUSE,
    KAFKA,
    CpuMeter,
    bench_machine,
    free_port,
    gateway_environ,
    own_process,
    rss_mb,
    server_process,
)
from benchmarks.storage import LEDGER, visible_after, wait_until_booked
from cli.load import LoadPlan, LoadResult, make_bodies, run_load
from connectors.clickhouse import connect

BATCH_EVENTS = 10
WATCH_S = 10.0


def run(
    events: int = 600_000, events_per_s: int = 10_000, warm_events: int = 20_000
) -> dict[str, object]:
    """Figures of one steady run."""
    with bench_machine() as machine:
        port, flow_port = free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        seconds = events / events_per_s
        plan = LoadPlan(url, machine.write_key, events_per_s, seconds, BATCH_EVENTS)
        warm_plan = LoadPlan(
            url, machine.write_key, 5_000, warm_events / 5_000, BATCH_EVENTS, seed=2
        )
        bodies, warm_bodies = make_bodies(plan), make_bodies(warm_plan)
        client = connect(machine.urls["CLICKHOUSE_URL"])
        environ = {"METRICS_PORT": str(flow_port), "METRICS_HOST": "127.0.0.1"}
        with (
            own_process(
                machine, "gateway", ["ingest_gateway"], port, **gateway_environ(port)
            ) as gateway,
            own_process(machine, "storage", ["flows", "storage"], flow_port, **environ) as storage,
        ):
            warm = asyncio.run(run_load(warm_plan, warm_bodies))
            wait_until_booked(client, warm.accepted)
            since_ms = time.time_ns() // 1_000_000
            meter = CpuMeter(
                {
                    "gateway": gateway,
                    "storage": storage,
                    "kafka": server_process(machine, KAFKA),
                    "store": server_process(machine, CLICKHOUSE),
                }
            )
            result, behind = asyncio.run(_watched(client, plan, bodies, warm.accepted))
            received, stored = wait_until_booked(client, warm.accepted + result.accepted)
            figures = meter.per_event(result.accepted)
            _count, visible_p50_ms, visible_p99_ms = visible_after(client, since_ms)
            memory = {"gateway": rss_mb(gateway), "storage": rss_mb(storage)}
        rows = client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows[0]
    return {
        "benchmark": "end_to_end",
        "events_per_s": round(result.accepted / result.seconds),
        **figures,
        "answer_p50_ms": round(result.percentile_ms(0.5), 2),
        "answer_p99_ms": round(result.percentile_ms(0.99), 2),
        "visible_p50_ms": visible_p50_ms,
        "visible_p99_ms": visible_p99_ms,
        "events_on_their_way": behind,
        **{f"{name}_rss_mb": round(size, 1) for name, size in memory.items()},
        "errors": dict(result.errors),
        "sent": len(bodies) * BATCH_EVENTS + warm.accepted,
        "received": received,
        "stored": stored,
        "rows": rows[0],
        "distinct": rows[1],
    }


async def _watched(
    client: Client, plan: LoadPlan, bodies: Sequence[bytes], before: int
) -> tuple[LoadResult, list[int]]:
    """The load's result, and each ten seconds how many sent events were not stored yet."""
    behind: list[int] = []
    load = asyncio.create_task(run_load(plan, bodies))
    began_s = time.perf_counter()
    while not load.done():
        await asyncio.wait([load], timeout=WATCH_S)
        sent = min((time.perf_counter() - began_s) * plan.events_per_s, len(bodies) * plan.batch)
        rows = await asyncio.to_thread(lambda: client.query(LEDGER).result_rows)
        behind.append(max(0, round(sent + before - rows[0][0])))
    return await load, behind
