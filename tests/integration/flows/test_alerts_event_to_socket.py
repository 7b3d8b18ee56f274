"""The whole way of an alert, at a time that the test says: from records of events to sockets.

Kafka is its twin in memory and the clock is moved, so that hours pass at once. Both flows, rules
and outbox in PostgreSQL, and the connections to the Bot API and to webhooks are as in production.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from standardwebhooks.webhooks import Webhook

from connectors.alert_rules import PostgresAlertRules
from connectors.kafka_log import OutRecord
from connectors.webhook_signature import own_signature
from flows.core.alert_records import alert_batch
from flows.core.alerts.metrics import Kind
from flows.core.alerts.transitions import transition_message
from flows.core.session_row import SessionRow, session_message
from schemas.alert_rules import COUNT_METRICS, METRICS
from schemas.log import PolledBatch
from schemas.topics import ALERTS, SESSIONS
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.events_pb2 import Event, EventType
from sql.migrate import migrate_up
from tests import alert_worlds
from tests.alert_flow_worlds import CHANCE, World
from tests.alert_receivers import BOT_OK, OK, Answer, Receiver, receiver
from tests.alert_transitions import MINUTE, SECRET
from tests.factories import make_event, make_uuid
from tests.integration.flows.alert_world import AlertWorld, alert_world, telegram, webhook
from tests.stack import RunningStack, fresh_databases

ERROR = EventType.EVENT_TYPE_JS_ERROR
VIEW = EventType.EVENT_TYPE_PAGE_VIEW
RULES_EVERY_S = 2  # As `PostgresChanges` does.
START_S = 20


@pytest.fixture(scope="module")
def database(running_stack: RunningStack) -> Iterator[str]:
    """A PostgreSQL with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack.database_url


class Line:
    """Both flows, one behind the other."""

    def __init__(self, delivery: AlertWorld) -> None:
        self.delivery = delivery
        self.rules = PostgresAlertRules(delivery.database_url)
        self.rules.refresh()
        self.flow = World(source=self.rules, project_id=delivery.project_id)
        self.heard: list[AlertTransition] = []
        self._read_to = 0
        self._seconds = 0

    async def run(
        self,
        seconds: int,
        *,
        every_s: int = 1,
        reads: Sequence[str] = ("raw", "insights", "sessions"),
    ) -> None:
        """Let time pass; each `every_s` what was decided is taken and what is due is sent."""
        for _ in range(seconds // every_s):
            self._seconds += every_s
            if self._seconds % RULES_EVERY_S == 0:
                self.rules.refresh()
            self.flow.process.run(every_s, reads=reads)
            self.delivery.now_ms = self.flow.process.now_ms
            records = self.flow.log.partitions[ALERTS.name, 0][self._read_to :]
            if records:
                self._read_to += len(records)
                batch = alert_batch(PolledBatch.of(ALERTS.name, 0, records))
                assert not batch.poisons
                self.heard += batch.transitions
                self.delivery.take(*batch.transitions)
            await self.delivery.send_due()

    def condition(self, **changes: Any) -> None:
        """Edit the rule, as a person who saves it."""
        with psycopg.connect(self.delivery.database_url) as connection:
            connection.execute(
                "UPDATE alert_rules SET condition = condition || %s WHERE id = %s",
                (Jsonb(changes), self.delivery.rule_id),
            )


@asynccontextmanager
async def line(
    database: str,
    channels: Sequence[dict[str, Any]],
    condition: dict[str, Any],
    *,
    bot_url: str = "http://127.0.0.1:9",
    **columns: Any,
) -> AsyncIterator[Line]:
    """A line with one rule that is in force, and nothing that happened yet."""
    async with alert_world(
        database, channels, bot_url=bot_url, condition=Jsonb(condition), **columns
    ) as delivery:
        made = Line(delivery)
        try:
            await made.run(START_S)
            yield made
        finally:
            made.rules.close()
            # The next test's flow must not evaluate it.
            delivery.rows("DELETE FROM alert_rules WHERE project_id = %s RETURNING id",
                          delivery.project_id)  # fmt: skip


def said(target: Receiver) -> list[str]:
    """Names of the events that a webhook received."""
    return [got.document["event"].partition(".")[2] for got in target.received]


def marks(bot: Receiver) -> list[str]:
    """The first sign of each text that a chat received."""
    return [got.document["text"][0] for got in bot.received]


async def test_eleven_rage_clicks_on_one_page_are_one_message(database: str) -> None:
    """M-137, M-142, M-143: it names the path, escaped and signed; ten on another say nothing."""
    condition = {
        "metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m",
        "group_by": ["path"], "filters": {"path": "/shop*"},
    }  # fmt: skip
    path = "/shop/<b>&pay"
    async with (
        receiver(BOT_OK) as bot,
        receiver(OK) as target,
        line(
            database,
            [telegram(), webhook(target, secret=SECRET)],
            condition,
            bot_url=bot.url,
            name="Rage & <i>fury",
        ) as made,
    ):
        first_ms = made.flow.process.now_ms
        made.flow.find(6, first_ms - 5_000, path)
        made.flow.find(10, first_ms - 5_000, "/shop/calm")
        made.flow.find(30, first_ms - 5_000, "/about")
        await made.run(240)
        assert target.received == []
        made.flow.find(5, made.flow.process.now_ms - 5_000, path)
        await made.run(50)
        assert (said(target), marks(bot)) == (["triggered"], ["⚠"])
        await made.run(300)
        assert (said(target), marks(bot)) == (["triggered", "resolved"], ["⚠", "✅"])
    got = target.received[0]
    alert = Webhook(SECRET).verify(got.body, got.headers)["alert"]
    assert got.headers["x-gosight-signature"] == own_signature(
        SECRET, int(got.headers["x-gosight-timestamp"]), got.body
    )
    assert (alert["group"], alert["value"], alert["threshold"]) == ({"path": path}, 11, 10)
    assert len(alert["context"]["sample_session_ids"]) == 5
    text = bot.received[0].document["text"]
    for part in (
        "<b>Rage &amp; &lt;i&gt;fury</b>",
        "<b>Metric:</b> rage_clicks",
        "<b>Value:</b> 11 in 5m",
        "<b>Threshold:</b> &gt; 10",
        "<b>Path:</b> /shop/&lt;b&gt;&amp;pay",
        "View in Dashboard</a>",
    ):
        assert part in text, part


async def test_silence_is_told_and_outlives_its_process(database: str) -> None:
    """M-139, M-144: nothing arrives to wake it; its end sets `resolved_at` and is told once."""
    condition = {"metric": "pageviews", "window": "10m"}
    async with (
        receiver(BOT_OK) as bot,
        receiver(OK) as target,
        line(
            database,
            [telegram(), webhook(target)],
            condition,
            bot_url=bot.url,
            condition_type="absence",
        ) as made,
    ):
        for _ in range(11):
            made.flow.send(1, VIEW)
            await made.run(60, every_s=4)
        last_ms = made.flow.process.now_ms - MINUTE
        await made.run(400, every_s=4)
        made.flow.start(made.flow.process.now_ms)  # The one before was killed.
        while not target.received:
            await made.run(1)
            assert made.flow.process.now_ms < last_ms + 11 * MINUTE
        assert made.flow.process.now_ms >= last_ms + 10 * MINUTE
        alert = target.received[0].document["alert"]
        assert (alert["state"], alert["severity"], alert["value"]) == ("firing", "critical", 0)
        assert marks(bot) == ["🚨"]
        (row,) = made.delivery.history()
        assert (row["kind"], row["resolved_at"]) == ("fired", None)
        made.flow.send(1, VIEW)
        await made.run(120, every_s=4)
        assert (said(target), marks(bot)) == (["triggered", "resolved"], ["🚨", "✅"])
        (row,) = made.delivery.history()
        assert row["resolved_at"] > row["triggered_at"]
        assert row["notification_sent"]


async def test_an_hour_of_backlog_tells_late_what_was_and_nothing_else(database: str) -> None:
    """A site that was quiet for 15 minutes of it: one alert and its end, marked as late."""
    condition = {"metric": "pageviews", "window": "10m"}
    async with (
        receiver(BOT_OK) as bot,
        receiver(OK) as target,
        line(
            database,
            [telegram(), webhook(target)],
            condition,
            bot_url=bot.url,
            condition_type="absence",
        ) as made,
    ):
        for _ in range(11):
            made.flow.send(1, VIEW)
            await made.run(60, every_s=10)
        for minute in range(60):
            if not 20 <= minute < 35:
                made.flow.send(1, VIEW)
            await made.run(60, every_s=20, reads=("insights", "sessions"))
        assert target.received == []
        (held,) = made.delivery.history()
        assert (held["kind"], held["resolved_at"]) == ("held", None)
        await made.run(60)
        assert (said(target), marks(bot)) == (["triggered", "resolved"], ["🚨", "✅"])
        assert "⏳ <b>Late:</b> told" in bot.received[0].document["text"]
        assert target.received[0].document["alert"]["is_late"] is True
        kinds = {row["kind"]: row for row in made.delivery.history()}
        assert kinds.keys() == {"held", "fired"}
        assert kinds["fired"]["is_late"]
        assert kinds["held"]["resolved_at"] is not None
        assert [one.kind for one in made.heard] == ["held", "released", "fired", "resolved"]
        made.flow.send(1, VIEW)
        await made.run(120, every_s=10)
        assert len(target.received) == 2


async def test_a_cooldown_is_of_a_group_and_begins_when_somebody_was_told(database: str) -> None:
    """M-121, M-141: what fires in it is suppressed; what holds beyond it is told after all."""
    condition = {
        "metric": "errors", "operator": ">", "threshold": 2, "window": "1m", "group_by": ["path"],
    }  # fmt: skip
    away = [Answer(500), Answer(closes=True)]
    async with (
        receiver(*away, OK) as target,
        line(database, [webhook(target)], condition, cooldown_mins=4) as made,
    ):
        made.flow.send(3, ERROR, "/a")
        await made.run(45)  # Fired, and refused once.
        assert [row["notification_sent"] for row in made.delivery.history()] == [False]
        await made.run(90)  # Taken at the third attempt, and over.
        assert len(target.received) == 4
        assert len({got.headers["webhook-id"] for got in target.received}) == 2
        assert said(target)[2:] == ["triggered", "resolved"]
        told_ms = made.flow.process.now_ms
        made.flow.send(3, ERROR, "/a")
        made.flow.send(3, ERROR, "/b")
        await made.run(45)
        groups = [got.document["alert"]["group"]["path"] for got in target.received[4:]]
        assert groups == ["/b"]
        rows = [(row["context"]["group"]["path"], row["kind"]) for row in made.delivery.history()]
        assert sorted(rows) == [("/a", "fired"), ("/a", "suppressed"), ("/b", "fired")]
        while made.flow.process.now_ms < told_ms + 5 * MINUTE:
            made.flow.send(3, ERROR, "/a")
            await made.run(30)
        told = [got.document["event"] for got in target.received
                if got.document["alert"]["group"]["path"] == "/a"][4:]  # fmt: skip
        assert told == ["alert.triggered"]
        rows = [row["kind"] for row in made.delivery.history()]
        assert sorted(rows) == ["fired", "fired", "fired"]
        assert not any(row["suppressed_by"] for row in made.delivery.history())


async def test_an_edited_rule_is_in_force_within_ten_seconds(database: str) -> None:
    """M-145: neither process is started again, and the next T is judged by the new bound."""
    condition = {"metric": "errors", "operator": ">", "threshold": 20, "window": "5m"}
    async with (
        receiver(OK) as target,
        line(database, [webhook(target)], condition) as made,
    ):
        made.flow.send(15, ERROR)
        await made.run(60)
        assert target.received == []
        made.condition(threshold=10)
        edited_ms = made.flow.process.now_ms
        while not target.received:
            await made.run(1)
            assert made.flow.process.now_ms <= edited_ms + 15_000
        (fired,) = made.heard
        # It was in force ten seconds later at the latest: that T was judged by it.
        assert fired.at_ms + 15_000 <= edited_ms + 20_000
        assert (fired.value, fired.threshold) == (15, 10)
        made.delivery.change_rule(is_active=False)
        await made.run(10)
        assert [one.kind for one in made.heard] == ["fired", "resolved"]
        assert said(target) == ["triggered", "resolved"]


def goal(value: float | None, currency: str = "") -> Event:
    """A goal, or a purchase of a value."""
    if value is None:
        event = make_event(make_uuid(CHANCE), "", kind=EventType.EVENT_TYPE_GOAL)
        event.goal.name = "signup"
        return event
    event = make_event(make_uuid(CHANCE), "", kind=EventType.EVENT_TYPE_PURCHASE)
    event.purchase.order_id = make_uuid(CHANCE)
    event.purchase.value = value
    event.purchase.currency = currency
    return event


def vitals(page_view_id: str, **values: int) -> Event:
    """A report of a page view."""
    event = make_event(make_uuid(CHANCE), "", kind=EventType.EVENT_TYPE_WEB_VITALS)
    event.page_view_id = page_view_id
    for name, value in values.items():
        setattr(event.performance, name, value)
    return event


def visits() -> Iterator[list[Event]]:
    """Events of twelve sessions, so that each metric of events has a value to be named."""
    for number in range(12):
        view = make_uuid(CHANCE)
        events = [
            make_event(make_uuid(CHANCE), "", kind=VIEW),
            vitals(view, largest_contentful_paint=500, ttfb=100 + 10 * number),
            vitals(view, largest_contentful_paint=1_000 + 100 * number),
        ]
        if number < 3:
            events += [make_event(make_uuid(CHANCE), "", kind=ERROR) for _ in range(4)]
        if number < 6:
            events.append(goal(None))
        if number < 2:
            events.append(goal(12.5, "USD") if number else goal(30.0, "JPY"))
        yield events


VALUES: dict[str, float] = {
    "sessions": 12, "pageviews": 12, "errors": 12, "error_rate": 25, "goals": 6, "purchases": 2,
    "revenue": 42.5, "conversion_rate": 50, "avg_lcp": 1_550, "avg_ttfb": 155, "bounce_rate": 40,
    "rage_clicks": 2, "dead_clicks": 3, "error_clicks": 4, "thrashed_cursors": 5, "u_turns": 6,
    "slow_pages": 7,
}  # fmt: skip


async def test_each_metric_is_told_with_its_value(database: str) -> None:
    """M-140: one rule each, and a webhook of its own; all of it from records as they are stored."""
    assert VALUES.keys() == set(METRICS)
    async with (
        receiver(OK) as target,
        line(database, [], {"metric": "u_turns", "threshold": 9_000, "window": "1m"}) as made,
    ):
        with psycopg.connect(made.delivery.database_url) as connection:
            for metric in METRICS:
                found = {"metric": metric, "operator": ">=", "threshold": 0, "window": "1h"}
                if metric in COUNT_METRICS:
                    found |= {"operator": ">", "filters": {"path": "/cart"}}
                connection.execute(
                    "INSERT INTO alert_rules (project_id, name, condition, channels)"
                    " VALUES (%s, %s, %s, %s)",
                    (
                        made.delivery.project_id,
                        metric,
                        json.dumps(found),
                        json.dumps([webhook(target, f"/{metric}")]),
                    ),
                )
        await made.run(30)
        now_ms = made.flow.process.now_ms
        for events in visits():
            session_id = make_uuid(CHANCE)
            for event in events:
                event.session_id = session_id
                event.timestamp.millis = now_ms
            for _ in range(2):  # Sent again: changes nothing.
                made.flow.send_events(events, session_id)
        for metric in ("rage_clicks", "dead_clicks", "error_clicks", "thrashed_cursors", "u_turns"):
            made.flow.find(int(VALUES[metric]), now_ms, "/cart", metric.removesuffix("s"))
        made.flow.find(7, now_ms, "/cart", "slow_page")
        for number in range(10):
            row = SessionRow(
                make_uuid(CHANCE), made.delivery.project_id, now_ms - 60_000, now_ms - 20_000, 1,
                is_closed=True, is_bounce=number < 4, entry_path="/cart",
            )  # fmt: skip
            value = session_message(row).SerializeToString()
            key = f"{row.project_id}:{row.session_id}".encode()
            made.flow.log.append(OutRecord(SESSIONS.name, key, value), now_ms)
        await made.run(60)
    told = {got.path.removeprefix("/"): got.document["alert"]["value"] for got in target.received}
    assert told == VALUES
    assert len(target.received) == len(METRICS)


class Days:
    """An anomaly rule over hours or days of page views, whose messages go to sockets."""

    def __init__(self, delivery: AlertWorld) -> None:
        self.delivery = delivery
        rules = PostgresAlertRules(delivery.database_url)
        rules.refresh()
        self.world = alert_worlds.World(
            rules.active()[delivery.rule_id], project_id=delivery.project_id
        )
        rules.close()
        self.world.evaluate(0)
        self._told = 0

    async def window(self, number: int, length_s: int, count: int) -> None:
        """Page views of one window, and what is told at its end."""
        begin = number * length_s + 5
        views = [self.world.signal(Kind.PAGEVIEW, begin) for _ in range(count)]
        self.world.raw(views, begin)
        self.world.evaluate((number + 1) * length_s)
        self.delivery.now_ms = alert_worlds.at((number + 1) * length_s + alert_worlds.DELAY_S)
        new = self.world.told[self._told :]
        self._told = len(self.world.told)
        self.delivery.take(*map(transition_message, new))
        await self.delivery.send_due()


async def test_a_jump_is_told_once_and_a_daily_peak_is_not(database: str) -> None:
    """M-138: a jump by six deviations out of a flat series; a peak that comes each day at noon."""
    flat = [10, 12, 11, 9, 10, 11, 10, 12, 9, 11, 10, 10, 15, 19, 10, 10, 10]
    condition = {"metric": "pageviews", "window": "5m"}
    async with (
        receiver(OK) as target,
        alert_world(
            database, [webhook(target)], condition=Jsonb(condition), condition_type="anomaly"
        ) as delivery,
    ):
        days = Days(delivery)
        for number, count in enumerate(flat):
            await days.window(number, 300, count)
        assert said(target) == ["triggered", "resolved"]
        alert = target.received[0].document["alert"]
        assert alert["value"] == 19
        assert 14 < alert["threshold"] < 19
    condition = {"metric": "pageviews", "window": "1h"}
    async with (
        receiver(OK) as target,
        alert_world(
            database,
            [webhook(target)],
            condition=Jsonb(condition),
            condition_type="anomaly",
            cooldown_mins=0,
        ) as delivery,
    ):
        days = Days(delivery)
        for hour in range(24 * 9):
            peak = {11: 40, 12: 100, 13: 45}.get(hour % 24, 10)
            await days.window(hour, 3_600, peak + hour % 3)
            if hour == 24:
                target.received.clear()  # Nobody knew that it would come again.
        assert said(target) == []
        for hour in range(24 * 9, 24 * 9 + 15):
            await days.window(hour, 3_600, {12: 300}.get(hour % 24, 10))
        assert [event for event in said(target) if event != "still_firing"] == [
            "triggered",
            "resolved",
        ]
        assert target.received[0].document["alert"]["value"] == 300
