"""The behaviour flow: sessions and all detectors over a backlog, with its states in Kafka.

CPU per event of our process and of Kafka, and how large the log of states is afterwards.
"""

from __future__ import annotations

import time
import urllib.request

from benchmarks.bench_machine import (
    KAFKA,
    CpuMeter,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
    server_process,
    start_cpu_seconds,
)
from benchmarks.visits import Visits, folder_mb, peak_rss_mb, produce
from benchmarks.yardsticks import flat_event_us
from schemas.topics import BEHAVIOUR_STATE

BATCH_EVENTS = 10
BATCHES_EACH = 2
EVENTS_PER_S = 10_000


def run(events: int = 1_000_000, at_once: int = 5_000) -> dict[str, object]:
    """Figures of a backlog of `events`, 20 a session, as if 10,000 had come a second."""
    with bench_machine() as machine:
        sessions = events // (BATCH_EVENTS * BATCHES_EACH)
        visits = Visits(machine.project_id, BATCH_EVENTS)
        step_ms = BATCH_EVENTS * 1000 / EVENTS_PER_S
        first_ms = time.time_ns() // 1_000_000 - int(sessions * BATCHES_EACH * step_ms)
        records = visits.batches(sessions, at_once, BATCHES_EACH, first_ms, step_ms)
        port = free_port()
        environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
        argv = ["flows", "behaviour"]
        start_cpu_s = start_cpu_seconds(machine, "behaviour", argv, port, **environ)
        sent = produce(machine, records) * BATCH_EVENTS
        sample = [visits.record(visits.new_session(), first_ms).value for _ in range(2_000)]
        meter = CpuMeter({"kafka": server_process(machine, KAFKA)})
        began = time.perf_counter()
        with own_process(machine, "behaviour", argv, port, **environ) as process:
            wait_until_taken(port, sent)
            wall_s = time.perf_counter() - began
            own_cpu_s = cpu_seconds(process) - start_cpu_s
            figures = meter.per_event(sent)
            found = read_metrics(port)
            memory, peak = rss_mb(process), peak_rss_mb(process)
        return {
            "benchmark": "insights",
            "yardstick_flat_event_us": flat_event_us(sample),
            "events_per_s": round(sent / wall_s),
            "cpu_us_per_event": round(own_cpu_s / sent * 1e6, 2),
            **figures,
            "start_cpu_s": round(start_cpu_s, 2),
            "sessions": sessions,
            "sessions_live": int(found["gosight_flow_keys_live"]),
            "state_bytes_per_session": round(
                found["gosight_flow_state_bytes"] / max(1, found["gosight_flow_keys_live"])
            ),
            "transactions": int(found["gosight_flow_transactions_total"]),
            "insights": int(found.get("gosight_sessions_insights_total", 0)),
            "late_events": int(found.get("gosight_sessions_late_events_total", 0)),
            "state_topic_mb": round(folder_mb(machine, BEHAVIOUR_STATE.name), 1),
            "rss_mb": round(memory, 1),
            "rss_peak_mb": round(peak, 1),
        }


def read_metrics(port: int) -> dict[str, float]:
    """Metrics of a process by name, summed over their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            plain = name.partition("{")[0]
            found[plain] = found.get(plain, 0.0) + float(value)
    return found


def wait_until_taken(port: int, events: int, timeout_s: float = 240) -> None:
    """Wait until so many events are taken and stored."""
    deadline = time.monotonic() + timeout_s
    while (found := read_metrics(port)).get("gosight_flow_events_total", 0) < events:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found.get('gosight_flow_events_total')} of {events} events")
        time.sleep(0.2)
    time.sleep(0.5)
