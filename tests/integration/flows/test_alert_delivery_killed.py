"""The delivery of alerts as a real process on real servers: killed again and again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from flows.core.alert_messages import iso_time
from schemas.topics import ALERTS
from schemas.v1.alerts_pb2 import AlertTransition
from sql.migrate import migrate_up
from tests.alert_receivers import BOT_OK, OK, TOKEN, Answer, Received, bot_error, receiver
from tests.alert_transitions import SECRET, make_transition
from tests.integration.flows.alert_world import make_rule_row, telegram, webhook
from tests.stack import RunningStack, fresh_databases

GROUPS = 24  # One chat takes one message a second.
KILLS = 6


@pytest.fixture
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


@contextmanager
def delivery_flow(
    stack: RunningStack, group: str, bot_url: str, log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m flows alert_delivery`; killed at the end if it still runs."""
    environ = {
        **os.environ,
        **stack.urls,
        "CONSUMER_GROUP": group,
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "POLL_RECORDS": "5",
        "RUST_BACKTRACE": "0",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": bot_url,
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "alert_delivery"], env=environ, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def wait_until(is_done: Callable[[], bool], timeout_s: float = 120) -> None:
    """Until it says so; the receivers go on answering meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)


def produce(brokers: str, transitions: list[AlertTransition]) -> None:
    """As the evaluator does."""
    KafkaRecordProducer(brokers).produce_all(
        [
            OutRecord(ALERTS.name, f"{t.project_id}:{t.rule_id}".encode(), t.SerializeToString())
            for t in transitions
        ]
    )


def rows(database_url: str, query: str) -> list[dict[str, Any]]:
    """Of the database."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


class Moods:
    """Receivers as they are: most answers are right, some come late, wrong or never."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failed: set[str] = set()
        self.accepted: list[Received] = []
        self.messages: list[Received] = []

    def hook(self, got: Received) -> Answer:
        """A webhook's receiver; it fails a message once, since pauses grow to hours."""
        mood = self._chance.random()
        message_id = got.headers["webhook-id"]
        if mood < 0.2 and message_id not in self._failed:
            self._failed.add(message_id)
            # Of one that is closed nobody knows whether it was taken.
            return Answer(500) if mood < 0.1 else Answer(closes=True)
        self.accepted.append(got)
        return Answer(200, after_s=self._chance.random() * 0.4)

    def bot(self, got: Received) -> Answer:
        """The Bot API."""
        if self._chance.random() < 0.1:
            return bot_error(429, "Too Many Requests", retry_after=1)
        self.messages.append(got)
        return Answer(200, body=BOT_OK.body, after_s=self._chance.random() * 0.4)


async def test_sigkill_at_any_moment_loses_nothing(databases: RunningStack, tmp_path: Path) -> None:
    """Every transition arrives at least once, under one id, and history is what arrived.

    The process is killed while it reads, decides, sends and notes. What arrived twice did so
    around a kill, and the receiver can tell by the id.
    """
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    moods = Moods(random.Random(seed + 1))
    url = databases.database_url
    now_ms = int(time.time() * 1000)
    async with receiver(OK) as target, receiver(BOT_OK) as bot:
        target.choose, bot.choose = moods.hook, moods.bot
        project_id, rule_id = make_rule_row(url, [webhook(target, secret=SECRET), telegram()])
        transitions = [
            make_transition(
                kind,
                now_ms + offset,
                now_ms,
                rule_id=rule_id,
                project_id=project_id,
                group={"path": f"/{number}"},
            )
            for number in range(GROUPS)
            for kind, offset in (("fired", 0), ("resolved", 60_000))
        ]
        log_path = tmp_path / "flow.log"
        group = f"alerts-{uuid.uuid4()}"
        share = len(transitions) // KILLS

        def is_settled() -> bool:
            pending = "SELECT count(*) AS n FROM alert_deliveries WHERE status = 'pending'"
            decided = "SELECT count(*) AS n FROM alert_deliveries"
            return (
                rows(url, decided)[0]["n"] == 2 * len(transitions)
                and rows(url, pending)[0]["n"] == 0
            )

        for kill in range(KILLS):
            with delivery_flow(databases, group, bot.url, log_path):
                produce(databases.kafka_brokers, transitions[kill * share : (kill + 1) * share])
                before = len(target.received)
                await wait_until(lambda before=before: len(target.received) > before)  # type: ignore[misc]
                await asyncio.sleep(chance.random() * 0.6)
        with delivery_flow(databases, group, bot.url, log_path) as process:
            produce(databases.kafka_brokers, transitions[KILLS * share :])
            await wait_until(is_settled, 200)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0
    deliveries = rows(url, "SELECT * FROM alert_deliveries")
    assert {row["status"] for row in deliveries} == {"sent"}
    assert len(deliveries) == 2 * len(transitions)
    by_id = Counter(got.headers["webhook-id"] for got in moods.accepted)
    hooks = {str(row["id"]) for row in deliveries if row["channel_type"] == "webhook"}
    assert hooks == set(by_id)
    same = {
        (got.headers["webhook-id"], str(got.document["event"]), str(got.document["alert"]))
        for got in target.received
    }
    assert len(same) == len({got.headers["webhook-id"] for got in target.received}) == len(hooks)
    texts = Counter(got.document["text"] for got in moods.messages)
    assert len(texts) == len(transitions)
    again = sum(by_id.values()) - len(by_id) + sum(texts.values()) - len(texts)
    print(f"{again} of {2 * len(transitions)} messages arrived again after {KILLS} kills")
    assert again <= 5 * KILLS  # What one process has on its way: four to the host, one to the chat.
    history = rows(url, "SELECT * FROM alert_history")
    assert len(history) == GROUPS
    assert all(row["notification_sent"] and row["resolved_at"] is not None for row in history)
    told = [got.document for got in moods.accepted]
    alerts = {one["alert"]["id"]: one["alert"] for one in told if one["event"] == "alert.triggered"}
    assert {
        name: (one["value"], one["threshold"], one["group"]) for name, one in alerts.items()
    } == {
        str(row["id"]): (row["metric_value"], row["threshold"], row["context"]["group"])
        for row in history
    }
    ends = {one["alert"]["id"]: one["alert"]["resolved_at"] for one in told
            if one["event"] == "alert.resolved"}  # fmt: skip
    assert ends == {
        str(row["id"]): iso_time(round(row["resolved_at"].timestamp() * 1000)) for row in history
    }


async def test_a_message_arrives_within_a_second(databases: RunningStack, tmp_path: Path) -> None:
    """From the transition in Kafka to the receiver, with Kafka's own waits."""
    url = databases.database_url
    async with receiver(OK) as target:
        project_id, rule_id = make_rule_row(url, [webhook(target)])
        with delivery_flow(
            databases, f"alerts-{uuid.uuid4()}", "http://127.0.0.1:9", tmp_path / "log"
        ):
            took: list[float] = []
            for number in range(12):
                made = make_transition(
                    "fired",
                    int(time.time() * 1000),
                    rule_id=rule_id,
                    project_id=project_id,
                    group={"path": f"/{number}"},
                )
                began = time.monotonic()
                await asyncio.to_thread(produce, databases.kafka_brokers, [made])
                await wait_until(lambda number=number: len(target.received) > number)  # type: ignore[misc]
                took.append(time.monotonic() - began)
    took = sorted(took[2:])  # The first ones wait for the start.
    middle_ms, last_ms = took[len(took) // 2] * 1000, took[-1] * 1000
    print(f"transition to receiver: median {middle_ms:.0f} ms, slowest {last_ms:.0f} ms")
    assert took[len(took) // 2] < 3.0
