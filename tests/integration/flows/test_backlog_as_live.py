"""The same hour twice on real servers: as it comes, and as a backlog. The same bytes come of it."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.clickhouse import connect
from connectors.kafka_admin import ensure_topics
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from flows.core.detection_rules import rules_of_document
from schemas.topics import INSIGHTS, SESSIONS
from schemas.v1.pipeline_pb2 import Insight, SessionRevision
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.integration.flows.behaviour_world import DAY_MS, BehaviourProcess
from tests.integration.flows.recorded_hour import RecordedHour

PIECE_RECORDS = 25
PAUSE_S = 0.02
TYPES = {detector.insight_type for detector in rules_of_document({}).detectors()}


class Outcome(NamedTuple):
    """All that came of an hour: records of the topics by session, in order, and the tables."""

    revisions: dict[str, list[bytes]]
    insights: dict[str, list[bytes]]
    tables: dict[str, list[bytes]]


class Installation:
    """Servers of their own, with both flows when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = Stack(folder, ports={})
        self._flows: list[BehaviourProcess] = []
        try:
            self.urls = self._stack.start()
            migrate_up(self.urls["DATABASE_URL"], self.urls["CLICKHOUSE_URL"])
            ensure_topics(self.urls["KAFKA_BROKERS"])
        except BaseException:
            self.close()
            raise

    def start_flows(self, **changes: str) -> None:
        """Both, reading from now on."""
        self._flows = [
            BehaviourProcess(self.urls, self._folder / f"{flow}.log", flow=flow, **changes)
            for flow in ("behaviour", "results")
        ]
        deadline = time.monotonic() + 60
        while "states_restored" not in self._flows[0].log():
            assert time.monotonic() < deadline, self._flows[0].log()
            time.sleep(0.05)

    def close(self) -> None:
        """End everything."""
        for flow in self._flows:
            flow.kill()
        self._stack.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close_sessions(self, closing: list[tuple[int, OutRecord]]) -> None:
        """Append the records that end all sessions."""
        producer = Producer({"bootstrap.servers": self.urls["KAFKA_BROKERS"], "acks": "all"})
        for number, record in closing:
            producer.produce(record.topic, record.value, record.key, partition=number)
        assert producer.flush(30) == 0

    def outcome(self, project_id: str, session_ids: set[str]) -> Outcome:
        """Wait until all sessions are closed and stored, and read it all."""
        revisions, insights = self._read_topics(project_id, session_ids)
        wanted = {
            "sessions": len(revisions),
            "insights": len({i.insight_id for i in parsed(insights) if not i.is_provisional}),
        }
        keys = {"sessions": "session_id", "insights": "insight_id"}
        return Outcome(
            revisions,
            insights,
            {
                table: self._dump(project_id, table, keys[table], count)
                for table, count in wanted.items()
            },
        )

    def _read_topics(
        self, project_id: str, session_ids: set[str]
    ) -> tuple[dict[str, list[bytes]], dict[str, list[bytes]]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.urls["KAFKA_BROKERS"],
                "group.id": "outcome",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        consumer.assign(
            [
                TopicPartition(topic.name, number, 0)
                for topic in (SESSIONS, INSIGHTS)
                for number in range(topic.partitions)
            ]
        )
        revisions: dict[str, list[bytes]] = defaultdict(list)
        insights: dict[str, list[bytes]] = defaultdict(list)
        closed: set[str] = set()
        deadline = time.monotonic() + 180
        quiet = 0
        while not (session_ids <= closed and quiet >= 5):
            assert time.monotonic() < deadline, f"{len(closed)} of {len(session_ids)}"
            messages = consumer.consume(1_000, timeout=0.1)
            quiet = 0 if messages else quiet + 1
            for message in messages:
                assert message.error() is None, message.error()
                value = message.value() or b""
                if message.topic() == SESSIONS.name:
                    row = SessionRevision.FromString(value)
                    assert row.project_id == project_id
                    revisions[row.session_id].append(value)
                    if row.is_closed:
                        closed.add(row.session_id)
                else:
                    insights[Insight.FromString(value).session_id].append(value)
        consumer.close()
        return revisions, insights

    def _dump(self, project_id: str, table: str, key: str, count: int) -> list[bytes]:
        """Every row as a line of JSON, once all are there in their last revision."""
        client = connect(self.urls["CLICKHOUSE_URL"])
        try:
            deadline = time.monotonic() + 60
            is_open = "countIf(NOT is_closed)" if table == "sessions" else "0"
            while True:
                found = client.query(
                    f"SELECT count(), {is_open} FROM {table} FINAL WHERE project_id = {{p:String}}",
                    parameters={"p": project_id},
                ).result_rows[0]
                # Those that closed the others are open: one a partition.
                if found == (count, 12 if table == "sessions" else 0):
                    break
                assert time.monotonic() < deadline, (table, found, count)
                time.sleep(0.1)
            dumped = client.raw_query(
                f"SELECT * EXCEPT (ingested_at) FROM {table} FINAL "
                f"WHERE project_id = {{p:String}} ORDER BY {key}",
                parameters={"p": project_id},
                fmt="JSONEachRow",
            )
        finally:
            client.close()
        return dumped.splitlines()


def parsed(insights: dict[str, list[bytes]]) -> list[Insight]:
    """Of all sessions."""
    return [Insight.FromString(value) for values in insights.values() for value in values]


def differing(found: dict[str, list[bytes]], wanted: dict[str, list[bytes]]) -> list[str]:
    """Sessions of which something else came, or in another order."""
    return [one for one in found.keys() | wanted.keys() if found.get(one) != wanted.get(one)]


@contextmanager
def installation() -> Iterator[Installation]:
    """One, removed afterwards."""
    made = Installation(Path(tempfile.mkdtemp(prefix="gosight-test-")))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def outcomes() -> tuple[Outcome, Outcome]:
    """Of the hour as it comes, and of the hour as a backlog."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    project_id = str(uuid.uuid4())
    first_ms = int(time.time() * 1000) + 5 * DAY_MS
    hour = RecordedHour(project_id, first_ms, random.Random(seed))
    closing = hour.closing()
    with installation() as one:
        one.start_flows(BATCH_SECONDS="0.2", BATCH_ROWS="100")
        producer = KafkaRecordProducer(one.urls["KAFKA_BROKERS"])
        for start in range(0, len(hour.records), PIECE_RECORDS):
            producer.produce_all(hour.records[start : start + PIECE_RECORDS])
            time.sleep(PAUSE_S)
        one.close_sessions(closing)
        live = one.outcome(project_id, hour.session_ids)
    with installation() as other:
        KafkaRecordProducer(other.urls["KAFKA_BROKERS"]).produce_all(hour.records)
        other.close_sessions(closing)
        other.start_flows(POLL_RECORDS="10000")
        backlog = other.outcome(project_id, hour.session_ids)
    return live, backlog


def test_every_row_is_the_same_in_bytes(outcomes: tuple[Outcome, Outcome]) -> None:
    """Sessions and insights in ClickHouse: all columns but when they were written."""
    live, backlog = outcomes
    for table, rows in live.tables.items():
        assert backlog.tables[table] == rows, table
    kinds = Counter(json.loads(line)["insight_type"] for line in live.tables["insights"])
    print(dict(kinds), len(live.tables["sessions"]), "sessions")
    assert set(kinds) == TYPES
    assert min(kinds.values()) >= 5
    assert len(live.tables["sessions"]) > 250


def test_every_revision_is_the_same_in_bytes(outcomes: tuple[Outcome, Outcome]) -> None:
    """On the topics: not only the last revision of each session, but each on the way."""
    live, backlog = outcomes
    assert differing(backlog.revisions, live.revisions) == []
    assert differing(backlog.insights, live.insights) == []
    revisions = sum(map(len, live.revisions.values()))
    print(revisions, "revisions", len(parsed(live.insights)), "insights and previews")
    assert revisions > 2 * len(live.revisions)
    assert any(insight.is_provisional for insight in parsed(live.insights))
