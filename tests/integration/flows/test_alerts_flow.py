"""The alerts flow on real servers, killed and scaled under load: what rules say, each once."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka_admin import ensure_topics
from connectors.kafka_producer import KafkaRecordProducer
from flows.core.alerts.metrics import kinds_of_rules
from flows.core.alerts.partition import AlertPartition, SignalRecord
from flows.core.alerts.signal_makers import signals_of_batch, signals_of_insight
from flows.core.alerts.signals import Control, Report, encode_record
from flows.core.alerts.source_clocks import RAW_SOURCES, RESULT_SOURCES, source_name
from flows.core.alerts.transitions import transition_message
from flows.core.session_row import insight_of_message
from schemas.alert_rules import AlertRule, read_rule
from schemas.erasure import user_hash
from schemas.kept_states import Kept
from schemas.topics import ALERTS, EVENTS_RAW, INSIGHTS
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.pipeline_pb2 import Insight as InsightMessage
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.factories import make_event, make_raw, raw_record
from tests.integration.flows.behaviour_world import (
    DAY_MS,
    HOUR_MS,
    READER,
    VISITS_MS,
    BehaviourProcess,
    Load,
    Visits,
)

SESSIONS = 120
ROUNDS = 6
CONDITIONS: list[dict[str, Any]] = [
    {"metric": "pageviews", "operator": ">", "threshold": 60, "window": "1m"},
    {"metric": "pageviews", "operator": "<", "threshold": 5, "window": "2m", "group_by": ["path"]},
    {"metric": "errors", "operator": ">", "threshold": 2, "window": "1m", "group_by": ["path"]},
    {"metric": "error_rate", "operator": ">=", "threshold": 20, "window": "1m"},
    {"metric": "sessions", "operator": ">", "threshold": 30, "window": "2m"},
    {
        "metric": "rage_clicks",
        "operator": ">",
        "threshold": 3,
        "window": "1m",
        "group_by": ["path"],
    },
    {
        "metric": "dead_clicks",
        "operator": ">",
        "threshold": 10,
        "window": "5m",
        "group_by": ["browser"],
    },
]


@pytest.fixture
def urls() -> Iterator[dict[str, str]]:
    """Servers for one test: clocks of partitions are in the topics, and only go forward."""
    folder = Path(tempfile.mkdtemp(prefix="gosight-test-"))
    stack = Stack(folder, ports={})
    try:
        found = stack.start()
        migrate_up(found["DATABASE_URL"], found["CLICKHOUSE_URL"])
        ensure_topics(found["KAFKA_BROKERS"])
        yield found
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Project:
    """A project with rules, in PostgreSQL."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.id = str(uuid.uuid4())
        self.connection = psycopg.connect(urls["DATABASE_URL"], autocommit=True)
        tenant = uuid.uuid4()
        self.connection.execute("INSERT INTO tenants (id, name) VALUES (%s, 't')", (tenant,))
        self.connection.execute(
            "INSERT INTO projects (id, tenant_id, name, slug) VALUES (%s, %s, 'p', %s)",
            (self.id, tenant, self.id),
        )

    def put(self, condition: dict[str, Any], condition_type: str = "threshold") -> str:
        """Save a rule; return its id."""
        row = self.connection.execute(
            "INSERT INTO alert_rules (project_id, name, condition_type, condition)"
            " VALUES (%s, 'A rule', %s, %s) RETURNING id::text",
            (self.id, condition_type, json.dumps(condition)),
        ).fetchone()
        assert row is not None
        return str(row[0])

    def change(self, rule_id: str, condition: dict[str, Any]) -> None:
        """Edit a rule."""
        self.connection.execute(
            "UPDATE alert_rules SET condition = %s WHERE id = %s", (json.dumps(condition), rule_id)
        )

    def rules(self) -> list[AlertRule]:
        """As they are."""
        rows = self.connection.execute(
            "SELECT to_jsonb(r) FROM alert_rules r WHERE project_id = %s", (self.id,)
        )
        return [read_rule(row[0]) for row in rows.fetchall()]


def wait_until(is_true: Callable[[], bool], timeout_s: float = 90) -> None:
    """Look again and again."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def read_all(brokers: str, topics: Sequence[Any]) -> dict[tuple[str, int], list[bytes]]:
    """All that is committed, by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "a-test",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    waiting = {(topic.name, n) for topic in topics for n in range(topic.partitions)}
    found: dict[tuple[str, int], list[bytes]] = {part: [] for part in waiting}
    consumer.assign([TopicPartition(*part, 0) for part in waiting])
    while waiting:
        for message in consumer.consume(1_000, timeout=1.0):
            part = (message.topic() or "", message.partition() or 0)
            if message.error() is not None:
                waiting.discard(part)
            else:
                found[part].append(message.value() or b"")
    consumer.close()
    return found


def told(brokers: str, project_id: str) -> list[AlertTransition]:
    """What was said of a project, in order."""
    values = read_all(brokers, [ALERTS])[ALERTS.name, 0]
    changes = [AlertTransition.FromString(value) for value in values]
    return [change for change in changes if change.project_id == project_id]


def expected(brokers: str, rules: list[AlertRule], from_ms: int) -> dict[str, AlertTransition]:
    """What the rules say of all that is in the topics, read in one go by one reader."""
    partition = AlertPartition(Kept())
    records = [encode_record(Control(from_ms, tuple(rules)))]
    end_ms = from_ms
    wanted = kinds_of_rules(rules)
    project_id = rules[0].project_id
    for (topic, number), values in sorted(read_all(brokers, [EVENTS_RAW, INSIGHTS]).items()):
        batches, clock_ms = [], from_ms
        for offset, value in enumerate(values):
            if topic == EVENTS_RAW.name:
                batch = READER.read_record(value)
                clock_ms = max(clock_ms, batch.received_at_ms)
                made = signals_of_batch(batch, offset, wanted[project_id])
            else:
                insight = insight_of_message(InsightMessage.FromString(value))
                made = signals_of_insight(insight, offset, wanted[project_id])
            if made is not None and made.project_id == project_id:
                batches.append(made)
        end_ms = max(end_ms, clock_ms)
        source = source_name(topic, number)
        records.append(
            encode_record(Report(source, 0, len(values), 0, 0, from_ms, True, tuple(batches)))
        )
    # The first T is one before all events: as it is for the flow, which begins with the wall clock.
    for clock_ms in (from_ms, end_ms):
        for source in (*RESULT_SOURCES, *RAW_SOURCES, RESULT_SOURCES[0]):
            count = 2**40
            records.append(
                encode_record(
                    Report(source, 0, count, clock_ms, clock_ms, from_ms, False, (), from_ms)
                )
            )
    partition.take([SignalRecord(n, value) for n, value in enumerate(records)], len(records))
    changes = [transition_message(change) for change in partition.step().outputs]
    return {change.transition_id: change for change in changes}


def bare(change: AlertTransition) -> AlertTransition:
    """Without what is not decided by the events."""
    copy = AlertTransition()
    copy.CopyFrom(change)
    copy.rule_updated_at_ms = 0
    return copy


def described(changes: Iterable[AlertTransition]) -> str:
    """For a person who looks for a fault."""
    lines = [
        f"{one.at_ms} {one.metric} {one.kind} {dict(one.group)} {one.value}" for one in changes
    ]
    return "\n".join(sorted(lines)[:20])


@pytest.mark.timeout(600)
def test_killed_and_scaled_it_says_what_one_quiet_reader_says(
    urls: dict[str, str], tmp_path: Path
) -> None:
    """Each transition once, with the ids of a replay, whatever happens to the processes."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    brokers = urls["KAFKA_BROKERS"]
    project = Project(urls)
    for condition in CONDITIONS:
        project.put(condition)
    behaviour = BehaviourProcess(urls, tmp_path / "behaviour.log")
    first = BehaviourProcess(urls, tmp_path / "1.log", flow="alerts")
    others: list[BehaviourProcess] = []
    try:
        # It begins with what comes from then on.
        for process in (behaviour, first):
            wait_until(lambda process=process: "states_restored" in process.log())
        time.sleep(3)
        first_ms = int(time.time() * 1000) + 5 * DAY_MS
        visits = Visits(project.id, SESSIONS, first_ms, chance)
        load = Load(brokers, visits.records, ROUNDS)
        load.start()
        for round_number in range(ROUNDS):
            load.go_on.release()
            time.sleep(chance.uniform(0.5, 4))
            if round_number in (1, 3, 5):
                # Killed while it works, or while it is just starting.
                lives = first.log().count("states_restored")
                first.kill_and_start_again()
                if round_number != 3:
                    wait_until(lambda n=lives: first.log().count("states_restored") > n)
            elif round_number == 2:
                others.append(BehaviourProcess(urls, tmp_path / "2.log", flow="alerts"))
                wait_until(lambda: "states_restored" in others[0].log())
            elif round_number == 4:
                others[0].stop()
        load.join(60)
        visits.close_all(brokers)
        # The last T of the visits must be reached; pages are quiet for ever after.
        last_ms = first_ms + VISITS_MS + 2 * HOUR_MS
        deadline = time.monotonic() + 150
        while True:
            wanted = expected(brokers, project.rules(), first_ms - HOUR_MS // 2)
            wanted = {name: one for name, one in wanted.items() if one.at_ms <= last_ms}
            found = [one for one in told(brokers, project.id) if one.at_ms <= last_ms]
            missing = wanted.keys() - {one.transition_id for one in found}
            if wanted and not missing:
                break
            assert time.monotonic() < deadline, described(wanted[name] for name in missing)
            time.sleep(2)
        time.sleep(3)
        found = [one for one in told(brokers, project.id) if one.at_ms <= last_ms]
        names = [change.transition_id for change in found]
        assert len(names) == len(set(names))
        assert {c.kind for c in found} >= {"fired", "resolved", "still_firing"}
        assert not {c.kind for c in found} & {"held", "released"}
        assert {c.metric for c in found} >= {"rage_clicks", "errors", "pageviews", "sessions"}
        ours = {change.transition_id: bare(change) for change in found}
        theirs = {name: bare(change) for name, change in wanted.items()}
        strange = [one for name, one in ours.items() if name not in theirs]
        assert not strange, described(strange)
        assert ours == theirs
    finally:
        project.connection.close()
        for process in (first, behaviour, *others):
            process.kill()


@pytest.mark.timeout(180)
def test_late_events_of_an_erased_visitor_do_not_count(
    urls: dict[str, str], tmp_path: Path
) -> None:
    """The list is in PostgreSQL, and changes while the flow runs; the visitor may come again."""
    project = Project(urls)
    project.put({"metric": "pageviews", "operator": ">", "threshold": 2, "window": "1m"})
    process = BehaviourProcess(urls, tmp_path / "alerts.log", flow="alerts")
    producer = KafkaRecordProducer(urls["KAFKA_BROKERS"])
    try:
        wait_until(lambda: "states_restored" in process.log())
        salt = b"s" * 32
        erased_ms = int(time.time() * 1000)
        project.connection.execute(
            "INSERT INTO erasure_salts (project_id, salt) VALUES (%s, %s)", (project.id, salt)
        )
        project.connection.execute(
            "INSERT INTO erased_ids (project_id, kind, id_hash, erased_before) "
            "VALUES (%s, 'visitor', %s, to_timestamp(%s / 1000.0))",
            (project.id, user_hash(salt, "ann"), erased_ms),
        )
        project.connection.execute("UPDATE erasure_version SET version = version + 1")
        time.sleep(5)  # As long as the list may be old.
        now_ms = int(time.time() * 1000)
        records = []
        late = [("ann", erased_ms - n) for n in range(5)]
        fresh = [("bob", erased_ms), ("bob", now_ms), ("ann", now_ms)]
        for user, at_ms in late + fresh:
            session_id = str(uuid.uuid4())
            event = make_event(str(uuid.uuid4()), session_id, at_ms=at_ms)
            event.user_id = user
            raw = make_raw([event], session_id, project_id=project.id, received_at_ms=now_ms)
            records.append(raw_record(raw))
        producer.produce_all(records)
        wait_until(lambda: bool(told(urls["KAFKA_BROKERS"], project.id)))
        (fired,) = told(urls["KAFKA_BROKERS"], project.id)
        assert (fired.kind, fired.value) == ("fired", 3)
    finally:
        project.connection.close()
        process.kill()
