"""Where sessions and insights are kept: rows in, one insert a table.

`ResultStore` is the contract, `ClickHouseResultStore` the real one; its in-memory twin is in
`connectors.memory_results`. Both tables keep one row of a key, the one of the highest revision, so
rows may come again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import insert_arrow


class ResultStore(Protocol):
    """What the results flow writes to. Tables without rows do nothing."""

    def insert_sessions(self, rows: pa.Table, token: str) -> None:
        """Rows of `sessions`; stored once with equal tokens.

        Raises:
            RetryableError: it is not known whether the rows are in.
            FatalError: the rows do not fit the table.
        """

    def insert_insights(self, rows: pa.Table, token: str) -> None:
        """Rows of `insights`; as `insert_sessions`."""


class ClickHouseResultStore:
    """Rows in ClickHouse.

    Tokens are made of offsets, which mean other records once a topic was deleted and made anew: so
    those of the topics of `topic_ids` are their own.
    """

    def __init__(self, client: Client, topic_ids: Collection[str] = ()) -> None:
        self._client = client
        self._of = "".join(f" of {topic_id}" for topic_id in topic_ids)

    def insert_sessions(self, rows: pa.Table, token: str) -> None:
        """See `ResultStore.insert_sessions`."""
        insert_arrow(self._client, "sessions", rows, token + self._of)

    def insert_insights(self, rows: pa.Table, token: str) -> None:
        """See `ResultStore.insert_insights`."""
        insert_arrow(self._client, "insights", rows, token + self._of)
