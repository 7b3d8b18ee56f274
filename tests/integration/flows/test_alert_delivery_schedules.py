"""Many ways for alerts, failures and deaths to meet: what people hear keeps its rules in each."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest

from connectors.alert_queue import AlertQueue
from schemas.v1.alerts_pb2 import AlertTransition
from sql.migrate import migrate_up
from tests.alert_receivers import OK, Answer, Received, receiver
from tests.alert_transitions import MINUTE, at, make_transition
from tests.integration.flows.alert_world import AlertWorld, alert_world, webhook
from tests.stack import RunningStack, fresh_databases

SCHEDULES = int(os.environ.get("GOSIGHT_ALERT_SCHEDULES", "8"))
STEPS = 40
GROUPS = ("/a", "/b")
COOLDOWN_MINS = 15


@pytest.fixture(scope="module")
def database(running_stack: RunningStack) -> Iterator[str]:
    """A PostgreSQL with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack.database_url


class Evaluator:
    """Says of each group what can be true next, as the evaluator would."""

    def __init__(self, chance: random.Random, world: AlertWorld) -> None:
        self._chance = chance
        self._world = world
        self._opened: dict[str, int] = {}
        self.said: list[AlertTransition] = []

    def say(self, group: str) -> AlertTransition:
        """The next transition of a group."""
        now_ms = self._world.now_ms
        opened_ms = self._opened.get(group)
        if opened_ms is None:
            kind = "fired"
            self._opened[group] = opened_ms = now_ms
        elif self._chance.random() < 0.6:
            kind = "still_firing"
        else:
            kind = "resolved"
            del self._opened[group]
        made = make_transition(
            kind,
            now_ms,
            opened_ms,
            rule_id=self._world.rule_id,
            project_id=self._world.project_id,
            group={"path": group},
        )
        self.said.append(made)
        return made


def die_while_sending(world: AlertWorld) -> None:
    """A process takes some of what is due, and is gone before or after it has sent it."""
    dead = AlertQueue(world.database_url)
    dead.claim(world.now_ms, 2)
    dead.close()


@pytest.mark.parametrize("number", range(SCHEDULES))
async def test_rules_of_delivery_hold(database: str, number: int) -> None:
    """Order, cooldown, one id a message, and a history that says what arrived."""
    chance = random.Random(number)
    accepted: list[tuple[int, Received]] = []
    async with (
        receiver(OK) as target,
        alert_world(database, [webhook(target)], cooldown_mins=COOLDOWN_MINS) as world,
    ):
        failing = chance.choice((0.0, 0.2, 0.6))

        def answer(got: Received) -> Answer:
            if chance.random() < failing:
                return Answer(500)
            accepted.append((world.now_ms, got))
            return OK

        target.choose = answer
        evaluator = Evaluator(chance, world)
        for _ in range(STEPS):
            world.now_ms += chance.choice((10_000, MINUTE, 4 * MINUTE, 11 * MINUTE))
            batch = [evaluator.say(group) for group in GROUPS if chance.random() < 0.6]
            if chance.random() < 0.3:  # A position that was not noted.
                batch = [*evaluator.said[-chance.randint(1, 6) :], *batch]
                batch = sorted(batch, key=lambda one: one.at_ms)
            world.take(*batch)
            if chance.random() < 0.2:
                die_while_sending(world)
            if chance.random() < 0.8:
                await world.send_due()
        failing = 0.0
        for _ in range(40):
            world.now_ms += 10 * MINUTE
            await world.send_due()
        rows = world.history()
        deliveries = world.rows(
            "SELECT * FROM alert_deliveries WHERE rule_id = %s ORDER BY sequence", world.rule_id
        )
    assert all(row["status"] != "pending" for row in deliveries)
    # Whoever has said 200 is known to have it, and nobody else is.
    ids = Counter(got.headers["webhook-id"] for _, got in accepted)
    assert set(ids) == {str(row["id"]) for row in deliveries if row["status"] == "sent"}
    assert max(ids.values(), default=1) == 1, "no answer was lost here"
    alarms: dict[str, list[int]] = defaultdict(list)
    events: dict[str, list[str]] = defaultdict(list)
    for now_ms, got in accepted:
        alert = got.document["alert"]
        events[alert["alert_id"]].append(got.document["event"])
        if got.document["event"] != "alert.resolved":
            alarms[alert["group"]["path"]].append(now_ms)
    for moments in alarms.values():
        assert all(b - a >= COOLDOWN_MINS * MINUTE for a, b in pairwise(moments))
    for heard in events.values():
        assert heard.count("alert.resolved") <= 1
        assert "alert.resolved" not in heard[:-1], "its end is the last that is heard of an alert"
        assert heard[0] == "alert.triggered"
    fired = {t.alert_id for t in evaluator.said if t.kind == "fired"}
    assert {str(row["alert_id"]) for row in rows} == fired, "each firing is in the history"
    sent_rows = {str(row["history_id"]) for row in deliveries if row["status"] == "sent"}
    for row in rows:
        is_told = str(row["id"]) in sent_rows
        assert row["notification_sent"] == is_told or row["kind"] == "suppressed"
        if row["kind"] == "suppressed":
            assert row["suppressed_by"] == "cooldown"
    assert at("10:00") < world.now_ms
