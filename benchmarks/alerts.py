"""The alerts flow: a thousand rules over 10,000 events a second, and how soon a person is told.

The time from the event that makes a rule true to the transition on its topic, and to the webhook,
with nothing else going on, and beside a thousand rules over 10,000 events a second. Then CPU per
event of our process and of Kafka, with ten rules and with a thousand. What one rule costs of that
is measured without servers (`benchmarks.alert_rules`).
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import psutil
import psycopg
from confluent_kafka import Consumer, TopicPartition

from benchmarks import alert_rules
from benchmarks.bench_machine import (
    KAFKA,
    BenchMachine,
    CpuMeter,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
    server_process,
)
from benchmarks.insights import read_metrics, wait_until_taken
from benchmarks.visits import Visits, peak_rss_mb, produce
from benchmarks.yardsticks import flat_event_us
from cli.project_store import connect, create_project
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.identifiers import session_uuid
from schemas.topics import ALERTS, EVENTS_RAW
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.pipeline_pb2 import RawBatch

BATCH_EVENTS = 10
EVENTS_PER_S = 10_000
PROJECTS = 10
RULES_MANY = 1_000
RULES_FEW = 10
PROBES = 20
PROBE_ERRORS = 11
LIVE_S_MAX = 180.0
LOAD_BATCHES_MAX = 400_000  # Of more minutes than it takes.
METRICS = ("pageviews", "errors", "sessions", "error_rate", "avg_lcp", "rage_clicks", "goals")
DIMENSIONS = ("path", "browser", "country", "device_type", "os")
WINDOWS = ("1m", "5m", "15m", "1h")


def run(events: int = 600_000) -> dict[str, object]:
    """Figures of `events` of ten projects, as if 10,000 came a second."""
    figures: dict[str, object] = {"benchmark": "alerts", **alert_rules.run()}
    for name, has_load in (("alone", False), ("loaded", True)):
        with bench_machine() as machine:
            found = run_live(machine, has_load=has_load)
            figures.update({f"{name}_{key}": value for key, value in found.items()})
    for rules in (RULES_FEW, RULES_MANY):
        with bench_machine() as machine:
            projects = make_projects(machine)
            put_rules(machine, projects, rules)
            costs = run_backlog(machine, projects, events)
            figures.update({f"{name}_{rules}_rules": value for name, value in costs.items()})
    return figures


def make_projects(machine: BenchMachine) -> list[str]:
    """Ids of projects."""
    with connect(machine.urls["DATABASE_URL"]) as connection:
        return [str(create_project(connection, f"shop {n}").id) for n in range(PROJECTS)]


def any_condition(chance: random.Random) -> dict[str, Any]:
    """A condition of any kind; its bound is such that some are true now and then."""
    condition: dict[str, Any] = {
        "metric": chance.choice(METRICS),
        "operator": chance.choice([">", ">", "<"]),
        "threshold": chance.choice([5, 20, 100, 1_000]),
        "window": chance.choice(WINDOWS),
    }
    if chance.random() < 0.3:
        condition["group_by"] = [chance.choice(DIMENSIONS)]
    if chance.random() < 0.5:
        condition["filters"] = {"path": f"/p/{chance.randrange(50)}*"}
    return condition


def put_rules(machine: BenchMachine, projects: Sequence[str], count: int) -> None:
    """Rules of all kinds, shared out among the projects; nobody is told of them."""
    chance = random.Random(7)
    for number in range(count):
        put_rule(machine, projects[number % len(projects)], any_condition(chance))


def put_rule(
    machine: BenchMachine, project_id: str, condition: dict[str, Any], channels: Sequence[Any] = ()
) -> str:
    """Save a rule; return its id."""
    with psycopg.connect(machine.urls["DATABASE_URL"]) as connection:
        row = connection.execute(
            "INSERT INTO alert_rules (project_id, name, condition, channels, cooldown_mins)"
            " VALUES (%s, 'A rule', %s, %s, 0) RETURNING id::text",
            (project_id, json.dumps(condition), json.dumps(channels)),
        ).fetchone()
    assert row is not None
    return str(row[0])


def run_backlog(
    machine: BenchMachine, projects: Sequence[str], events: int
) -> dict[str, float | int]:
    """CPU of events that are all there at once, received over their own time."""
    port = free_port()
    environ = {
        "METRICS_PORT": str(port),
        "METRICS_HOST": "127.0.0.1",
        "CLOCK_AHEAD_SECONDS_MAX": "1000000",
    }
    # Later than now: a partition that has been quiet is where the wall clock is.
    first_ms = time.time_ns() // 1_000_000 + 120_000
    records = list(of_projects(projects, events // BATCH_EVENTS, first_ms))
    with own_process(machine, "alerts", ["flows", "alerts"], port, **environ) as process:
        time.sleep(10)  # All rules are in force.
        meter = CpuMeter({"": process, "kafka": server_process(machine, KAFKA)})
        began = time.perf_counter()
        sent = produce(machine, iter(records)) * BATCH_EVENTS
        wait_until_taken(port, sent)
        time.sleep(3)  # What was read is evaluated.
        wall_s = time.perf_counter() - began
        found = read_metrics(port)
        return {
            "yardstick_flat_event_us": flat_event_us([r.value for r in records[:2_000]]),
            **meter.per_event(sent),
            "events_per_s": round(sent / wall_s),
            "signals": int(found["gosight_alert_signals_total"]),
            "transitions": int(found.get("gosight_alert_transitions_total", 0)),
            "rules_known": int(found["gosight_alert_rules_known"]),
            "state_mb": round(found["gosight_flow_state_bytes"] / 1e6, 2),
            "cpu_percent_idle": idle_percent(process),
            "rss_mb": round(rss_mb(process), 1),
            "rss_peak_mb": round(peak_rss_mb(process), 1),
        }


def idle_percent(process: psutil.Process, seconds: float = 10.0) -> float:
    """CPU of a process that has nothing to do but to let time pass."""
    before = cpu_seconds(process)
    time.sleep(seconds)
    return round(100 * (cpu_seconds(process) - before) / seconds, 1)


def of_projects(projects: Sequence[str], batches: int, first_ms: int) -> Iterator[OutRecord]:
    """Batches of the projects in turn."""
    step_ms = BATCH_EVENTS * 1000 / EVENTS_PER_S
    each = -(-batches // len(projects))
    made = [
        Visits(project_id, BATCH_EVENTS, seed).batches(
            each // 2, 500, 2, first_ms, step_ms * len(projects)
        )
        for seed, project_id in enumerate(projects)
    ]
    for records in zip(*made, strict=False):
        yield from records


class Told:
    """A webhook's receiver: which alerts were told, and when."""

    def __init__(self) -> None:
        self.at_s: dict[str, float] = {}
        told = self.at_s

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take it."""
                size = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(size))
                told.setdefault(body["alert"]["group"].get("path", ""), time.time())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()


class Load:
    """10,000 events a second of the projects, as they come; a thread, until it is closed."""

    def __init__(self, machine: BenchMachine, projects: Sequence[str]) -> None:
        self.events = 0
        self._producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        self._projects = projects
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began_s = time.monotonic()
        self._thread.start()

    def _run(self) -> None:
        first_ms = time.time_ns() // 1_000_000
        records = of_projects(self._projects, LOAD_BATCHES_MAX, first_ms)
        while not self._is_over.wait(0.1):
            due = (time.time_ns() // 1_000_000 - first_ms) * EVENTS_PER_S // 1000
            new = list(islice(records, (due - self.events) // BATCH_EVENTS))
            self._producer.produce_all(new)
            self.events += len(new) * BATCH_EVENTS

    def close(self) -> float:
        """Send no more; how many events a second there were."""
        self._is_over.set()
        self._thread.join()
        return self.events / (time.monotonic() - self._began_s)


def run_live(machine: BenchMachine, *, has_load: bool) -> dict[str, object]:
    """From the event that makes a rule true to the transition and to the webhook.

    With load there are a thousand rules over 10,000 events a second of other projects beside it.
    """
    told = Told()
    with connect(machine.urls["DATABASE_URL"]) as connection:
        project_id = str(create_project(connection, "live").id)
    condition = {
        "metric": "errors",
        "operator": ">=",
        "threshold": PROBE_ERRORS,
        "window": "5m",
        "group_by": ["path"],
    }
    put_rule(machine, project_id, condition, [{"type": "webhook", "url": told.url, "secret": "s"}])
    projects = make_projects(machine)
    if has_load:
        put_rules(machine, projects, RULES_MANY)
    environ = {"METRICS_HOST": "127.0.0.1", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with ExitStack() as stack:
        processes = {}
        for flow in ("alerts", "alert_delivery"):
            port = free_port()
            processes[flow] = stack.enter_context(
                own_process(
                    machine,
                    f"{flow}-live",
                    ["flows", flow],
                    port,
                    METRICS_PORT=str(port),
                    **environ,
                )
            )
        time.sleep(15)
        load = Load(machine, projects) if has_load else None
        meter = CpuMeter(dict(processes))
        transitions = Transitions(machine, project_id)
        sent_s: dict[str, float] = {}
        producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        chance = random.Random(3)
        for number in range(PROBES):
            path = f"/probe/{number}"
            producer.produce_all(list(islice(errors(project_id, path, chance), PROBE_ERRORS)))
            sent_s[path] = time.time()
            pause_ends = time.monotonic() + chance.uniform(0.5, 2.5)
            while time.monotonic() < pause_ends:
                transitions.read()  # As they come: the first ones do while others are sent.
        deadline = time.monotonic() + LIVE_S_MAX
        while len(told.at_s) < PROBES and time.monotonic() < deadline:
            transitions.read()
        told.close()
        of_load: dict[str, object] = {}
        if load is not None:
            of_load["events_per_s"] = round(load.close())
            of_load.update(meter.per_event(load.events))
    return {
        "condition_to_transition_s": spread(sent_s, transitions.at_s),
        "condition_to_webhook_s": spread(sent_s, told.at_s),
        "probes_told": len(told.at_s),
        **of_load,
    }


class Transitions:
    """When each path's alert was readable on its topic."""

    def __init__(self, machine: BenchMachine, project_id: str) -> None:
        self._project_id = project_id
        self.at_s: dict[str, float] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": machine.urls["KAFKA_BROKERS"],
                "group.id": "benchmark",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign([TopicPartition(ALERTS.name, 0, 0)])

    def read(self) -> None:
        """Take what has come."""
        for message in self._consumer.consume(100, timeout=0.05):
            change = AlertTransition.FromString(message.value() or b"")
            if message.error() is None and change.project_id == self._project_id:
                self.at_s.setdefault(change.group.get("path", ""), time.time())


def errors(project_id: str, path: str, chance: random.Random) -> Iterator[OutRecord]:
    """Errors of as many sessions, now."""
    while True:
        session_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        now_ms = time.time_ns() // 1_000_000
        event = Event(
            event_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            session_id=session_id,
            event_type=EventType.EVENT_TYPE_JS_ERROR,
        )
        event.timestamp.millis = now_ms
        event.page.path = path
        event.js_error.message = "x is undefined"
        raw = RawBatch(
            events=[event],
            project_id=project_id,
            session_id=session_id,
            received_at_ms=now_ms,
            event_count=1,
            retain_days=90,
            batch_id="probe",
        )
        key = f"{project_id}:{session_uuid(project_id, session_id)}".encode()
        yield OutRecord(EVENTS_RAW.name, key, raw.SerializeToString(), (("events", b"1"),))


def spread(begun: dict[str, float], ended: dict[str, float]) -> dict[str, float]:
    """Least, middle and most of the times between."""
    took = sorted(ended[name] - at_s for name, at_s in begun.items() if name in ended)
    if not took:
        return {}
    return {
        "least": round(took[0], 1),
        "p50": round(took[len(took) // 2], 1),
        "most": round(took[-1], 1),
    }
