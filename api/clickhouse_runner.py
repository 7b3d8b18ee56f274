"""Read queries on ClickHouse from an asynchronous process: a bounded pool of threads.

In: a query's name in `sql/queries` and its parameters. Out: rows as mappings. Each thread has a
client of its own; queries run read-only and end after a time limit. When all threads are busy,
further queries wait in line.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.services import Row
from connectors.clickhouse import connect, sorted_error
from sql.loader import load_query

# A report is a few thousand rows; more is a query gone wrong. Source: api.md, section 10.
RESULT_ROWS_MAX = 1_000_000


class ClickHouseRunner:
    """See `api.services.QueryRunner`. It connects when the first query comes."""

    def __init__(self, url: str, *, threads: int, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")
        self._local = threading.local()
        # Of its own, so that long reports do not look like an outage.
        self._probe_pool = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-probe")
        self._probe_client: Client | None = None

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """See `QueryRunner.rows`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._run, load_query(query), parameters)

    async def check(self) -> None:
        """Raises ConnectorError if ClickHouse does not answer."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._probe_pool, self._ask)

    def close(self) -> None:
        """Let running queries end and stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._probe_pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self) -> None:
        try:
            if self._probe_client is None:
                self._probe_client = connect(self._url, timeout_s=1, connect_timeout_s=1)
            self._probe_client.query("SELECT 1")
        except (ClickHouseError, OSError) as error:
            self._probe_client = None
            raise sorted_error(error) from error

    def _run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        try:
            result = self._client().query(
                sql,
                parameters=dict(parameters),
                settings={
                    "max_execution_time": self._timeout_s,
                    "max_result_rows": RESULT_ROWS_MAX,
                },
            )
        except (ClickHouseError, OSError) as error:
            # The connection may be what is broken: the next query of this thread makes a new one.
            self._local.client = None
            raise sorted_error(error) from error
        return list(result.named_results())

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = connect(self._url, compress=False, timeout_s=self._timeout_s + 5)
            self._local.client = client
        return client
