"""The gateway: HTTP request in, acknowledged by Kafka (acks=all, idempotent), answer out.

For each form of body as fast as 64 connections go (CPU per event, rate) and at a fixed arrival
rate, measured from the intended moment of sending (p50, p99); protobuf at five times the rate, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import aiohttp
import psutil

from benchmarks.bench_machine import (
    KAFKA,
    BenchMachine,
    CpuMeter,
    bench_machine,
    events_on_topic,
    free_port,
    gateway_environ,
    own_process,
    rss_mb,
    server_process,
)
from cli.load import LoadPlan, make_bodies, run_load
from schemas.topics import EVENTS_RAW

CONNECTIONS = 64
BATCH_EVENTS = 10
COLD_REQUESTS = 500
WARM_REQUESTS = 5_000
PACED_S = 10.0
FORMS = (("protobuf", "protobuf", False), ("json", "json", False), ("gzip", "protobuf", True))


def run(events: int = 100_000, paced_events_per_s: int = 2_000) -> dict[str, object]:
    """Figures of all three forms; those of protobuf also at the top level."""
    figures: dict[str, dict[str, object]] = {}
    with bench_machine() as machine:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environ = gateway_environ(port)
        bare_us = _bare_request_us(machine, events)
        with own_process(machine, "gateway", ["ingest_gateway"], port, **environ) as process:
            for name, form, is_gzip in FORMS:
                seconds = (events + WARM_REQUESTS * BATCH_EVENTS) / paced_events_per_s
                plan = LoadPlan(
                    url, machine.write_key, paced_events_per_s, seconds, BATCH_EVENTS, form, is_gzip
                )
                figures[name] = _measure(machine, process, plan)
            fast = 5 * paced_events_per_s
            paced = _paced(LoadPlan(url, machine.write_key, fast, PACED_S, BATCH_EVENTS, seed=3))
            figures["protobuf"].update(
                {f"{key}_at_{fast}": paced[key] for key in ("p50_ms", "p99_ms", "p999_ms")}
            )
            sent = sum(int(str(figure["sent"])) for figure in figures.values()) + paced["sent"]
            records, on_kafka = events_on_topic(machine.urls["KAFKA_BROKERS"], EVENTS_RAW)
    acknowledged = sum(int(str(figure["acknowledged"])) for figure in figures.values())
    return {
        "benchmark": "gateway",
        "yardstick_bare_request_us": bare_us,
        **figures["protobuf"],
        "sent": sent,
        "acknowledged": acknowledged + paced["acknowledged"],
        "on_kafka": on_kafka,
        "kafka_records": records,
        "forms": figures,
    }


def _bare_request_us(machine: BenchMachine, events: int) -> float:
    """What an application of the framework costs that does nothing, per request."""
    port = free_port()
    plan = LoadPlan(
        f"http://127.0.0.1:{port}", machine.write_key, 10_000, events / 20_000, BATCH_EVENTS
    )
    bodies = make_bodies(plan)
    argv = ["benchmarks.yardsticks", str(port)]
    with own_process(machine, "yardstick", argv, port) as process:
        asyncio.run(_closed_loop(plan, bodies[:100]))
        meter = CpuMeter({"": process})
        asyncio.run(_closed_loop(plan, bodies))
        return meter.per_event(len(bodies))["cpu_us_per_event"]


def _measure(machine: BenchMachine, process: psutil.Process, plan: LoadPlan) -> dict[str, object]:
    bodies = make_bodies(plan)
    # What a process costs that has just started, and then with its caches as full as they stay.
    meter = CpuMeter({"cold": process})
    warm = asyncio.run(_closed_loop(plan, bodies[:COLD_REQUESTS]))
    cold = meter.per_event(warm)
    warm += asyncio.run(_closed_loop(plan, bodies[COLD_REQUESTS:WARM_REQUESTS]))
    meter = CpuMeter({"": process, "kafka": server_process(machine, KAFKA)})
    began = time.perf_counter()
    acknowledged = asyncio.run(_closed_loop(plan, bodies[WARM_REQUESTS:]))
    wall_s = time.perf_counter() - began
    figures = meter.per_event(acknowledged)
    paced = _paced(
        LoadPlan(
            plan.gateway_url,
            plan.key,
            plan.events_per_s,
            PACED_S,
            plan.batch,
            plan.form,
            plan.is_gzip,
            2,
        )
    )
    return {
        "events_per_s": round(acknowledged / wall_s),
        **figures,
        **cold,
        "p50_ms": paced["p50_ms"],
        "p99_ms": paced["p99_ms"],
        "paced_events_per_s": plan.events_per_s,
        "rss_mb": round(rss_mb(process), 1),
        "body_bytes": round(sum(map(len, bodies)) / len(bodies)),
        "sent": len(bodies) * plan.batch + paced["sent"],
        "acknowledged": warm + acknowledged + paced["acknowledged"],
    }


def _paced(plan: LoadPlan) -> dict[str, float]:
    """One run at the plan's rate."""
    result = asyncio.run(run_load(plan, make_bodies(plan)))
    if result.errors:
        raise RuntimeError(f"the gateway answered {dict(result.errors)}")
    return {
        "p50_ms": round(result.percentile_ms(0.5), 2),
        "p99_ms": round(result.percentile_ms(0.99), 2),
        "p999_ms": round(result.percentile_ms(0.999), 2),
        "sent": result.requests * plan.batch,
        "acknowledged": result.accepted,
    }


async def _closed_loop(plan: LoadPlan, bodies: Sequence[bytes]) -> int:
    """Each connection sends its next body when the last is answered; returns events accepted."""
    headers = {
        "X-GoSight-Key": plan.key,
        "Content-Type": "application/json" if plan.form == "json" else "application/x-protobuf",
    }
    if plan.is_gzip:
        headers["Content-Encoding"] = "gzip"
    waiting = iter(bodies)
    accepted = 0

    async def send(session: aiohttp.ClientSession) -> None:
        nonlocal accepted
        for body in waiting:
            async with session.post(f"{plan.gateway_url}/v1/events", data=body) as answer:
                await answer.read()
                if answer.status != 202:
                    raise RuntimeError(f"the gateway answered {answer.status}")
                accepted += plan.batch

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, auto_decompress=False
    ) as session:
        await asyncio.gather(*(send(session) for _ in range(CONNECTIONS)))
    return accepted
