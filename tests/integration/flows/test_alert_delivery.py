"""From transitions to messages, on a real PostgreSQL and real sockets, without waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise

import pytest
from psycopg.types.json import Jsonb
from standardwebhooks.webhooks import Webhook

from connectors.alert_queue import LEASE_MS, AlertQueue
from connectors.alert_tables import time_of
from connectors.errors import RetryableError
from connectors.webhook_signature import own_signature
from schemas.alert_delivery import Settlement, Status
from sql.migrate import migrate_up
from tests.alert_receivers import BOT_OK, HANG, OK, Answer, bot_error, receiver
from tests.alert_transitions import MINUTE, SECRET, at
from tests.integration.flows.alert_world import alert_world, telegram, webhook
from tests.stack import RunningStack, fresh_databases

HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def database(running_stack: RunningStack) -> Iterator[str]:
    """A PostgreSQL with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack.database_url


async def test_a_firing_and_its_end_reach_both_channels(database: str) -> None:
    """One message each at a chat and a receiver; history says that both have it."""
    async with receiver(BOT_OK) as bot, receiver(OK) as target:
        channels = [telegram(), webhook(target, secret=SECRET)]
        async with alert_world(database, channels, bot_url=bot.url) as world:
            await world.hear("fired", "10:01", group={"path": "/a<b"})
            assert [row["kind"] for row in world.history()] == ["fired"]
            assert world.history()[0]["resolved_at"] is None
            await world.hear("resolved", "10:09", "10:01", group={"path": "/a<b"}, value=3.0)
            (row,) = world.history()
            rule = world.rows("SELECT * FROM alert_rules WHERE id = %s", world.rule_id)[0]
    texts = [got.document["text"] for got in bot.received]
    assert len(texts) == 2
    assert "📍 <b>Path:</b> /a&lt;b" in texts[0]
    assert texts[1].startswith("✅")
    events = [Webhook(SECRET).verify(got.body, {**got.headers}, json_parse=True)["event"]
              for got in target.received]  # fmt: skip
    assert events == ["alert.triggered", "alert.resolved"]
    body = target.received[0].document["alert"]
    assert (body["value"], body["threshold"], body["group"]) == (11.0, 10.0, {"path": "/a<b"})
    assert body["dashboard_url"].endswith(f"{world.project_id}/alerts/{body['id']}")
    assert row["notification_sent"] is True
    assert row["notification_error"] is None
    assert row["resolved_at"] == time_of(at("10:09"))
    assert (row["metric_value"], row["threshold"]) == (11.0, 10.0)
    assert row["context"]["affected_sessions"] == 7
    assert rule["last_triggered"] == time_of(at("10:01"))
    assert rule["updated_at"] < rule["last_triggered"], "that it fired is no edit"


async def test_the_worked_example(database: str) -> None:
    """The table of the document, row by row, with messages counted at the receiver."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        table: list[tuple[str, str, str | None, list[str], int]] = [
            ("10:01", "fired", None, ["fired"], 1),
            ("10:05", "still_firing", "10:01", ["fired"], 1),
            ("10:09", "resolved", "10:01", ["fired"], 2),
            ("10:12", "fired", None, ["fired", "suppressed"], 2),
            ("10:15", "still_firing", "10:12", ["fired", "suppressed"], 2),
            ("10:16", "still_firing", "10:12", ["fired", "fired"], 3),
            ("10:20", "resolved", "10:12", ["fired", "fired"], 4),
        ]
        for when, kind, opened, rows, messages in table:
            await world.hear(kind, when, opened)
            assert [row["kind"] for row in world.history()] == rows, when
            assert len(target.received) == messages, when
        assert all(row["resolved_at"] is not None for row in world.history())
    events = [got.headers["x-gosight-event"].partition(".")[2] for got in target.received]
    assert events == ["triggered", "resolved", "triggered", "resolved"]


async def test_groups_may_have_any_name(database: str) -> None:
    """As long as paths can be, in letters of three bytes: of two that differ each has its own."""
    chance = random.Random(7)
    name = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(1_000))
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        for path in (f"/{name}a", f"/{name}b"):
            await world.hear("fired", "10:01", group={"path": path, "browser": "é" * 1_000})
        await world.hear(
            "resolved", "10:09", "10:01", group={"path": f"/{name}a", "browser": "é" * 1_000}
        )
        assert sorted(row["resolved_at"] is None for row in world.history()) == [False, True]
    events = [got.headers["x-gosight-event"].partition(".")[2] for got in target.received]
    assert events == ["triggered", "triggered", "resolved"]
    assert target.received[2].document["alert"]["group"]["path"] == f"/{name}a"


async def test_taking_the_same_again_sends_nothing(database: str) -> None:
    """A crash before the position was noted brings all records once more, also much later."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        heard = [
            world.transition("fired", "10:01"),
            world.transition("still_firing", "10:02", "10:01"),
            world.transition("resolved", "10:09", "10:01"),
            world.transition("fired", "10:40"),
        ]
        world.now_ms = at("10:40")
        assert world.take(*heard[:2]) == 2
        await world.send_due()
        assert world.take(*heard) == 2
        assert world.take(*heard) == 0
        await world.send_due()
        for later in ("11:30", "12:00"):
            world.now_ms = at(later)
            assert world.take(*heard) == 0
            assert await world.send_due() == 0
        ids = [got.headers["webhook-id"] for got in target.received]
        assert len(ids) == len(set(ids)) == 2  # The last one came within the cooldown.


async def test_half_a_step_is_nothing(database: str) -> None:
    """What fails before the end of the transaction leaves no row and no message."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        broken = world.transition("fired", "10:02")
        broken.alert_id = "not an id"
        with pytest.raises(RetryableError):
            world.take(world.transition("fired", "10:01"), broken)
        assert world.history() == []
        assert world.take(world.transition("fired", "10:01")) == 1
        await world.send_due()
        assert len(target.received) == 1


async def test_the_cooldown_begins_with_the_first_arrival(database: str) -> None:
    """A receiver that is away gets the message when it is back; 15 minutes count from there."""
    answers = [Answer(500)] * 4 + [OK]
    async with receiver(*answers) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:00")
        for pause_ms in (12_000, 72_000, 6 * MINUTE):
            world.now_ms += pause_ms
            await world.send_due()
        assert world.deliveries() == [("webhook", "fired", "pending", 4)]
        world.take(world.transition("still_firing", "10:07:30", "10:00"))
        world.now_ms += 36 * MINUTE + 1
        arrived_ms = world.now_ms
        await world.send_due()
        assert world.deliveries() == [("webhook", "fired", "sent", 5)]
        ids = {got.headers["webhook-id"] for got in target.received}
        assert (len(target.received), len(ids)) == (5, 1)
        until = world.rows("SELECT * FROM alert_states WHERE rule_id = %s", world.rule_id)
        assert until[0]["cooldown_until"] == time_of(arrived_ms + 15 * MINUTE)


async def test_six_attempts_over_hours(database: str) -> None:
    """At once, then after 10 s, 1 min, 5 min, 30 min and 2 h, each a fifth more or less."""
    async with receiver(Answer(503)) as target, alert_world(database, [webhook(target)]) as world:
        world.take(world.transition("fired", "10:00"))
        moments = []
        while world.deliveries()[0][2] == "pending":
            (row,) = world.rows(
                "SELECT next_attempt_at FROM alert_deliveries WHERE rule_id = %s", world.rule_id
            )
            world.now_ms = round(row["next_attempt_at"].timestamp() * 1000) - 1
            assert await world.send_due() == 0, "before its time"
            world.now_ms += 1
            assert await world.send_due() == 1
            moments.append(world.now_ms)
        pauses = [later - earlier for earlier, later in pairwise(moments)]
        wanted = [10_000, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR]
        assert len(pauses) == len(wanted)
        for pause, usual in zip(pauses, wanted, strict=True):
            assert 0.8 * usual <= pause <= 1.2 * usual
        assert world.deliveries() == [("webhook", "fired", "failed", 6)]
        (row,) = world.history()
        assert row["notification_sent"] is False
        assert row["notification_error"] == "webhook: answered 503"
    assert len({got.headers["webhook-id"] for got in target.received}) == 1


async def test_channels_do_not_wait_for_each_other(database: str) -> None:
    """While a chat fails the webhook has its message, and its end; each keeps its own order."""
    async with receiver(bot_error(500, "away"), BOT_OK) as bot, receiver(OK) as target:
        channels = [telegram(), webhook(target)]
        async with alert_world(database, channels, bot_url=bot.url) as world:
            await world.hear("fired", "10:00")
            world.now_ms += 1_000
            world.take(world.transition("resolved", "10:01", "10:00"))
            await world.send_due()
            assert world.deliveries() == [
                ("telegram", "fired", "pending", 1),
                ("webhook", "fired", "sent", 1),
                ("telegram", "resolved", "pending", 0),
                ("webhook", "resolved", "sent", 1),
            ]
            assert "telegram: Telegram answered 500" in world.history()[0]["notification_error"]
            world.now_ms += 12_000
            await world.send_due()
            assert {status for *_, status, _ in world.deliveries()} == {"sent"}
            assert world.history()[0]["notification_sent"] is True
    signs = [got.document["text"][0] for got in bot.received]
    assert signs == ["⚠", "⚠", "✅"]


async def test_the_end_is_not_told_where_the_beginning_never_came(database: str) -> None:
    """A channel that refused the firing for good hears nothing of its end."""
    async with (
        receiver(Answer(400), OK) as target,
        alert_world(database, [webhook(target)]) as world,
    ):
        await world.hear("fired", "10:00")
        assert world.deliveries() == [("webhook", "fired", "failed", 1)]
        await world.hear("resolved", "10:05", "10:00")
        assert len(world.deliveries()) == 1
        assert world.history()[0]["resolved_at"] is not None
        # And where it is given up while the end already waits.
        await world.hear("fired", "10:10")
        assert len(target.received) == 2


async def test_a_chat_that_asks_for_a_pause_gets_it(database: str) -> None:
    """429: nothing to this chat before `retry_after`, not even new messages; others go on."""
    slow = bot_error(429, "Too Many Requests", retry_after=35)
    async with (
        receiver(slow, BOT_OK) as bot,
        alert_world(database, [telegram("-77")], bot_url=bot.url) as world,
        alert_world(database, [telegram("-88")], bot_url=bot.url) as other,
    ):
        await world.hear("fired", "10:00")
        assert world.deliveries() == [("telegram", "fired", "pending", 0)]
        world.now_ms += 34_000
        world.take(world.transition("fired", "10:00:34", group={"path": "/b"}))
        assert await world.send_due() == 0
        other.now_ms = world.now_ms
        other.take(other.transition("fired", "10:00:34"))
        assert await other.send_due() == 1
        world.now_ms += 1_000
        assert await world.send_due() == 2
        assert {status for *_, status, _ in world.deliveries()} == {"sent"}
    chats = [got.document["chat_id"] for got in bot.received]
    assert chats == ["-77", "-88", "-77", "-77"]


async def test_what_has_to_wait_is_not_overdue(database: str) -> None:
    """For its receiver's pause, or behind the beginning of its alert: nobody is to be called."""
    async with (
        receiver(bot_error(429, "Too Many Requests", retry_after=35)) as bot,
        receiver(Answer(503)) as target,
        alert_world(database, [webhook(target), telegram("-99")], bot_url=bot.url) as world,
    ):
        await world.hear("fired", "10:00")
        world.take(world.transition("resolved", "10:00:05", "10:00"))
        waiting, due_ms = world.queue.waiting()
        assert waiting == 4
        assert world.now_ms + 8_000 <= due_ms <= world.now_ms + 12_000
        world.rows("DELETE FROM alert_deliveries WHERE channel_type = 'webhook' RETURNING id")
        assert world.queue.waiting() == (2, world.now_ms + 35_000)


async def test_a_claimed_message_of_a_frozen_process_goes_again(database: str) -> None:
    """Its lease runs out; until then nobody else takes it, and afterwards it has the same id."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        world.take(world.transition("fired", "10:00"))
        frozen = AlertQueue(database)
        (claimed,) = frozen.claim(world.now_ms, 10)
        world.now_ms += LEASE_MS - 1
        assert await world.send_due() == 0
        world.now_ms += 1
        assert await world.send_due() == 1
        assert target.received[0].headers["webhook-id"] == claimed.delivery_id
        assert world.deliveries() == [("webhook", "fired", "sent", 1)]
        # When it thaws, what it has to say of it is not wanted any more.
        gone = Settlement(status=Status.FAILED, attempts=1)
        assert frozen.settle(claimed, lambda _: gone, world.now_ms) is None
        frozen.close()
        assert world.deliveries() == [("webhook", "fired", "sent", 1)]


async def test_a_claimed_message_of_a_dead_process_goes_at_once(database: str) -> None:
    """Its connection is gone, and with it the sign that it lives."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        world.take(world.transition("fired", "10:00"))
        dead = AlertQueue(database)
        (claimed,) = dead.claim(world.now_ms, 10)
        assert await world.send_due() == 0
        dead.close()
        assert await _soon(world.send_due) == 1
        assert target.received[0].headers["webhook-id"] == claimed.delivery_id


async def test_a_lost_connection_gives_nothing_away(database: str) -> None:
    """A process that connects again still has what it claimed."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        world.take(world.transition("fired", "10:00"))
        assert len(world.queue.claim(world.now_ms, 10)) == 1
        world.queue.close()
        assert world.queue.claim(world.now_ms, 10) == []


async def _soon(send: Callable[[], Awaitable[int]]) -> int:
    """The first that is not nothing: PostgreSQL takes a moment to see that a client is gone."""
    for _ in range(100):
        found = await send()
        if found:
            return found
        await asyncio.sleep(0.02)
    return 0


async def test_what_is_due_is_claimed_once(database: str) -> None:
    """A second process finds nothing; of one chat there is one at a time, of one host four."""
    async with receiver(OK) as target:
        channels = [telegram(), *(webhook(target, f"/{number}") for number in range(7))]
        async with alert_world(database, channels) as world:
            world.take(world.transition("fired", "10:00"))
            world.take(world.transition("fired", "10:00", group={"path": "/b"}))
            first = world.queue.claim(world.now_ms, 64)
            assert (
                sorted(claimed.channel_type for claimed in first) == ["telegram"] + ["webhook"] * 4
            )
            assert world.queue.claim(world.now_ms, 64) == []


async def test_a_mute_holds_back_what_was_decided_before(database: str) -> None:
    """A message that is being retried when the rule is muted does not arrive in the mute."""
    async with (
        receiver(Answer(500), OK) as target,
        alert_world(database, [webhook(target)]) as world,
    ):
        await world.hear("fired", "10:00")
        world.change_rule(muted_until=time_of(at("10:30")))
        world.now_ms = at("10:01")
        await world.send_due()
        assert world.deliveries() == [("webhook", "fired", "suppressed", 1)]
        (row,) = world.history()
        assert (row["kind"], row["suppressed_by"]) == ("suppressed", "mute")
        await world.hear("still_firing", "10:29", "10:00")
        assert len(target.received) == 1
        await world.hear("still_firing", "10:30", "10:00")
        assert len(target.received) == 2
        assert world.history()[0]["kind"] == "fired"


async def test_two_firings_that_waited_are_one_message(database: str) -> None:
    """A receiver that was away over two firings of a group hears of the first alone."""
    async with (
        receiver(Answer(500), OK) as target,
        alert_world(database, [webhook(target)]) as world,
    ):
        await world.hear("fired", "10:00")
        world.now_ms = at("10:00:03")
        world.take(
            world.transition("resolved", "10:00:02", "10:00"), world.transition("fired", "10:00:03")
        )
        world.now_ms = at("10:00:13")
        await world.send_due()
        kinds = [(kind, status) for _, kind, status, _ in world.deliveries()]
        assert ("fired", "sent") in kinds
        assert len([kind for kind, status in kinds if status == "sent" and kind == "fired"]) == 1
        assert [row["kind"] for row in world.history()] == ["fired", "suppressed"]


@pytest.mark.parametrize("change", ["switched off", "other channels", "deleted"])
async def test_rules_and_channels_that_are_gone_get_nothing(database: str, change: str) -> None:
    """What waits is cancelled, and history says so as long as the rule is there."""
    async with receiver(Answer(500)) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:00")
        if change == "switched off":
            world.change_rule(is_active=False)
        elif change == "other channels":
            world.change_rule(channels=Jsonb([telegram()]))
        else:
            world.rows("DELETE FROM alert_rules WHERE id = %s RETURNING id", world.rule_id)
        world.now_ms = at("10:01")
        await world.send_due()
        assert world.deliveries() == [("webhook", "fired", "cancelled", 1)]
        assert len(target.received) == 1


async def test_a_rule_that_is_gone_says_nothing(database: str) -> None:
    """Its transitions that are still in the topic change nothing."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        world.rows("DELETE FROM alert_rules WHERE id = %s RETURNING id", world.rule_id)
        assert world.take(world.transition("fired", "10:00")) == 0
        assert world.take(world.transition("held", "10:00")) == 0


async def test_what_was_open_is_over_when_the_next_begins(database: str) -> None:
    """Its end is never told if the flow that decides lost its state; nobody is told of it now."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:01")
        await world.hear("held", "10:02")
        await world.hear("held", "11:10")
        await world.hear("released", "11:12", "11:10")
        await world.hear("fired", "11:15")
        by_start = sorted(world.history(), key=lambda row: row["triggered_at"])
        assert [(row["kind"], row["resolved_at"]) for row in by_start] == [
            ("fired", time_of(at("11:15"))),
            ("held", time_of(at("11:10"))),
            ("held", time_of(at("11:12"))),
            ("fired", None),
        ]
    assert len(target.received) == 2


async def test_what_a_rule_had_open_is_over_when_it_is_deleted(database: str) -> None:
    """Its history stays, and does not call it open for ever; nobody is told of it."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:00")
        await world.hear("held", "10:01")
        world.rows("DELETE FROM alert_rules WHERE id = %s RETURNING id", world.rule_id)
        await world.hear("resolved", "10:02", "10:00", value=None)
        await world.hear("released", "10:03", "10:01")
        rows = world.rows("SELECT * FROM alert_history WHERE project_id = %s", world.project_id)
        assert {row["kind"]: row["resolved_at"] for row in rows} == {
            "fired": time_of(at("10:02")),
            "held": time_of(at("10:03")),
        }
        assert len(target.received) == 1


async def test_a_channel_that_keeps_failing_is_switched_off(database: str) -> None:
    """After 20 failures in a row over an hour; the other channel is told, saving switches it on."""
    async with receiver(BOT_OK) as bot, receiver(Answer(404)) as target:
        channels = [webhook(target, "/a-secret-path"), telegram()]
        async with alert_world(database, channels, bot_url=bot.url, cooldown_mins=0) as world:
            for minute in range(21):
                when = f"{10 + minute * 4 // 60}:{minute * 4 % 60:02}"
                await world.hear("fired", when, group={"path": f"/{minute}"})
            assert len(target.received) == 20, "nothing goes there any more"
            (state,) = world.rows("SELECT * FROM alert_channels WHERE disabled_at IS NOT NULL "
                                  "AND rule_id = %s", world.rule_id)  # fmt: skip
            assert state["failures"] == 20
            assert world.deliveries()[-2][2] == "cancelled"
            notices = [t for got in bot.received if (t := got.document["text"]).startswith("🔕")]
            assert len(notices) == 1
            assert "20 in a row" in notices[0]
            assert "secret-path" not in notices[0]
            world.change_rule(name="Mended")
            target.script = [OK]
            await world.hear("fired", "12:00", group={"path": "/again"})
            assert len(target.received) == 21
            (state,) = world.rows("SELECT * FROM alert_channels WHERE rule_id = %s "
                                  "AND last_error IS NULL AND failures = 0 "
                                  "AND channel_key = %s",
                                  world.rule_id, state["channel_key"])  # fmt: skip
            assert state["disabled_at"] is None


async def test_failures_at_the_same_time_are_counted_each(database: str) -> None:
    """Four go to a host at once; what arrives among them ends the row."""
    async with (
        receiver(Answer(404)) as target,
        alert_world(database, [webhook(target)], cooldown_mins=0) as world,
    ):

        async def fire(minute: int, count: int) -> list[int]:
            when = f"10:{minute:02}"
            world.now_ms = at(when)
            groups = [{"path": f"/{minute}/{number}"} for number in range(count)]
            world.take(*(world.transition("fired", when, group=group) for group in groups))
            await world.send_due()
            states = world.rows(
                "SELECT failures FROM alert_channels WHERE rule_id = %s", world.rule_id
            )
            return [state["failures"] for state in states]

        assert await fire(1, 8) == [8]
        # The first of four arrives, soon; the others fail after it.
        target.choose = lambda got: OK if b"/2/0" in got.body else Answer(404, after_s=0.2)
        assert await fire(2, 4) == [3]


async def test_a_channel_that_is_on_again_is_given_time(database: str) -> None:
    """Saved and failing once it stays on; when it fails for as long again the others are told."""
    async with receiver(BOT_OK) as bot, receiver(Answer(404)) as target:
        channels = [webhook(target), telegram()]
        async with alert_world(database, channels, bot_url=bot.url, cooldown_mins=0) as world:

            async def fail(hour: int, count: int) -> None:
                for number in range(count):
                    when = f"{hour + number * 4 // 60}:{number * 4 % 60:02}"
                    await world.hear("fired", when, group={"path": f"/{hour}/{number}"})

            def notices() -> int:
                return sum(got.document["text"].startswith("🔕") for got in bot.received)

            await fail(10, 20)
            assert (len(target.received), notices()) == (20, 1)
            world.change_rule(updated_at=time_of(at("11:50")))
            await fail(12, 19)
            assert (len(target.received), notices()) == (39, 1)
            await world.hear("fired", "13:20", group={"path": "/last"})
            assert (len(target.received), notices()) == (40, 2)
            await world.hear("fired", "13:30", group={"path": "/off"})
            assert len(target.received) == 40


async def test_a_busy_webhook_holds_up_nobody_else_on_its_host(database: str) -> None:
    """429 with `Retry-After`: its own message waits, that of another project there goes."""
    busy = Answer(429, {"Retry-After": "3600"})
    async with (
        receiver(busy, OK) as target,
        alert_world(database, [webhook(target, "/one")]) as world,
        alert_world(database, [webhook(target, "/two")]) as other,
    ):
        await world.hear("fired", "10:00")
        assert world.deliveries() == [("webhook", "fired", "pending", 1)]
        await other.hear("fired", "10:01")
        assert other.deliveries() == [("webhook", "fired", "sent", 1)]
        world.now_ms = at("10:59:59")
        assert await world.send_due() == 0
        world.now_ms = at("11:00")
        assert await world.send_due() == 1


async def test_messages_of_a_project_hold_up_no_other_on_their_host(database: str) -> None:
    """However many wait for a receiver that hangs: four of each project go to a host at once."""
    async with (
        receiver(OK) as target,
        alert_world(database, [webhook(target, "/one")]) as world,
        alert_world(database, [webhook(target, "/two")]) as other,
    ):
        many = [world.transition("fired", "10:00", group={"path": f"/{n}"}) for n in range(9)]
        world.take(*many)
        assert len(world.queue.claim(world.now_ms, 64)) == 4
        other.take(other.transition("fired", "10:00"))
        (claimed,) = world.queue.claim(world.now_ms, 64)
        assert claimed.rule_id == other.rule_id


async def test_a_burst_within_an_outage_switches_nothing_off(database: str) -> None:
    """Thirty failures within a minute are an outage, not a receiver that is gone."""
    async with receiver(Answer(404)) as target, alert_world(database, [webhook(target)]) as world:
        for second in range(30):
            await world.hear("fired", f"10:00:{second:02}", group={"path": f"/{second}"})
        assert len(target.received) == 30
        assert world.rows("SELECT * FROM alert_channels WHERE disabled_at IS NOT NULL "
                          "AND rule_id = %s", world.rule_id) == []  # fmt: skip


async def test_a_target_that_is_gone_is_switched_off_at_once(database: str) -> None:
    """410."""
    async with receiver(Answer(410)) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:00")
        await world.hear("fired", "10:20")
        assert len(target.received) == 1
        assert [status for *_, status, _ in world.deliveries()] == ["failed", "cancelled"]


async def test_an_old_secret_ends_by_itself(database: str) -> None:
    """Until then both sign, from then on the new one alone; nobody has to think of it."""
    old, new = SECRET, "whsec_" + "B" * 43 + "="
    async with receiver(OK) as target:
        hook = webhook(target, secrets=[new, old], old_secret_until="2026-01-31T10:30:00+00:00")
        async with alert_world(database, [hook], cooldown_mins=0) as world:
            for when in ("10:29:59", "10:30"):
                await world.hear("fired", when, group={"path": f"/{when}"})
    before, after = (got.headers["x-gosight-signature"].split(",") for got in target.received)
    at_s = [int(got.headers["x-gosight-timestamp"]) for got in target.received]
    bodies = [got.body for got in target.received]
    assert before == [own_signature(secret, at_s[0], bodies[0]) for secret in (new, old)]
    assert after == [own_signature(new, at_s[1], bodies[1])]


async def test_a_target_that_hangs_holds_up_itself_only(database: str) -> None:
    """Others are delivered while it is waited for, and it is tried again."""
    async with (
        receiver(HANG) as hanging,
        receiver(OK) as target,
        alert_world(database, [webhook(hanging), webhook(target)], timeout_s=0.3) as world,
    ):
        await world.hear("fired", "10:00")
        assert world.deliveries() == [
            ("webhook", "fired", "pending", 1),
            ("webhook", "fired", "sent", 1),
        ]
        assert world.history()[0]["notification_error"] == "webhook: no answer in time"


async def test_private_targets_are_not_connected_to(database: str) -> None:
    """A rule that names one fails for good, and history says why."""
    bad = {"type": "webhook", "url": "https://169.254.169.254/latest/meta-data"}
    async with alert_world(database, [bad]) as world:
        await world.hear("fired", "10:00")
        assert world.deliveries() == [("webhook", "fired", "failed", 1)]
        assert "not a public address" in world.history()[0]["notification_error"]


async def test_holding_back_is_in_the_history(database: str) -> None:
    """Held and released: a row with its end, and no message."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("held", "10:00", value=None, held_for_ms=400_000, severity="")
        await world.hear("released", "10:05", "10:00", value=None, severity="")
        (row,) = world.history()
        assert (row["kind"], row["metric_value"]) == ("held", None)
        assert row["resolved_at"] == time_of(at("10:05"))
        assert row["context"]["held_for_ms"] == 400_000
        assert target.received == []


async def test_late_ones_are_marked(database: str) -> None:
    """In the history, in the text and in the document."""
    async with receiver(BOT_OK) as bot, receiver(OK) as target:
        channels = [telegram(), webhook(target)]
        async with alert_world(database, channels, bot_url=bot.url) as world:
            world.now_ms = at("11:00")
            world.take(world.transition("fired", "10:01", is_late=True))
            await world.send_due()
            assert world.history()[0]["is_late"] is True
    assert "⏳ <b>Late:</b> told 59 min after" in bot.received[0].document["text"]
    assert target.received[0].document["alert"]["is_late"] is True


async def test_what_delivery_itself_took_late_is_marked(database: str) -> None:
    """It was down for an hour: what it finds in the topic did not happen just now."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        world.now_ms = at("11:00")
        world.take(world.transition("fired", "10:00", group={"path": "/then"}))
        world.take(world.transition("fired", "10:58:50", group={"path": "/now"}))
        await world.send_due()
    told = {got.document["alert"]["group"]["path"]: got for got in target.received}
    late = {path: got.document["alert"]["is_late"] for path, got in told.items()}
    assert late == {"/then": True, "/now": False}


@pytest.mark.parametrize(
    ("zone", "told"),
    [("Europe/Oslo", "11:00:00 CET"), ("Mars/Base", "10:00:00 UTC"), ("../x", "10:00:00 UTC")],
)
async def test_people_are_told_the_time_of_their_project(
    database: str, zone: str, told: str
) -> None:
    """Programs get it as UTC; a zone that nobody knows is no reason to say nothing."""
    async with (
        receiver(BOT_OK) as bot,
        receiver(OK) as target,
        alert_world(database, [telegram(), webhook(target)], bot_url=bot.url) as world,
    ):
        world.rows(
            "UPDATE projects SET settings = %s WHERE id = %s RETURNING id",
            Jsonb({"timezone": zone}),
            world.project_id,
        )
        await world.hear("fired", "10:00")
    assert f"<b>Time:</b> {told}" in bot.received[0].document["text"]
    assert target.received[0].document["alert"]["at"] == "2026-01-31T10:00:00.000Z"


async def test_what_is_old_is_forgotten(database: str) -> None:
    """History after a year with its deliveries, states of groups after a week."""
    async with receiver(OK) as target, alert_world(database, [webhook(target)]) as world:
        await world.hear("fired", "10:00")
        world.outbox.purge(at("10:00") + 6 * 24 * HOUR)
        count = "SELECT * FROM alert_states WHERE rule_id = %s"
        assert len(world.rows(count, world.rule_id)) == 1
        world.outbox.purge(at("10:00") + 8 * 24 * HOUR)
        assert world.rows(count, world.rule_id) == []
        assert len(world.history()) == 1
        world.outbox.purge(at("10:00") + 366 * 24 * HOUR)
        assert world.history() == []
        assert world.deliveries() == []
