"""From events to people: both flows on real servers, a Bot API and a receiver on real sockets."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from connectors.kafka_admin import ensure_topics
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.v1.events_pb2 import EventType
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.alert_receivers import BOT_OK, OK, TOKEN, receiver
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.integration.flows.alert_world import make_rule_row, telegram, webhook
from tests.integration.flows.behaviour_world import BehaviourProcess

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def urls() -> Iterator[dict[str, str]]:
    """Servers of their own: clocks go on by the wall clock here."""
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


def errors(project_id: str, count: int, path: str, chance: random.Random) -> list[OutRecord]:
    """Errors of as many sessions, now."""
    made = []
    for _ in range(count):
        session_id, now_ms = make_uuid(chance), time.time_ns() // 1_000_000
        kind = EventType.EVENT_TYPE_JS_ERROR
        event = make_event(make_uuid(chance), session_id, at_ms=now_ms, path=path, kind=kind)
        raw = make_raw([event], session_id, project_id=project_id, received_at_ms=now_ms)
        made.append(raw_record(raw))
    return made


@pytest.mark.timeout(300)
async def test_eleven_errors_reach_a_chat_and_a_webhook_once(
    urls: dict[str, str], tmp_path: Path
) -> None:
    """And their end does, once; the rule is edited to bring that about, without a restart."""
    environ = {"TELEGRAM_BOT_TOKEN": TOKEN, "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    chance = random.Random(3)
    async with receiver(BOT_OK) as bot, receiver(OK) as hook:
        condition = '{"metric": "errors", "threshold": 10, "window": "5m", "group_by": ["path"]}'
        project_id, rule_id = make_rule_row(
            urls["DATABASE_URL"],
            [telegram(), webhook(hook, secret=SECRET)],
            name="Errors <on> a page",
            condition=condition,
        )
        processes = [
            BehaviourProcess(
                {**urls, **environ, "TELEGRAM_API_URL": bot.url},
                tmp_path / f"{flow}.log",
                flow=flow,
            )
            for flow in ("alerts", "alert_delivery")
        ]
        try:

            async def until(is_true: object, timeout_s: float = 120) -> None:
                deadline = time.monotonic() + timeout_s
                while not is_true():  # type: ignore[operator]
                    assert time.monotonic() < deadline, [p.log()[-1_500:] for p in processes]
                    await asyncio.sleep(0.1)

            await until(lambda: "states_restored" in processes[0].log())
            await until(lambda: "flow_started" in processes[1].log())
            await asyncio.sleep(4)
            producer = KafkaRecordProducer(urls["KAFKA_BROKERS"])
            producer.produce_all(errors(project_id, 10, "/cart", chance))
            producer.produce_all(errors(project_id, 11, "/pay&go", chance))
            await until(lambda: bot.received and hook.received)
            sent = bot.received[0].document
            assert "Errors &lt;on&gt; a page" in sent["text"]
            assert "/pay&amp;go" in sent["text"]
            told = hook.received[0].document
            assert (told["event"], told["alert"]["value"]) == ("alert.triggered", 11)
            assert told["alert"]["group"] == {"path": "/pay&go"}
            with psycopg.connect(urls["DATABASE_URL"]) as connection:
                connection.execute(
                    "UPDATE alert_rules SET condition = jsonb_set(condition, '{threshold}', '100')"
                    " WHERE id = %s",
                    (rule_id,),
                )
            edited_s = time.monotonic()
            await until(lambda: len(hook.received) > 1)
            # In force within ten seconds, and told with the next T.
            assert time.monotonic() - edited_s < 25
            assert hook.received[1].document["event"] == "alert.resolved"
            assert hook.received[1].document["alert"]["id"] == told["alert"]["id"]
            await asyncio.sleep(5)
            assert (len(bot.received), len(hook.received)) == (2, 2)
        finally:
            for process in processes:
                process.kill()
