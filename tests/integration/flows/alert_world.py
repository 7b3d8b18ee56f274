"""The delivery of alerts on a real PostgreSQL and real sockets, at a time that the test says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cli.project_store import connect, create_project
from connectors.alert_outbox import AlertOutbox
from connectors.alert_queue import AlertQueue
from connectors.alert_tables import time_of
from connectors.settings import DeliverySettings
from flows.alert_sender import ChannelSenders, Deliverer
from flows.alert_writer import changes_of
from schemas.v1.alerts_pb2 import AlertTransition
from tests.alert_receivers import TOKEN, Receiver
from tests.alert_transitions import at, make_transition

DASHBOARD = "https://gosight.example.com"
ROUNDS_MAX = 200


def make_rule_row(
    database_url: str, channels: Sequence[dict[str, Any]], **columns: Any
) -> tuple[str, str]:
    """A rule in the table, of a new project: (project_id, rule_id)."""
    with connect(database_url) as connection:
        project_id = str(create_project(connection, f"shop {uuid.uuid4().hex[:8]}").id)
    values = {
        "project_id": project_id,
        "name": "Rage Click Spike",
        "condition": Jsonb(
            {"metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m"}
        ),
        "channels": Jsonb(list(channels)),
        **columns,
    }
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            f"INSERT INTO alert_rules ({names}) VALUES ({marks}) RETURNING id::text".encode(),
            values,
        ).fetchone()
    assert row is not None
    return project_id, row[0]


def telegram(chat_id: str = "-1001") -> dict[str, Any]:
    """A chat."""
    return {"type": "telegram", "chat_id": chat_id}


def webhook(target: Receiver, path: str = "/hook", **keys: Any) -> dict[str, Any]:
    """A receiver."""
    return {"type": "webhook", "url": target.url + path, **keys}


class AlertWorld:
    """One rule, and what becomes of its transitions; `now_ms` moves when it is set."""

    def __init__(
        self, database_url: str, project_id: str, rule_id: str, bot_url: str, timeout_s: float
    ) -> None:
        self.database_url = database_url
        self.project_id = project_id
        self.rule_id = rule_id
        self.now_ms = at("10:00")
        self.outbox = AlertOutbox(database_url)
        self.queue = AlertQueue(database_url)
        self.senders = ChannelSenders(
            DeliverySettings(
                DATABASE_URL=database_url,
                TELEGRAM_BOT_TOKEN=TOKEN,
                TELEGRAM_API_URL=bot_url,
                WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
                DASHBOARD_URL=DASHBOARD,
            ),
            chat_interval_s=0.0,
            timeout_s=timeout_s,
        )

    def transition(
        self, kind: str, when: str, opened: str | None = None, **changes: Any
    ) -> AlertTransition:
        """Of this rule."""
        return make_transition(
            kind,
            at(when),
            at(opened) if opened else None,
            rule_id=self.rule_id,
            project_id=self.project_id,
            **changes,
        )

    def take(self, *transitions: AlertTransition) -> int:
        """Into the outbox, in one step; how many changed something."""
        with self.outbox.step() as step:
            changes = changes_of(step, transitions, DASHBOARD, self.now_ms)
            step.write(changes)
        return len(changes)

    async def send_due(self) -> int:
        """Deliver all that is due now; how many attempts that took."""

        async def ask(call: Callable[[], Any]) -> Any:
            return call()

        deliverer = Deliverer(self.queue, self.senders, ask, lambda: self.now_ms)
        attempts = 0
        for _ in range(ROUNDS_MAX):
            claimed = self.queue.claim(self.now_ms, 64)
            if not claimed:
                return attempts
            attempts += len(claimed)
            await asyncio.gather(*(deliverer.deliver(delivery) for delivery in claimed))
        raise AssertionError("it does not end")

    async def hear(self, kind: str, when: str, opened: str | None = None, **changes: Any) -> None:
        """A transition at its own time, taken and delivered."""
        self.now_ms = at(when)
        self.take(self.transition(kind, when, opened, **changes))
        await self.send_due()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Of the database."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def change_rule(self, **columns: Any) -> None:
        """As a person who saves it, at the time of the test."""
        names = ", ".join(f"{name} = %({name})s" for name in columns)
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                f"UPDATE alert_rules SET {names} WHERE id = %(id)s".encode(),
                {**columns, "id": self.rule_id},
            )

    def history(self) -> list[dict[str, Any]]:
        """Rows of the rule, in order of their time."""
        return self.rows(
            "SELECT * FROM alert_history WHERE rule_id = %s ORDER BY triggered_at", self.rule_id
        )

    def deliveries(self) -> list[tuple[str, str, str, int]]:
        """(channel, kind, status, attempts) of each, in order."""
        return [
            (row["channel_type"], row["kind"], row["status"], row["attempts"])
            for row in self.rows(
                "SELECT * FROM alert_deliveries WHERE rule_id = %s ORDER BY sequence", self.rule_id
            )
        ]

    async def close(self) -> None:
        """Give all back."""
        self.outbox.close()
        self.queue.close()
        await self.senders.close()


@asynccontextmanager
async def alert_world(
    database_url: str,
    channels: Sequence[dict[str, Any]],
    *,
    bot_url: str = "http://127.0.0.1:9",
    timeout_s: float = 5.0,
    **columns: Any,
) -> AsyncIterator[AlertWorld]:
    """A world with one rule, edited last the day before."""
    project_id, rule_id = make_rule_row(
        database_url, channels, updated_at=time_of(at("10:00") - 86_400_000), **columns
    )
    world = AlertWorld(database_url, project_id, rule_id, bot_url, timeout_s)
    try:
        yield world
    finally:
        await world.close()
        # What still waits must not be sent by the next test.
        with psycopg.connect(database_url) as connection:
            connection.execute(b"DELETE FROM alert_history WHERE project_id = %s", (project_id,))
