"""One HTTP request as the statement, the data and the scope that the engine needs.

In: URL parameters, form fields, headers, the unpacked body. Out: `Work`. Guarantees: whatever is
not a word of the interface itself is a setting of this one statement.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from standalone.clickhouse_server import errors
from standalone.clickhouse_server.engine import Scope
from standalone.clickhouse_server.errors import EngineError
from standalone.clickhouse_server.statements import (
    InsertHead,
    Statement,
    StatementError,
    parse,
)

_PARAMETER_PREFIX = "param_"
_DEFAULT_FORMAT = "TabSeparated"
_QUERY_ID_CHARACTERS_MAX = 256

# Words of the HTTP interface that are no settings. Source: ClickHouse, "HTTP interface".
_NOT_SETTINGS = frozenset(
    {
        "query",
        "query_id",
        "database",
        "default_format",
        "user",
        "password",
        "quota_key",
        "role",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "stacktrace",
        "buffer_size",
        "wait_end_of_query",
        "compress",
        "decompress",
        "client_protocol_version",
    }
)


@dataclass(frozen=True, slots=True)
class Work:
    """What one request asks of the engine. `data` belongs to an `InsertHead` only."""

    statement: InsertHead | Statement
    data: bytes
    scope: Scope
    format: str
    is_compressed_allowed: bool


def read_work(
    options: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, is_read_only: bool
) -> Work:
    """Put a request together.

    `is_read_only` is true for GET, which must not change anything.

    Raises:
        EngineError: no statement, two statements, or an option that is not supported.
    """
    for name in ("compress", "decompress"):
        if options.get(name, "0") not in ("0", "false", ""):
            raise EngineError.make(
                errors.NOT_IMPLEMENTED,
                f"{name}=1 (ClickHouse's own block compression) is not supported here; "
                "use Content-Encoding and Accept-Encoding",
                "NOT_IMPLEMENTED",
            )
    try:
        statement, data = _split(options.get("query", "").encode(), body)
    except StatementError as error:
        raise EngineError(str(error)) from None
    except UnicodeDecodeError as error:
        raise EngineError.make(
            errors.SYNTAX_ERROR, f"The statement is not UTF-8: {error}", "SYNTAX_ERROR"
        ) from None
    settings = {
        name: value
        for name, value in options.items()
        if name not in _NOT_SETTINGS and not name.startswith(_PARAMETER_PREFIX)
    }
    if is_read_only:
        # As ClickHouse does for GET, so that a link or a crawler changes nothing.
        settings.setdefault("readonly", "2")
    scope = Scope(
        query_id=options.get("query_id", "")[:_QUERY_ID_CHARACTERS_MAX] or str(uuid.uuid4()),
        database=options.get("database", "") or headers.get("X-ClickHouse-Database", ""),
        settings=settings,
        parameters={
            name.removeprefix(_PARAMETER_PREFIX): value
            for name, value in options.items()
            if name.startswith(_PARAMETER_PREFIX)
        },
    )
    default_format = (
        options.get("default_format", "")
        or headers.get("X-ClickHouse-Format", "")
        or _DEFAULT_FORMAT
    )
    is_select_format = isinstance(statement, Statement) and statement.format
    return Work(
        statement=statement,
        data=data,
        scope=scope,
        format=statement.format if is_select_format else default_format,
        is_compressed_allowed=settings.get("enable_http_compression", "0") not in ("0", "false"),
    )


def _split(query: bytes, body: bytes) -> tuple[InsertHead | Statement, bytes]:
    """Statement and data; the `query` parameter comes before the body."""
    if query.strip():
        found = parse(query) if body else None
        if isinstance(found, InsertHead):
            return found, query[found.data_at :] + body
        source = query + b"\n" + body
    else:
        source = body
    statement = parse(source)
    data = source[statement.data_at :] if isinstance(statement, InsertHead) else b""
    return statement, data
