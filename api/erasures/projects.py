"""One deleted project: all its data erased from every store, step by step.

In: an order of `project_erasures`, whose project is gone from PostgreSQL with all that hung on it.
Out: steps that may be done again. Writers leave out the events of every project in that table, so
that none comes back. What came before the order was written is through when the gate was closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from api.erasures.orders import Order, Orders
from api.erasures.visitors import NOT_REACHED, Step
from connectors.erasing_live import ErasingLive
from connectors.erasing_store import ErasingStore
from connectors.write_gate import closed_gate


class ProjectWork:
    """What is done for orders about projects."""

    def __init__(
        self, database_url: str, orders: Orders, store: ErasingStore, live: ErasingLive
    ) -> None:
        self._database_url = database_url
        self._orders = orders
        self._store = store
        self._live = live

    def steps(self, order: Order) -> Sequence[Step]:
        """All steps of an order."""
        del order
        return [
            ("count", self._count),
            ("redis", self._erase_live),
            ("rows", self._erase_rows),
            ("postgresql", self._erase_rest),
        ]

    def end(self, order: Order) -> None:
        """Note the receipt."""
        names = ("rows", "redis_keys", "postgresql")
        receipt = {
            "project_id": order.project_id,
            "requested_at": order.requested_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **{name: order.work[name] for name in names},
            "not_reached": NOT_REACHED,
        }
        self._orders.finish(order, receipt)

    def _count(self, order: Order) -> None:
        self._orders.transact([("UPDATE erasure_version SET version = version + 1", {})])
        with closed_gate(self._database_url):
            pass
        order.work["rows"] = dict(self._store.project_counts(order.project_id))

    def _erase_live(self, order: Order) -> None:
        sessions = self._store.project_sessions(order.project_id)
        order.work["redis_keys"] = order.work.get("redis_keys", 0) + self._live.erase_project(
            order.project_id, sessions
        )

    def _erase_rows(self, order: Order) -> None:
        self._store.erase_project(order.project_id)

    def _erase_rest(self, order: Order) -> None:
        """Requests of its visitors keep their receipts; the salt and with it all hashes die."""
        where = {"project": order.project_id}
        tables = ("visitor_export_parts", "erased_ids", "erasure_salts")
        found = self._orders.transact(
            [
                (
                    "DELETE FROM visitor_export_parts WHERE request_id IN "
                    "(SELECT id FROM visitor_requests WHERE project_id = %(project)s)",
                    where,
                ),
                ("DELETE FROM erased_ids WHERE project_id = %(project)s", where),
                ("DELETE FROM erasure_salts WHERE project_id = %(project)s", where),
                (
                    "UPDATE visitor_requests SET finished_at = now(), subject = NULL, work = '{}', "
                    'leased_by = NULL, receipt = \'{"error": "the project was deleted"}\' '
                    "WHERE project_id = %(project)s AND finished_at IS NULL",
                    where,
                ),
                ("UPDATE erasure_version SET version = version + 1", {}),
            ]
        )
        earlier = order.work.get("postgresql", {})
        order.work["postgresql"] = {
            table: count + earlier.get(table, 0)
            for table, count in zip(tables, found, strict=False)
        }
