"""What changes in PostgreSQL, read again and again by a thread of its own.

In: `_read_changes` of a subclass. Out: what it read stays at hand; while PostgreSQL is away, what
was known last. Not older than some seconds.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from prometheus_client import Counter

from connectors.errors import RetryableError
from connectors.telemetry import get_logger

REFRESH_S = 2.0
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 3_000
# A transaction may commit after a later one: what changed lately is read again.
OVERLAP = timedelta(seconds=30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresChanges(ABC):
    """`start` once. `name` is that of its thread and connection, `what` is said to be missing.

    `reads` counts attempts by outcome; a failed one is the line `failed_event` in the log.
    """

    def __init__(
        self, database_url: str, name: str, what: str, reads: Counter, failed_event: str
    ) -> None:
        self._database_url = database_url
        self._name = name
        self._what = what
        self._reads = reads
        self._failed_event = failed_event
        self._since = EPOCH  # The latest change that was read.
        self._connection: psycopg.Connection[Any] | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read all, and keep reading what changes.

        Raises:
            RetryableError: PostgreSQL does not answer.
        """
        try:
            self.refresh()
        except psycopg.Error as error:
            self._disconnect()
            raise RetryableError(f"no {self._what}: PostgreSQL does not answer: {error}") from error
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=CONNECT_TIMEOUT_S)
        self._disconnect()

    def refresh(self) -> None:
        """Read what has changed.

        Raises:
            psycopg.Error: PostgreSQL does not answer.
        """
        since = self._since - OVERLAP if self._since > EPOCH else self._since
        self._read_changes(self._connection or self._connect(), since)

    @abstractmethod
    def _read_changes(self, connection: psycopg.Connection[Any], since: datetime) -> None:
        """Read what has changed since then; move `_since` on.

        Raises:
            psycopg.Error: PostgreSQL does not answer.
        """

    def _run(self) -> None:
        while not self._closing.wait(REFRESH_S):
            try:
                self.refresh()
            except psycopg.Error as error:
                self._reads.labels("failed").inc()
                get_logger().warning(self._failed_event, reason=type(error).__name__)
                self._disconnect()
            else:
                self._reads.labels("read").inc()

    def _connect(self) -> psycopg.Connection[Any]:
        self._connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            application_name=f"gosight {self._name}",
        )
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
