"""Queries of analysts on ClickHouse, each kept to one project.

Four things stand in the way of everything else, and each would do for most attacks:

1. The text is formatted by ClickHouse (`formatQuery`, as a bound value): one statement, balanced,
   without comments, or an error. Only what it says is used from there on.
2. The tree that ClickHouse makes of it is judged by `api.reads.sql_rules`: lists of what is
   allowed. The tree is asked for in a subquery, where ClickHouse refuses output to files.
3. It runs with `readonly = 1` (no change of data or settings, no tables of files or addresses),
   without the right to settings of its own, under limits of time, memory and rows.
4. It runs with a filter on every table of the database (`additional_table_filters`), which the
   engine applies wherever the table is named, in views and subqueries too: tables that know their
   project show this one's rows, all others none. It does not reach through the table function
   `merge`; table functions are not on the lists of the second step.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.reads.sql_rules import ONLY_SELECT, RefusedSqlError, check_tree
from connectors.clickhouse import connect, sorted_error
from connectors.errors import RetryableError
from sql.loader import load_query

ROWS_MAX = 10_000
TIME_MAX_S = 10
MEMORY_MAX_BYTES = 512 * 1024**2
READ_ROWS_MAX = 500_000_000
RESULT_BYTES_MAX = 64 * 1024**2
AT_ONCE_MAX = 2

_LIMITS: Mapping[str, Any] = {
    "readonly": 1,
    "max_execution_time": TIME_MAX_S,
    "timeout_overflow_mode": "throw",
    "max_memory_usage": MEMORY_MAX_BYTES,
    "max_rows_to_read": READ_ROWS_MAX,
    "max_result_bytes": RESULT_BYTES_MAX,
    "result_overflow_mode": "throw",
    "limit": ROWS_MAX + 1,
    "max_threads": 2,
    "max_ast_depth": 200,
    "max_ast_elements": 5_000,
    "max_expanded_ast_elements": 50_000,
    "max_query_size": 65_536,
    # Each row once, as in all reports.
    "final": 1,
    "do_not_merge_across_partitions_select_final": 1,
}
_CODE = re.compile(r"Code: (\d+)\. DB::Exception: (.*)", re.DOTALL)
_TAIL = re.compile(r"\s*(?:\(version [^)]*\))?\s*(?:\(for url .*)?$", re.DOTALL)
_IN_SCOPE = re.compile(r"(?:: )?In scope .*|: while executing.*|: While .*", re.DOTALL)
_NO_SELECT = "EXPLAIN inside subquery supports only SELECT"
# Passing troubles that are the query's own fault.
_ITS_OWN = {
    159: f"it takes more than {TIME_MAX_S} s",
    160: f"it would take more than {TIME_MAX_S} s",
    241: f"it needs more than {MEMORY_MAX_BYTES // 1024**2} MB of memory",
    158: f"it reads more than {READ_ROWS_MAX:,} rows",
    396: f"its result is larger than {RESULT_BYTES_MAX // 1024**2} MB",
}


@dataclass(frozen=True, slots=True)
class SqlResult:
    """At most ROWS_MAX rows; `is_cut` says that there were more."""

    names: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[Any]]
    is_cut: bool


class SqlRunner(Protocol):
    """Runs the text of a stranger."""

    async def run(self, text: str, project_id: str) -> SqlResult:
        """The result, over rows of this project alone.

        Raises:
            RefusedSqlError: it is not allowed, wrong, or too much.
            RetryableError: ClickHouse is away.
        """


class ClickHouseSqlRunner:
    """`SqlRunner` on threads and connections of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="analyst")
        self._local = threading.local()

    async def run(self, text: str, project_id: str) -> SqlResult:
        """See `SqlRunner.run`."""
        assert str(UUID(project_id)) == project_id  # It becomes part of a setting.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._run, text, project_id)

    def close(self) -> None:
        """Let running queries end and stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, text: str, project_id: str) -> SqlResult:
        plain = str(self._ask(load_query("sql_formatted"), {"text": text})[2][0][0])
        _, _, tables = self._ask(load_query("sql_tables"), {"column": "project_id"})
        check_tree(self._tree(plain), {str(row[1]) for row in tables})
        filters = {
            f"{database}.{table}": f"project_id = '{project_id}'" if has_project else "0"
            for database, table, has_project in tables
        }
        settings = {"additional_table_filters": _map_text(filters)}
        names, types, rows = self._ask(plain, None, settings)
        return SqlResult(names, types, rows[:ROWS_MAX], len(rows) > ROWS_MAX)

    def _tree(self, plain: str) -> Sequence[str]:
        """The lines of a formatted query's tree. Nothing is run for it.

        Raises:
            RefusedSqlError: it is no SELECT, which ClickHouse itself asks of a subquery.
        """
        try:
            # A tree in a subquery needs the mode that may set settings.
            sql = f"SELECT explain FROM (EXPLAIN AST {plain})"
            _, _, lines = self._ask(sql, None, {"readonly": 2})
        except RefusedSqlError as error:
            if _NO_SELECT in str(error):
                raise RefusedSqlError(ONLY_SELECT) from error
            raise
        return [str(line[0]) for line in lines]

    def _ask(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Sequence[str], Sequence[str], Sequence[Sequence[Any]]]:
        try:
            result = self._client().query(
                sql,
                parameters=None if parameters is None else dict(parameters),
                settings={**_LIMITS, **(settings or {})},
            )
        except (ClickHouseError, OSError) as error:
            self._local.client = None
            raise _told(error) from error
        types = [column.name for column in result.column_types]
        return result.column_names, types, result.result_rows

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = connect(self._url, timeout_s=TIME_MAX_S + 5)
            self._local.client = client
        return client


def _told(error: Exception) -> Exception:
    """What a person is told: the engine's words about the query, nothing about the server."""
    found = _CODE.search(str(error))
    if found is None:
        return sorted_error(error)
    code = int(found[1])
    if code in _ITS_OWN:
        return RefusedSqlError(_ITS_OWN[code])
    if isinstance(sorted_error(error), RetryableError) and code != 164:
        return sorted_error(error)
    words = _IN_SCOPE.sub("", _TAIL.sub("", found[2])).strip()
    return RefusedSqlError(words[:300])


def _map_text(values: Mapping[str, str]) -> str:
    """A setting of the type Map, as ClickHouse reads it."""
    pairs = (f"{_quoted(name)}:{_quoted(value)}" for name, value in values.items())
    return "{" + ",".join(pairs) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
