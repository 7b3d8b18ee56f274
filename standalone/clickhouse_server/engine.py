"""The embedded engine: one data directory, one connection per request.

In: a statement or an INSERT's head and data, with its database, settings and parameters. Out: bytes
in the asked format, or an `EngineError`. Guarantees: settings of one request never reach another
(each request has a connection of its own, which costs a tenth of a millisecond); requests of
several threads run side by side; a failed or cancelled INSERT leaves nothing behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chdb.state.sqlitelike import Connection, connect

from standalone.clickhouse_server import errors
from standalone.clickhouse_server.errors import EngineError
from standalone.clickhouse_server.statements import InsertHead, Statement

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Formats whose pieces, put together, are the same bytes as the whole; others have a frame.
_STREAMED_FORMATS = frozenset({"Native", "TabSeparated", "TSV", "JSONEachRow", "RowBinary", "CSV"})

# A server's default of max_insert_block_size.
_INSERT_BLOCK_ROWS = "1048449"

# Server settings that keep an engine beside three other servers modest. Source: measured on two
# cores; ClickHouse, "Using ClickHouse in low-memory environments".
_SERVER_SETTINGS = {
    "mark_cache_size": 268_435_456,
    "uncompressed_cache_size": 0,
    "background_pool_size": 4,
    "background_schedule_pool_size": 16,
    "background_common_pool_size": 2,
    "background_move_pool_size": 1,
    "background_fetches_pool_size": 1,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What surrounds a statement: database, settings, typed parameters.

    `settings` keep their order; `parameters` are the texts of `param_NAME`; `query_id` is stored as
    `log_comment`, where system.processes and KILL QUERY can find it.
    """

    query_id: str
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole result and its counts."""

    body: bytes
    rows_read: int
    bytes_read: int
    rows_written: int
    bytes_written: int
    elapsed_s: float


class Stream:
    """A result that is read piece by piece from its own connection; close it in any case."""

    def __init__(self, connection: Connection, result: Any) -> None:
        self._connection = connection
        self._result = result
        self._is_closed = False
        self.rows = 0

    def fill(self, bytes_min: int) -> tuple[bytes, bool]:
        """Fetch until there are `bytes_min` bytes or the end; True means the end.

        Raises:
            EngineError: the statement failed.
        """
        filled = bytearray()
        while len(filled) < bytes_min:
            piece = self.fetch()
            if not piece:
                return bytes(filled), True
            filled += piece
        return bytes(filled), False

    def fetch(self) -> bytes:
        """The next piece; empty at the end.

        Raises:
            EngineError: the statement failed.
        """
        try:
            piece = self._result.fetch()
        except Exception as error:
            raise EngineError(str(error)) from None
        if piece is None:
            return b""
        self.rows += int(piece.rows_read())
        return bytes(piece.bytes())

    def close(self) -> None:
        """End the statement if it still runs, and release the connection; twice does no harm."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._result.close()
        finally:
            self._connection.close()


class Engine:
    """The engine of one data directory; at most one in a process."""

    def __init__(self, data_dir: Path, memory_bytes_max: int) -> None:
        options = {"max_server_memory_usage": memory_bytes_max, **_SERVER_SETTINGS}
        query = "&".join(f"{name}={value}" for name, value in options.items())
        self._url = str(data_dir)
        # The first connection carries the engine's settings and keeps it open.
        self._first = connect(f"{data_dir}?{query}")
        about = _run(self._first, "SELECT version(), timezone()", "TSV").bytes().decode().split()
        self.version, self.timezone = about

    def close(self) -> None:
        """Shut the engine down; no request may be running."""
        self._first.close()

    def execute(self, statement: Statement, default_format: str, scope: Scope) -> Answer:
        """Run a complete statement and return its whole result.

        Raises:
            EngineError: the statement failed.
        """
        with self._connection(scope) as connection:
            result = _run(connection, statement.text, default_format, dict(scope.parameters))
            return Answer(
                bytes(result.bytes()),
                rows_read=result.storage_rows_read() or result.rows_read(),
                bytes_read=result.storage_bytes_read() or result.bytes_read(),
                rows_written=result.rows_written(),
                bytes_written=result.bytes_written(),
                elapsed_s=result.elapsed(),
            )

    def stream(self, statement: Statement, default_format: str, scope: Scope) -> Stream:
        """Start a SELECT whose result is fetched piece by piece.

        Raises:
            EngineError: the statement was refused.
        """
        connection = self._open(scope)
        try:
            result: Any = connection.send_query(
                statement.text, default_format, params=dict(scope.parameters)
            )
        except Exception as error:
            connection.close()
            raise EngineError(str(error)) from None
        return Stream(connection, result)

    def insert(self, head: InsertHead, data: bytes, scope: Scope) -> Answer:
        """Insert rows given in the head's format.

        Raises:
            EngineError: nothing was inserted.
        """
        with self._connection(scope) as connection:
            if not data:
                return _finish_empty(connection, head)
            # A row format must not be cut into more blocks than a server would make of it.
            rows = scope.settings.get("max_insert_block_size", _INSERT_BLOCK_ROWS)
            _run(
                connection,
                _set_statement({"max_block_size": rows, "input_format_parallel_parsing": "0"}),
                "TSV",
            )
            with _memory_file(data) as path:
                result = _run(
                    connection,
                    f"{head.text} FROM INFILE '{path}' COMPRESSION 'none' {head.settings} "
                    f"FORMAT {_quote_name(head.format)}",
                    "TSV",
                )
            return Answer(
                b"", 0, 0, result.rows_written(), result.bytes_written(), result.elapsed()
            )

    def cancel(self, query_id: str) -> None:
        """Stop the statements of one request, if they still run."""
        quoted = _quote(query_id)
        _run(self._first, f"KILL QUERY WHERE Settings['log_comment'] = {quoted} ASYNC", "TSV")

    @contextmanager
    def _connection(self, scope: Scope) -> Iterator[Connection]:
        connection = self._open(scope)
        try:
            yield connection
        finally:
            connection.close()

    def _open(self, scope: Scope) -> Connection:
        connection = connect(self._url)
        try:
            settings = {"log_comment": scope.query_id, **scope.settings}
            # After readonly nothing else may be set.
            readonly = settings.pop("readonly", None)
            if scope.database:
                _run(connection, f"USE {_quote_name(scope.database)}", "TSV")
            _run(connection, _set_statement(settings), "TSV")
            if readonly is not None:
                _run(connection, _set_statement({"readonly": readonly}), "TSV")
        except BaseException:
            connection.close()
            raise
        return connection


def can_stream(statement: Statement, format_name: str, scope: Scope) -> bool:
    """May this statement's result be sent in pieces?"""
    is_extended = scope.settings.get("extremes", "0") not in ("0", "false")
    return statement.is_plain_select and format_name in _STREAMED_FORMATS and not is_extended


def _finish_empty(connection: Connection, head: InsertHead) -> Answer:
    """An INSERT without data: the table and the format are checked, nothing is written."""
    try:
        inserter: Any = connection.send_insert(f"{head.text} {head.settings}", head.format)
        with inserter:
            inserter.finish()
    except RuntimeError as error:
        raise EngineError(str(error)) from None
    return Answer(b"", 0, 0, 0, 0, 0.0)


@contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """A file that is only in memory, as a path.

    The engine's streaming insert takes the data as they are, but tells nothing of what goes wrong
    once they are parsed: a full disk, or a view that fails, is acknowledged. A statement that reads
    them from a file fails as it should.
    """
    descriptor = os.memfd_create("insert")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _run(
    connection: Connection, text: str, format_name: str, parameters: dict[str, str] | None = None
) -> Any:
    try:
        return connection.query(text, format_name, params=parameters)
    except Exception as error:
        raise EngineError(str(error)) from None


def _set_statement(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise EngineError.make(
                errors.UNKNOWN_SETTING, f"Setting {name!r} is not a name", "UNKNOWN_SETTING"
            )
    return "SET " + ", ".join(f"{name} = {_quote(value)}" for name, value in settings.items())


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _quote_name(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
