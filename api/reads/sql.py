"""POST sql: an analyst's own SELECT over the project. Source: docs/analysts.md."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from api.answers import data_answer
from api.bodies import Body, read_body
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters
from api.reads.asking import Answer, ask
from api.reads.sql_rules import RefusedSqlError

TEXT_MAX = 20_000


class SqlBody(Body):
    """POST sql: one SELECT."""

    query: Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]


class SqlColumn(Answer):
    """A column of the result, with ClickHouse's name of its type."""

    name: str
    type: str


class SqlAnswer(Answer):
    """Rows in the order of the columns; `is_cut` says that there were more."""

    columns: list[SqlColumn]
    rows: list[list[Any]]
    is_cut: bool


async def run_sql(request: web.Request) -> web.Response:
    """The rows of one SELECT that sees this project and nothing else."""
    asked = ask(request, NoParameters)
    body = await read_body(request, SqlBody)
    try:
        found = await asked.stores.sql.run(body.query, asked.caller.project_id)
    except RefusedSqlError as error:
        raise ApiError(
            ErrorCode.VALIDATION_ERROR, "the query is refused", {"query": str(error)}
        ) from None
    return data_answer(
        {
            "columns": [
                {"name": name, "type": kind}
                for name, kind in zip(found.names, found.types, strict=True)
            ],
            "rows": [[_plain(value) for value in row] for row in found.rows],
            "is_cut": found.is_cut,
        }
    )


def _plain(value: Any) -> Any:
    """A value that JSON has; what it has not becomes a text, and no number null."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(part) for name, part in value.items()}
    return value
