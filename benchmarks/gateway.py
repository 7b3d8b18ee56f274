"""The gateway: HTTP request in, acknowledged by Kafka (acks=all, idempotent), answer out.

Two runs per form of body: as fast as 32 connections go (CPU per event, rate), and at a fixed
arrival rate, measured from the intended moment of sending (p50, p99).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import aiohttp

from benchmarks.bench_machine import (
    BenchMachine,
    bench_machine,
    cpu_seconds,
    events_on_topic,
    free_port,
    own_process,
    rss_mb,
    server_process,
)
from cli.load import LoadPlan, make_bodies, run_load
from schemas.topics import EVENTS_RAW

CONNECTIONS = 32
BATCH_EVENTS = 10
FORMS = (("protobuf", "protobuf", False), ("json", "json", False), ("gzip", "protobuf", True))


def run(events: int = 100_000, paced_events_per_s: int = 2_000) -> dict[str, object]:
    """Figures of all three forms; those of protobuf also at the top level."""
    figures: dict[str, dict[str, object]] = {}
    with bench_machine() as machine:
        port = free_port()
        environ = {
            "INGESTOR_HTTP_PORT": str(port),
            "INGESTOR_GRPC_PORT": "-1",
            "INGESTOR_HOST": "127.0.0.1",
            "METRICS_PORT": "0",
        }
        with own_process(machine, "gateway", ["ingest_gateway"], port, **environ) as process:
            for name, form, is_gzip in FORMS:
                plan = LoadPlan(
                    f"http://127.0.0.1:{port}",
                    machine.write_key,
                    paced_events_per_s,
                    events / paced_events_per_s,
                    BATCH_EVENTS,
                    form,
                    is_gzip,
                )
                bodies = make_bodies(plan)
                # The caches fill and the code is warm before anything is measured.
                asyncio.run(_closed_loop(plan, bodies[:500]))
                figures[name] = _measure(machine, process, plan, bodies[500:])
            sent = sum(int(str(figure["sent"])) for figure in figures.values())
            records, on_kafka = events_on_topic(machine.urls["KAFKA_BROKERS"], EVENTS_RAW)
    acknowledged = sum(int(str(figure["acknowledged"])) for figure in figures.values())
    warm = 3 * 500 * BATCH_EVENTS
    return {
        "benchmark": "gateway",
        **figures["protobuf"],
        "sent": sent,
        "acknowledged": acknowledged,
        "on_kafka": on_kafka - warm,
        "kafka_records": records,
        "forms": figures,
    }


def _measure(machine: BenchMachine, process, plan: LoadPlan, bodies: Sequence[bytes]):  # type: ignore[no-untyped-def]
    kafka = server_process(machine, "kafka.Kafka")
    cpu, kafka_cpu = cpu_seconds(process), cpu_seconds(kafka) if kafka else 0.0
    began = time.perf_counter()
    acknowledged = asyncio.run(_closed_loop(plan, bodies))
    wall_s = time.perf_counter() - began
    cpu = cpu_seconds(process) - cpu
    kafka_cpu = (cpu_seconds(kafka) if kafka else 0.0) - kafka_cpu
    paced = LoadPlan(
        plan.gateway_url, plan.key, plan.events_per_s, 5.0, plan.batch, plan.form, plan.is_gzip, 2
    )
    latency = asyncio.run(run_load(paced, make_bodies(paced)))
    return {
        "events_per_s": round(acknowledged / wall_s),
        "cpu_us_per_event": round(cpu / acknowledged * 1e6, 2),
        "kafka_cpu_us_per_event": round(kafka_cpu / acknowledged * 1e6, 2),
        "p50_ms": round(latency.percentile_ms(0.5), 2),
        "p99_ms": round(latency.percentile_ms(0.99), 2),
        "paced_events_per_s": plan.events_per_s,
        "rss_mb": round(rss_mb(process), 1),
        "body_bytes": round(sum(map(len, bodies)) / len(bodies)),
        "sent": len(bodies) * plan.batch + paced.requests * paced.batch,
        "acknowledged": acknowledged + latency.accepted,
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
