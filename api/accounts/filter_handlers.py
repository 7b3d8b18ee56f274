"""Saved filters: a person's own, and those that others share. Source: api.md, section 6."""

from __future__ import annotations

import msgspec
from aiohttp import web
from psycopg.errors import UniqueViolation

from api.access import Access
from api.accounts.fields import list_answer, nothing, one_answer
from api.accounts.lookups import existing, id_of
from api.accounts.services import ACCOUNTS
from api.accounts.shared_models import FilterBody, NewFilterBody, SavedFilter
from api.auth import CALLER, Caller
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from connectors.database import DatabaseRow, Transaction

FILTERS_MAX = 500  # Of one project.

_COLUMNS = (
    "id::text, name, filter_type, filter, is_shared, created_at, updated_at, "
    "account_id::text = %(account)s::text AS is_own"
)
_VISIBLE = "project_id = %(project)s AND (account_id::text = %(account)s::text OR is_shared)"


async def filters(request: web.Request) -> web.Response:
    """The caller's own and those that are shared."""
    caller = request[CALLER]
    rows = await request.app[ACCOUNTS].database.rows(
        f"SELECT {_COLUMNS} FROM saved_filters WHERE {_VISIBLE} ORDER BY lower(name), id",
        project=caller.project_id,
        account=caller.account_id,
    )
    return list_answer(SavedFilter, rows)


async def new_filter(request: web.Request) -> web.Response:
    """Save a filter; it needs an account that it belongs to."""
    caller, body = request[CALLER], await read_body(request, NewFilterBody)
    if not caller.account_id:
        raise ApiError(ErrorCode.FORBIDDEN, "a filter belongs to an account, and a key has none")
    try:
        row = await request.app[ACCOUNTS].database.row(
            "INSERT INTO saved_filters (project_id, account_id, name, filter_type, filter, "
            "is_shared) SELECT %(project)s, (%(account)s::text)::uuid, %(name)s, %(type)s, "
            "%(filter)s::jsonb, %(shared)s WHERE (SELECT count(*) FROM saved_filters "
            f"WHERE project_id = %(project)s) < %(max)s RETURNING {_COLUMNS}",
            project=caller.project_id,
            account=caller.account_id,
            name=body.name,
            type=body.filter_type,
            filter=msgspec.json.encode(body.filter).decode(),
            shared=body.is_shared,
            max=FILTERS_MAX,
        )
    except UniqueViolation:
        raise _taken() from None
    if row is None:
        raise ApiError(ErrorCode.CONFLICT, f"a project has at most {FILTERS_MAX} filters")
    return one_answer(SavedFilter, row, status=201)


async def change_filter(request: web.Request) -> web.Response:
    """Change a filter of one's own; admins change shared ones, too."""
    caller, body = request[CALLER], await read_body(request, FilterBody)
    named = body.model_fields_set
    try:
        async with request.app[ACCOUNTS].database.transaction() as transaction:
            old = await _changeable(transaction, request, caller)
            row = await transaction.row(
                "UPDATE saved_filters SET name = %(name)s, filter = %(filter)s::jsonb, "
                f"is_shared = %(shared)s WHERE id = %(id)s RETURNING {_COLUMNS}",
                id=old["id"],
                account=caller.account_id,
                name=body.name if "name" in named else old["name"],
                filter=msgspec.json.encode(
                    body.filter if "filter" in named else old["filter"]
                ).decode(),
                shared=body.is_shared if "is_shared" in named else old["is_shared"],
            )
    except UniqueViolation:
        raise _taken() from None
    return one_answer(SavedFilter, existing(row))


async def delete_filter(request: web.Request) -> web.Response:
    """Delete a filter of one's own; admins delete shared ones, too."""
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        old = await _changeable(transaction, request, request[CALLER])
        await transaction.run("DELETE FROM saved_filters WHERE id = %(id)s", id=old["id"])
    return nothing()


async def _changeable(
    transaction: Transaction, request: web.Request, caller: Caller
) -> DatabaseRow:
    row = existing(
        await transaction.row(
            f"SELECT {_COLUMNS} FROM saved_filters WHERE id = %(id)s AND {_VISIBLE} FOR UPDATE",
            id=id_of(request, "filter_id"),
            project=caller.project_id,
            account=caller.account_id,
        )
    )
    if not row["is_own"] and caller.role < Access.ADMIN:
        raise ApiError(ErrorCode.FORBIDDEN, "only its author or an admin may change it")
    return row


def _taken() -> ApiError:
    return ApiError(ErrorCode.CONFLICT, "there is a filter of this name")
