"""Who may write a partition: at most one process at a time, kept by PostgreSQL.

In: a group and its partitions. Out: a held `Lease`, or a refusal that names the partition. Two
processes that write the same partition would cut it into different blocks, and views and ledger
would count its events twice. The lock belongs to a database session, so it ends with its process,
however that ends. While PostgreSQL is away nobody can take a lease over, so its holder goes on;
when PostgreSQL is back the holder takes its leases again, or stops if somebody else was faster. It
guards against mistakes of deployment, not against a network that cuts only one of two processes
off: for two pings both could write then.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence

import psycopg
from prometheus_client import Gauge

from connectors.errors import FatalError, RetryableError
from connectors.telemetry import get_logger

PING_S = 5.0
CONNECT_TIMEOUT_S = 5

LEASE_HELD = Gauge(
    "gosight_flow_lease_held", "1 while the leases of this process are confirmed.", ["group"]
)


class Lease:
    """Leases of one group's partitions, given as `topic:partition`."""

    def __init__(self, database_url: str, group: str, parts: Sequence[str]) -> None:
        self._database_url = database_url
        self._group = group
        self._parts = list(parts)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._closing = threading.Event()
        self.lost = threading.Event()  # Somebody else has a lease that was ours: stop at once.

    def acquire(self, wait_s: float) -> None:
        """Take all leases, waiting for holders that are just ending.

        Raises:
            FatalError: another process keeps a lease for longer than `wait_s`.
            RetryableError: PostgreSQL does not answer.
        """
        deadline = time.monotonic() + wait_s
        while (taken := self._try_acquire()) is not None:
            if time.monotonic() >= deadline:
                raise FatalError(
                    f"another process of group {self._group} writes {taken}; give each process a "
                    "PARTITION_SHARE of its own, or stop the other one"
                )
            time.sleep(0.5)
        LEASE_HELD.labels(self._group).set(1)
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def close(self) -> None:
        """Give all leases back."""
        self._closing.set()
        self._disconnect()

    def _try_acquire(self) -> str | None:
        """None when all are held, else the first part that another process holds."""
        self._disconnect()
        try:
            connection = psycopg.connect(
                self._database_url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name=f"gosight lease {self._group}",
            )
            for part in self._parts:
                row = connection.execute(
                    "SELECT pg_try_advisory_lock(%s)", (lock_key(self._group, part),)
                ).fetchone()
                if row is None or row[0] is not True:
                    connection.close()
                    return part
        except psycopg.Error as error:
            raise RetryableError(f"no lease: PostgreSQL does not answer: {error}") from error
        self._connection = connection
        return None

    def _watch(self) -> None:
        while not self._closing.wait(PING_S):
            try:
                if self._connection is not None:
                    self._connection.execute("SELECT 1")
                    continue
                taken = self._try_acquire()
            except (psycopg.Error, RetryableError) as error:
                if self._connection is not None:
                    get_logger().warning("lease_unconfirmed", reason=type(error).__name__)
                LEASE_HELD.labels(self._group).set(0)
                self._disconnect()
                continue
            if taken is not None:
                get_logger().error("lease_lost", part=taken)
                self.lost.set()
                return
            LEASE_HELD.labels(self._group).set(1)
            get_logger().info("lease_confirmed_again")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def lock_key(group: str, part: str) -> int:
    """The number PostgreSQL knows a lease by: 63 bits of a hash."""
    digest = hashlib.sha256(f"gosight lease {group} {part}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
