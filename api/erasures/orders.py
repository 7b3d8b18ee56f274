"""What is to be exported and erased, and who is at it: rows of PostgreSQL, taken under a lease.

In: the tables `visitor_requests` and `project_erasures`. Out: one `Order` at a time, which nobody
else has while its lease lasts. Each step is noted only while the lease is still one's own, so that
a worker that was away for too long changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from connectors.errors import RetryableError

EXPORT_KEPT_S = 86_400  # Source: privacy.md, section 9.
EXPORT_STEPS = ("collect", "write")
ERASURE_STEPS = (
    "suppress",
    "collect",
    "replay_chunks",
    "insights",
    "events",
    "sessions",
    "identities",
    "ledger",
    "aggregates",
    "redis",
    "postgresql",
)
PAUSE_S_MAX = 300
ATTEMPT_PAUSE_S = 2


class LostLeaseError(RetryableError):
    """Another worker has the order by now."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A table of orders and the column that names one."""

    table: str
    key: str


VISITORS = Queue("visitor_requests", "id")
PROJECTS = Queue("project_erasures", "project_id")


@dataclass(slots=True)
class Order:
    """One order; `work` holds what later steps need, `step` is the last one that is done."""

    queue: Queue
    key: str
    project_id: str
    kind: str
    subject: str
    subject_hash: str
    sequence: int
    requested_at: datetime
    step: str = ""
    work: dict[str, Any] = field(default_factory=dict)


class Orders:
    """Orders as one worker sees them; for one thread, but for `renew`."""

    def __init__(self, database_url: str, worker_id: str, lease_s: float) -> None:
        self._database_url = database_url
        self._worker_id = worker_id
        self._lease_s = lease_s

    def take(self) -> Order | None:
        """The oldest order that nobody is at, which is one's own from now on."""
        for queue in (PROJECTS, VISITORS):
            rows = self._run(
                f"UPDATE {queue.table} SET leased_by = %(me)s, attempts = attempts + 1, "
                "leased_until = now() + make_interval(secs => %(lease)s) "
                f"WHERE {queue.key} = (SELECT {queue.key} FROM {queue.table} "
                "WHERE finished_at IS NULL AND (leased_until IS NULL OR leased_until < now()) "
                "ORDER BY requested_at FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *",
                {},
            )
            if rows:
                return _order(queue, rows[0])
        return None

    def renew(self, order: Order) -> None:
        """Keep the order.

        Raises:
            LostLeaseError: somebody else has it.
        """
        self._own(order, "leased_until = now() + make_interval(secs => %(lease)s)", {})

    def note(self, order: Order, step: str) -> None:
        """A step is done, and `work` is what the next ones need.

        Raises:
            LostLeaseError: somebody else has the order.
        """
        values = {"step": step, "work": Jsonb(order.work)}
        self._own(
            order,
            "step = %(step)s, work = %(work)s, last_error = NULL, "
            "leased_until = now() + make_interval(secs => %(lease)s)",
            values,
        )
        order.step = step

    def finish(self, order: Order, receipt: Mapping[str, Any]) -> None:
        """All is done: the receipt stays, and no id.

        Raises:
            LostLeaseError: somebody else has the order.
        """
        cleared = ", subject = NULL" if order.queue is VISITORS else ""
        self._own(
            order,
            "finished_at = now(), step = 'finished', work = '{}', leased_by = NULL, "
            f"leased_until = NULL, last_error = NULL, receipt = %(receipt)s{cleared}",
            {"receipt": Jsonb(dict(receipt))},
        )

    def put_back(self, order: Order, reason: str) -> None:
        """It did not work this time: again later, after a growing pause."""
        self._run(
            f"UPDATE {order.queue.table} SET leased_by = NULL, last_error = %(reason)s, "
            "leased_until = now() + make_interval(secs => least(%(pause)s * attempts, %(max)s)) "
            f"WHERE {order.queue.key} = %(key)s AND leased_by = %(me)s RETURNING 1 AS done",
            {
                "reason": reason,
                "key": order.key,
                "pause": ATTEMPT_PAUSE_S,
                "max": PAUSE_S_MAX,
            },
        )

    def transact(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Several changes in one transaction; how many rows each changed."""
        try:
            with psycopg.connect(self._database_url, connect_timeout=5) as connection:
                return [
                    connection.execute(text.encode(), values).rowcount
                    for text, values in statements
                ]
        except psycopg.Error as error:
            raise RetryableError(f"PostgreSQL: {type(error).__name__}") from error

    def rows(self, query: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        """Rows of a query."""
        return self._run(query, values)

    def _own(self, order: Order, changes: str, values: Mapping[str, Any]) -> None:
        rows = self._run(
            f"UPDATE {order.queue.table} SET {changes} WHERE {order.queue.key} = %(key)s "
            "AND leased_by = %(me)s AND finished_at IS NULL RETURNING 1 AS done",
            {**values, "key": order.key},
        )
        if not rows:
            raise LostLeaseError("another worker is at it")

    def _run(self, query: str, values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        try:
            with (
                psycopg.connect(
                    self._database_url, autocommit=True, connect_timeout=5, row_factory=dict_row
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(
                    query.encode(), {**values, "me": self._worker_id, "lease": self._lease_s}
                )
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise RetryableError(f"PostgreSQL: {type(error).__name__}") from error


def _order(queue: Queue, row: Mapping[str, Any]) -> Order:
    return Order(
        queue,
        str(row[queue.key]),
        str(row["project_id"]),
        row.get("kind", "project"),
        row.get("subject") or "",
        row.get("subject_hash", ""),
        row.get("sequence", 0),
        row["requested_at"],
        row["step"],
        dict(row["work"]),
    )
