"""What the outbox and the queue of alerts share of PostgreSQL: a connection, rules, inserts.

Each caller has a connection of its own and is one thread. A connection that failed is closed and
made anew by the next call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.errors import CheckViolation, NotNullViolation, ProgramLimitExceeded
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from connectors.errors import RetryableError, UnstorableError
from connectors.telemetry import get_logger
from schemas.alert_delivery import NewDelivery
from schemas.alert_rules import AlertRule, RuleError, read_rule
from schemas.time_zones import is_time_zone

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 10_000
RULE_COLUMNS = (
    "id", "project_id", "name", "condition_type", "condition", "channels", "cooldown_mins",
    "is_active", "updated_at", "muted_until", "runbook_url",
)  # fmt: skip

# What PostgreSQL refuses for a value: out of range, too long to be indexed, against a condition.
UNSTORABLE = (psycopg.DataError, ProgramLimitExceeded, CheckViolation, NotNullViolation)

Connection = psycopg.Connection[dict[str, Any]]

_ADD_DELIVERY = """
INSERT INTO alert_deliveries (id, history_id, alert_id, rule_id, scope, channel_key, channel_type,
    lane, kind, message, next_attempt_at, created_at)
VALUES (%(delivery_id)s, %(history_id)s, %(alert_id)s, %(rule_id)s, %(scope)s,
    %(channel_key)s, %(channel_type)s, %(lane)s, %(kind)s, %(message)s, %(at)s, %(at)s)
ON CONFLICT (id) DO NOTHING
"""


class AlertDatabase:
    """A connection whose transactions are whole or nothing; one thread uses it."""

    def __init__(self, database_url: str, name: str, first: str = "") -> None:
        """`first` is said on each new connection."""
        self._database_url = database_url
        self._name = name
        self._first = first
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of it or nothing.

        Raises:
            UnstorableError: a value is one that the tables cannot hold.
            RetryableError: PostgreSQL does not answer, or another change came in between.
        """
        try:
            connection = self._connection or self._connect()
            with connection.transaction():
                yield connection
        except UNSTORABLE as error:
            # Its text may say the value.
            raise UnstorableError(f"PostgreSQL cannot hold it: {type(error).__name__}") from error
        except psycopg.Error as error:
            self.close()
            raise RetryableError(f"PostgreSQL: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Give the connection back; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> Connection:
        connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            application_name=f"gosight {self._name}",
            row_factory=dict_row,
        )
        if self._first:
            connection.execute(self._first.encode())
        self._connection = connection
        return connection


def rule_of(row: dict[str, Any]) -> AlertRule | None:
    """The rule of a row; None if it cannot be read, which is logged without its content."""
    try:
        return read_rule({name: row[name] for name in RULE_COLUMNS})
    except RuleError as error:
        get_logger().warning("alert_rule_unreadable", rule_id=str(row["id"]), key=error.key)
        return None


def zone_of(name: str | None) -> tzinfo:
    """The zone of this name; UTC where a project has none that anybody knows."""
    return ZoneInfo(name) if name and is_time_zone(name) else UTC


def add_deliveries(connection: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Put messages into the outbox; those that are there stay as they are."""
    if not deliveries:
        return
    connection.cursor().executemany(
        _ADD_DELIVERY,
        [
            {
                "delivery_id": delivery.delivery_id,
                "history_id": delivery.history_id,
                "alert_id": delivery.alert_id,
                "rule_id": delivery.rule_id,
                "scope": delivery.scope,
                "channel_key": delivery.channel_key,
                "channel_type": delivery.channel_type,
                "lane": delivery.lane,
                "kind": delivery.kind.value,
                "message": Jsonb(delivery.message),
                "at": time_of(delivery.created_at_ms),
            }
            for delivery in deliveries
        ],
    )


def time_of(at_ms: int) -> datetime | None:
    """A time for PostgreSQL; 0 is none."""
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms else None


def ms_of(at: datetime | None) -> int:
    """The same back."""
    return round(at.timestamp() * 1000) if at is not None else 0
