"""Reading the audit log, newest first."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field, RootModel

from api.access import Access
from api.accounts.audit import Action
from api.accounts.fields import Answer, Moment
from api.accounts.services import ACCOUNTS
from api.answers import data_answer
from api.auth import CALLER
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters, parse_parameters
from api.route import PROJECT, Route

_BEGINS = "audit/"
_LINE_MAX = 2**63 - 1


class AuditParameters(NoParameters):
    """GET audit."""

    action: Action | None = None
    per_page: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Actor(Answer):
    """Who it was; no name for an account that is gone."""

    id: UUID
    name: str | None


class AuditLine(Answer):
    """One thing that was done; `actor` is null for a key of the project."""

    id: int
    at: Moment
    actor: Actor | None
    action: Literal[tuple(Action)]  # type: ignore[valid-type]
    target: str
    details: dict[str, Any]


class AuditLines(RootModel[list[AuditLine]]):
    """A page, newest first."""


async def audit(request: web.Request) -> web.Response:
    """Who did what in the project, and when."""
    asked = parse_parameters(AuditParameters, request.query)
    rows = await request.app[ACCOUNTS].database.rows(
        "SELECT l.id, l.at, l.actor_id, a.name, l.action, l.target, l.details FROM audit_log l "
        "LEFT JOIN accounts a ON a.id = l.actor_id WHERE l.project_id = %(project)s "
        "AND l.id < %(before)s AND (%(action)s = '' OR l.action = %(action)s) "
        "ORDER BY l.id DESC LIMIT %(limit)s",
        project=request[CALLER].project_id,
        before=_line_of(asked.cursor),
        action=asked.action or "",
        limit=asked.per_page + 1,
    )
    page = rows[: asked.per_page]
    lines = [
        AuditLine.model_validate(
            {**row, "actor": row["actor_id"] and {"id": row["actor_id"], "name": row["name"]}}
        ).model_dump(mode="json")
        for row in page
    ]
    following = _cursor(page[-1]["id"]) if len(rows) > len(page) else None
    return data_answer(lines, {"per_page": asked.per_page, "next_cursor": following})


def _cursor(line: int) -> str:
    return base64.urlsafe_b64encode(f"{_BEGINS}{line}".encode()).decode().rstrip("=")


def _line_of(text: str | None) -> int:
    """The line before which a page begins.

    Raises:
        ApiError: VALIDATION_ERROR.
    """
    if text is None:
        return _LINE_MAX
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        line = int(plain.decode("ascii").removeprefix(_BEGINS))
        if plain != f"{_BEGINS}{line}".encode() or not 0 < line <= _LINE_MAX:
            raise ValueError("of another list")
    except (binascii.Error, ValueError):
        raise ApiError(
            ErrorCode.VALIDATION_ERROR,
            "the query is invalid",
            {"cursor": "is not a cursor of this list; leave it out to start at its beginning"},
        ) from None
    return line


AUDIT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        PROJECT + "/audit",
        audit,
        Access.OWNER,
        "Who did what in the project, newest first",
        AuditParameters,
        answer=AuditLines,
    ),
)
