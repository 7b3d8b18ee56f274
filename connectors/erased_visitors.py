"""The list of erased visitors and deleted projects, kept at hand for what only counts.

In: PostgreSQL's list, as the write gate reads it. Out: the list at once, and without asking
anybody; not older than some seconds. A thread of its own reads it again when its version has
changed; while PostgreSQL is away the last known list stays. Who stores rows asks the gate instead.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from prometheus_client import Counter

from connectors.postgres_changes import PostgresChanges
from connectors.write_gate import read_erased
from schemas.erasure import NOBODY, Erased

READS = Counter(
    "gosight_erased_visitors_reads_total",
    "Attempts to read the list of erased visitors, by outcome.",
    ["outcome"],
)

_VERSION = "SELECT version FROM erasure_version"


class ErasedVisitors(PostgresChanges):
    """`start` once."""

    def __init__(self, database_url: str) -> None:
        super().__init__(
            database_url, "erased visitors", "erased visitors", READS, "erased_visitors_not_read"
        )
        self._erased = NOBODY
        self._version: int | None = None

    def known(self) -> Erased:
        """What was erased, as last read; the same object until something changes."""
        return self._erased

    def _read_changes(self, connection: psycopg.Connection[Any], since: datetime) -> None:
        # Before the list: what is added meanwhile is read the next time.
        row = connection.execute(_VERSION).fetchone()
        assert row is not None
        if row[0] != self._version:
            self._erased = read_erased(connection)
            self._version = row[0]
