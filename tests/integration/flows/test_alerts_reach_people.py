"""From events in Kafka to messages in a chat and at a webhook: all processes, real servers."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from standardwebhooks.webhooks import Webhook

from connectors.kafka_admin import ensure_topics
from connectors.kafka_producer import KafkaRecordProducer
from schemas.v1.events_pb2 import EventType
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.alert_receivers import BOT_OK, OK, TOKEN, receiver
from tests.alert_transitions import SECRET
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.integration.flows.alert_world import make_rule_row, telegram, webhook

FLOWS = ("behaviour", "alerts", "alert_delivery")
ERROR = EventType.EVENT_TYPE_JS_ERROR
START_WITHIN_S = 90.0
# One step of ten seconds, fifteen of delay, and a busy machine.
FIRED_WITHIN_S = 90.0
OVER_WITHIN_S = 150.0


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """Servers of their own: other tests write records of days to come."""
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


@contextmanager
def flow(name: str, urls: dict[str, str], bot_url: str, folder: Path) -> Iterator[None]:
    """`python -m flows NAME`, killed at the end."""
    environ = {
        **os.environ,
        **urls,
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "RUST_BACKTRACE": "0",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": bot_url,
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", name], env=environ, stdout=log, stderr=log
        )
    try:
        yield
        assert process.poll() is None, (folder / f"{name}.log").read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


async def wait_until(is_done: Callable[[], bool], timeout_s: float) -> float:
    """Until it says so; the seconds that took."""
    began = time.monotonic()
    while not is_done():
        assert time.monotonic() - began < timeout_s, "not in time"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def produce_errors(brokers: str, project_id: str, path: str, count: int) -> None:
    """Errors of one visitor, received now."""
    chance = random.Random(count)
    session_id = str(uuid.uuid4())
    now_ms = int(time.time() * 1000)
    events = []
    for _ in range(count):
        event = make_event(make_uuid(chance), session_id, at_ms=now_ms, path=path, kind=ERROR)
        event.js_error.message = "x is undefined"
        events.append(event)
    raw = make_raw(events, session_id, project_id=project_id, received_at_ms=now_ms)
    KafkaRecordProducer(brokers).produce_all([raw_record(raw)])


async def test_errors_become_one_message_and_its_end(urls: dict[str, str], tmp_path: Path) -> None:
    """Three errors on one page of a rule "more than 2 in a minute": fired once, then over."""
    async with receiver(OK) as target, receiver(BOT_OK) as bot:
        channels = [webhook(target, secret=SECRET), telegram()]
        condition = {
            "metric": "errors", "operator": ">", "threshold": 2, "window": "1m",
            "group_by": ["path"],
        }  # fmt: skip
        project_id, rule_id = make_rule_row(
            urls["DATABASE_URL"], channels, name="Errors <now>", condition=Jsonb(condition)
        )
        with ExitStack() as processes:
            for name in FLOWS:
                processes.enter_context(flow(name, urls, bot.url, tmp_path))
            # Rules know nothing from before they are in force, ten seconds after the flow is there.
            log = tmp_path / "alerts.log"
            await wait_until(lambda: b"states_restored" in log.read_bytes(), START_WITHIN_S)
            await asyncio.sleep(15)
            produce_errors(urls["KAFKA_BROKERS"], project_id, "/calm", 2)
            produce_errors(urls["KAFKA_BROKERS"], project_id, "/cart", 3)
            fired_s = await wait_until(
                lambda: bool(target.received) and bool(bot.received), FIRED_WITHIN_S
            )
            over_s = await wait_until(
                lambda: len(target.received) > 1 and len(bot.received) > 1, OVER_WITHIN_S
            )
            await asyncio.sleep(3)
        print(f"event to message: {fired_s:.1f} s; to the end of it: {fired_s + over_s:.1f} s")
        fired, over = (Webhook(SECRET).verify(got.body, got.headers) for got in target.received)
    assert [fired["event"], over["event"]] == ["alert.triggered", "alert.resolved"]
    alert: dict[str, Any] = fired["alert"]
    assert (alert["value"], alert["threshold"], alert["group"]) == (3, 2, {"path": "/cart"})
    assert alert["context"]["affected_sessions"] == 1
    assert alert["alert_id"] == over["alert"]["alert_id"]
    texts = [got.document["text"] for got in bot.received]
    assert len(texts) == 2
    assert "<b>Errors &lt;now&gt;</b>" in texts[0]
    assert "📍 <b>Path:</b> /cart" in texts[0]
    with psycopg.connect(urls["DATABASE_URL"], row_factory=dict_row) as connection:
        history = connection.execute(
            "SELECT * FROM alert_history WHERE rule_id = %s", (rule_id,)
        ).fetchall()
    (row,) = history
    assert (row["kind"], row["notification_sent"]) == ("fired", True)
    assert row["resolved_at"] is not None
