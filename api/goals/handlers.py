"""Goals and funnels: reading and writing them. Source: api.md, section 7."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from api.accounts.fields import Answer, list_answer, nothing, one_answer
from api.auth import CALLER
from api.bodies import Body, read_body
from api.errors import ApiError, ErrorCode
from api.goals import models
from api.reads.asking import id_of_path, not_found
from api.services import SERVICES
from connectors.database import DatabaseRow
from connectors.errors import RetryableError
from connectors.goal_book import GoalBook, NameTakenError, ProjectTable, TooManyError


def goals_of(request: web.Request) -> GoalBook:
    """The store of goals and funnels.

    Raises:
        RetryableError: this process was made without.
    """
    book = request.app[SERVICES].goals
    if book is None:
        raise RetryableError("the store of goals is not connected")
    return book


async def goals(request: web.Request) -> web.Response:
    """What counts as a success, by name."""
    return await _list(request, goals_of(request).goals, models.Goal)


async def new_goal(request: web.Request) -> web.Response:
    """Make a goal; what was stored before counts, too."""
    body = await read_body(request, models.NewGoalBody)
    _check_pattern(body.track_method, body.match_pattern)
    return await _add(request, goals_of(request).goals, body, models.Goal)


async def change_goal(request: web.Request) -> web.Response:
    """Change a goal; what is not named stays."""
    body = await read_body(request, models.GoalBody)

    def check(row: DatabaseRow) -> None:
        _check_pattern(row["track_method"], row["match_pattern"])

    return await _change(request, goals_of(request).goals, "goal", body, models.Goal, check)


async def delete_goal(request: web.Request) -> web.Response:
    """Delete a goal; events stay."""
    return await _delete(request, goals_of(request).goals, "goal")


async def funnels(request: web.Request) -> web.Response:
    """The funnels of the project, by name."""
    return await _list(request, goals_of(request).funnels, models.Funnel)


async def new_funnel(request: web.Request) -> web.Response:
    """Make a funnel; what was stored before counts, too."""
    body = await read_body(request, models.NewFunnelBody)
    return await _add(request, goals_of(request).funnels, body, models.Funnel)


async def change_funnel(request: web.Request) -> web.Response:
    """Change a funnel; what is not named stays."""
    body = await read_body(request, models.FunnelBody)
    return await _change(request, goals_of(request).funnels, "funnel", body, models.Funnel)


async def delete_funnel(request: web.Request) -> web.Response:
    """Delete a funnel; events stay."""
    return await _delete(request, goals_of(request).funnels, "funnel")


async def row_of_path(request: web.Request, table: ProjectTable, what: str) -> DatabaseRow:
    """The goal or funnel that the path names.

    Raises:
        ApiError: NOT_FOUND.
    """
    row = await table.row(request[CALLER].project_id, id_of_path(request, f"{what}_id", what))
    if row is None:
        raise not_found(what)
    return row


async def _list(request: web.Request, table: ProjectTable, model: type[Answer]) -> web.Response:
    return list_answer(model, await table.rows(request[CALLER].project_id))


async def _add(
    request: web.Request, table: ProjectTable, body: Body, model: type[Answer]
) -> web.Response:
    try:
        row = await table.add(request[CALLER].project_id, body.model_dump(mode="json"))
    except NameTakenError:
        raise _taken() from None
    except TooManyError as error:
        raise ApiError(ErrorCode.CONFLICT, str(error)) from None
    return one_answer(model, row, status=201)


async def _change(
    request: web.Request,
    table: ProjectTable,
    what: str,
    body: Body,
    model: type[Answer],
    check: Callable[[DatabaseRow], None] = lambda _row: None,
) -> web.Response:
    row_id = id_of_path(request, f"{what}_id", what)
    try:
        row = await table.change(request[CALLER].project_id, row_id, _named(body), check)
    except NameTakenError:
        raise _taken() from None
    if row is None:
        raise not_found(what)
    return one_answer(model, row)


async def _delete(request: web.Request, table: ProjectTable, what: str) -> web.Response:
    row_id = id_of_path(request, f"{what}_id", what)
    if not await table.delete(request[CALLER].project_id, row_id):
        raise not_found(what)
    return nothing()


def _named(body: Body) -> Mapping[str, Any]:
    return body.model_dump(mode="json", include=body.model_fields_set)


def _check_pattern(track_method: str, pattern: str | None) -> None:
    if track_method == "page_url" and not re.fullmatch(models.PATH_PATTERN, pattern or ""):
        text = "of a page must be a path such as /thanks, with a * only at the end"
        details = {"match_pattern": text}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is invalid", details)


def _taken() -> ApiError:
    details = {"name": "is the name of another one"}
    return ApiError(ErrorCode.CONFLICT, "the name is taken", details)
