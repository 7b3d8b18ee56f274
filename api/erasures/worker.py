"""The worker: takes orders and does their steps, one after the other, until all are done.

In: orders (`api.erasures.orders`). Out: finished orders with receipts. Guarantees: a process that
dies at any moment is followed by another one, which goes on behind the last step that was noted;
steps may be done twice, one after the other, and give the same; what fails is tried again later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import uuid4

from prometheus_client import Counter, Gauge

from api.erasures.orders import EXPORT_KEPT_S, LostLeaseError, Order, Orders
from api.erasures.projects import ProjectWork
from api.erasures.visitors import VisitorWork
from connectors.erasing_live import ErasingLive
from connectors.erasing_store import ErasingStore
from connectors.errors import ConnectorError
from connectors.telemetry import get_logger

# The longest topic keeps records for 30 days; events more than 7 days old are not taken.
SUPPRESSED_DAYS = 38
AUDIT_DAYS = 730  # Source: privacy.md, section 8.

DONE = Counter("gosight_erasures_orders_total", "Orders by kind and outcome.", ["kind", "outcome"])
STEPS = Counter("gosight_erasures_steps_total", "Steps that are done.", ["kind", "step"])
OPEN = Gauge("gosight_erasures_open_orders", "Orders that are not finished.")
OLDEST = Gauge("gosight_erasures_oldest_order_age_seconds", "Age of the oldest open order.")


class Worker:
    """One worker; `on_step` is told of each step before it begins and before it is noted."""

    def __init__(
        self,
        database_url: str,
        clickhouse_url: str,
        redis_url: str,
        *,
        lease_s: float = 60.0,
        on_step: Callable[[str, str], None] = lambda _step, _moment: None,
    ) -> None:
        self._lease_s = lease_s
        self._on_step = on_step
        self._orders = Orders(database_url, str(uuid4()), lease_s)
        self._store = ErasingStore(clickhouse_url)
        self._live = ErasingLive(redis_url)
        self._visitors = VisitorWork(database_url, self._orders, self._store, self._live)
        self._projects = ProjectWork(database_url, self._orders, self._store, self._live)

    def run_once(self) -> bool:
        """Take one order and do it; False if there is none.

        Raises:
            RetryableError: PostgreSQL is away.
        """
        self._measure()
        order = self._orders.take()
        if order is None:
            return False
        try:
            with _Heart(self._orders, order, self._lease_s):
                self._do(order)
        except LostLeaseError:
            get_logger().warning("erasure_lost", kind=order.kind)
        except ConnectorError as error:
            # What a store says may hold what it was asked: only the kind of fault is told.
            DONE.labels(order.kind, "put_back").inc()
            get_logger().warning("erasure_put_back", kind=order.kind, reason=type(error).__name__)
            self._orders.put_back(
                order, f"{type(error).__name__} after step {order.step or 'none'}"
            )
        except Exception as error:
            # A bug must not stop the others' orders; it is told, and tried again.
            DONE.labels(order.kind, "failed").inc()
            get_logger().exception("erasure_failed", kind=order.kind)
            self._orders.put_back(
                order, f"{type(error).__name__} after step {order.step or 'none'}"
            )
        return True

    def tidy(self) -> None:
        """Files, hashes and lines of the audit log that have had their time.

        Raises:
            RetryableError: PostgreSQL is away.
        """
        self._orders.transact(
            [
                (
                    "DELETE FROM visitor_export_parts WHERE request_id IN (SELECT id "
                    "FROM visitor_requests WHERE kind = 'export' "
                    "AND finished_at < now() - make_interval(secs => %(kept)s))",
                    {"kept": EXPORT_KEPT_S},
                ),
                (
                    "DELETE FROM erased_ids WHERE erased_before < "
                    "now() - make_interval(days => %(days)s)",
                    {"days": SUPPRESSED_DAYS},
                ),
                (
                    "DELETE FROM audit_log WHERE at < now() - make_interval(days => %(days)s)",
                    {"days": AUDIT_DAYS},
                ),
            ]
        )

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
        self._live.close()

    def _do(self, order: Order) -> None:
        work = self._projects if order.kind == "project" else self._visitors
        steps = work.steps(order)
        names = [name for name, _ in steps]
        first = names.index(order.step) + 1 if order.step in names else 0
        for name, call in steps[first:]:
            self._orders.renew(order)
            self._on_step(name, "begin")
            call(order)
            self._on_step(name, "end")
            self._orders.note(order, name)
            STEPS.labels(order.kind, name).inc()
        self._on_step("receipt", "begin")
        work.end(order)
        DONE.labels(order.kind, "done").inc()
        get_logger().info("erasure_done", kind=order.kind)

    def _measure(self) -> None:
        (row,) = self._orders.rows(
            "SELECT count(*) AS open, "
            "coalesce(extract(epoch FROM now() - min(requested_at)), 0)::float8 AS age FROM ("
            "SELECT requested_at FROM visitor_requests WHERE finished_at IS NULL UNION ALL "
            "SELECT requested_at FROM project_erasures WHERE finished_at IS NULL) AS open_orders"
        )
        OPEN.set(row["open"])
        OLDEST.set(row["age"])


class _Heart:
    """Keeps the lease while a step takes long."""

    def __init__(self, orders: Orders, order: Order, lease_s: float) -> None:
        self._orders = orders
        self._order = order
        self._pause_s = lease_s / 4
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    def _beat(self) -> None:
        while not self._ended.wait(self._pause_s):
            try:
                self._orders.renew(self._order)
            except LostLeaseError:
                return  # The next note of a step says so.
            except ConnectorError as error:
                get_logger().warning("lease_not_renewed", reason=str(error))
