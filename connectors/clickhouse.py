"""ClickHouse over its HTTP interface.

Errors are sorted once: what may pass (server away, time-outs, too many parts, memory) raises
`RetryableError`, what will not (unknown column, bad credentials) raises `FatalError`.
Inserts go as Arrow streams with a deduplication token, so that a repeated insert changes neither
the table nor what its views write.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from prometheus_client import Counter, Histogram

from connectors.errors import ConnectorError, FatalError, RetryableError

# Codes that time or another node can heal. Source: ClickHouse's ErrorCodes.cpp.
_PASSING_CODES = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY (a replica that lost its coordination service)
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED (the server is shutting down)
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        735,  # QUERY_WAS_CANCELLED_BY_CLIENT
        999,  # KEEPER_EXCEPTION
    }
)
_CODE = re.compile(r"Code: (\d+)")

INSERTED_ROWS = Counter(
    "gosight_clickhouse_insert_rows_total", "Rows inserted and confirmed.", ["table"]
)
INSERT_FAILURES = Counter(
    "gosight_clickhouse_insert_failures_total",
    "Inserts that failed, by whether trying again can help.",
    ["table", "kind"],
)
INSERT_SECONDS = Histogram(
    "gosight_clickhouse_insert_duration_seconds", "Time of one confirmed insert.", ["table"]
)


def connect(
    url: str, *, compress: bool = False, timeout_s: float = 60.0, connect_timeout_s: float = 5.0
) -> Client:
    """A client for `http(s)://user:password@host:port/database`.

    Raises:
        RetryableError: the server does not answer.
        FatalError: the URL or the credentials are wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise FatalError("CLICKHOUSE_URL must look like http://user:password@host:8123/database")
    try:
        return clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/") or "default",
            compress=compress,
            send_receive_timeout=int(timeout_s),
            connect_timeout=connect_timeout_s,
            autogenerate_session_id=False,
            query_retries=0,
        )
    except ClickHouseError as error:
        raise sorted_error(error) from error


def sorted_error(error: Exception) -> ConnectorError:
    """Tell a passing trouble from a lasting one; the text never holds values of rows."""
    found = _CODE.search(str(error))
    if found is None:
        return RetryableError(f"ClickHouse does not answer: {type(error).__name__}")
    code = int(found.group(1))
    text = str(error)[:300]
    return RetryableError(text) if code in _PASSING_CODES else FatalError(text)


def arrow_stream(table: pa.Table) -> pa.Buffer:
    """The table in the Arrow IPC stream format, as one record batch.

    ClickHouse makes a block of each record batch: with one part and one run of every view for each,
    the chunks of a table that was put together would cost a hundred times what one block costs.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.unify_dictionaries().combine_chunks())
    return sink.getvalue()


def insert_arrow(client: Client, table: str, rows: pa.Table, token: str) -> None:
    """Insert all rows as one block; a token seen before inserts nothing, here and in the views.

    Raises:
        RetryableError: it is not known whether the rows are in; insert again with the same token.
        FatalError: the rows do not fit the table.
    """
    if rows.num_rows == 0:
        return
    started = time.perf_counter()
    try:
        client.raw_insert(
            table,
            column_names=rows.column_names,
            insert_block=arrow_stream(rows).to_pybytes(),
            fmt="ArrowStream",
            settings={
                "insert_deduplication_token": token,
                "deduplicate_blocks_in_dependent_materialized_views": 1,
                "max_insert_block_size": 10_000_000,
                "min_insert_block_size_rows": 0,
                "min_insert_block_size_bytes": 0,
                "async_insert": 0,
                # Merging each block while it is inserted costs more than the insert itself.
                "optimize_on_insert": 0,
                "insert_deduplicate": 1,
            },
        )
    except (ClickHouseError, OSError) as error:
        found = sorted_error(error)
        kind = "retryable" if isinstance(found, RetryableError) else "fatal"
        INSERT_FAILURES.labels(table, kind).inc()
        raise found from error
    INSERTED_ROWS.labels(table).inc(rows.num_rows)
    INSERT_SECONDS.labels(table).observe(time.perf_counter() - started)


def query_rows(
    client: Client, sql: str, parameters: Mapping[str, Any] | None = None
) -> Sequence[Sequence[Any]]:
    """Rows of a read query.

    Raises:
        RetryableError: the server does not answer or is overloaded.
        FatalError: the query is wrong.
    """
    try:
        return client.query(sql, parameters=dict(parameters or {})).result_rows
    except (ClickHouseError, OSError) as error:
        raise sorted_error(error) from error
