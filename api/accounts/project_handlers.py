"""Projects and their keys. Source: api.md, section 5."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from api.access import Access
from api.accounts.audit import Action, write_audit
from api.accounts.fields import list_answer, nothing, one_answer
from api.accounts.logins import moment
from api.accounts.lookups import existing, id_of, not_found
from api.accounts.project_models import (
    Erasure,
    Key,
    KeyBody,
    NewKey,
    NewProject,
    NewProjectBody,
    Project,
    ProjectBody,
    ProjectHead,
)
from api.accounts.project_store import (
    KEY,
    PROJECT,
    change_project,
    create_key,
    create_project,
    delete_project,
    key_hashes,
    list_projects,
)
from api.accounts.services import ACCOUNTS
from api.auth import CALLER
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.period import Period, parse_period
from api.project_queries import ProjectQueries, bounds
from api.services import SERVICES, Services
from connectors.errors import ConnectorError

# Beyond them the list says nothing of today: each costs a query.
STATS_MAX = 20


async def projects(request: web.Request) -> web.Response:
    """What the account has a part in, with what came today."""
    services, database = request.app[SERVICES], request.app[ACCOUNTS].database
    account_id = request[CALLER].account_id
    rows = await list_projects(database, account_id)
    account = existing(
        await database.row("SELECT timezone FROM accounts WHERE id = %(id)s", id=account_id)
    )
    today = _today(account["timezone"], services.now_ms())
    stats = await asyncio.gather(*(_stats(services, row["id"], today) for row in rows[:STATS_MAX]))
    padded = [*stats, *[None] * (len(rows) - len(stats))]
    return list_answer(
        ProjectHead, [{**row, "stats": found} for row, found in zip(rows, padded, strict=True)]
    )


async def new_project(request: web.Request) -> web.Response:
    """Make a project, owned by the caller, with a key that sends events."""
    body = await read_body(request, NewProjectBody)
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        row, text = await create_project(
            transaction, request[CALLER].account_id, body.name, body.allowed_domains
        )
    return one_answer(NewProject, {**row, "role": "owner", "api_key": text}, status=201)


async def project(request: web.Request) -> web.Response:
    """One project with its settings."""
    caller = request[CALLER]
    row = await request.app[ACCOUNTS].database.row(
        f"SELECT {PROJECT} FROM projects WHERE id = %(id)s", id=caller.project_id
    )
    return one_answer(Project, {**existing(row), "role": _role_name(caller.role)})


async def edit_project(request: web.Request) -> web.Response:
    """Change name, domains or settings; gateways follow within seconds.

    With `events.mouse` off there are no clicks, and no detector that needs them finds anything.
    """
    accounts, caller = request.app[ACCOUNTS], request[CALLER]
    body = await read_body(request, ProjectBody)
    changes = body.model_dump(include=body.model_fields_set)
    async with accounts.database.transaction() as transaction:
        row = await change_project(transaction, caller.project_id, changes)
        await write_audit(
            transaction,
            caller,
            Action.PROJECT_CHANGED,
            fields=sorted(changes),
            settings=sorted(changes.get("settings") or {}),
        )
        hashes = await key_hashes(transaction, caller.project_id)
    await accounts.key_caches.forget(hashes)
    return one_answer(Project, {**row, "role": _role_name(caller.role)})


async def remove_project(request: web.Request) -> web.Response:
    """Delete a project: its keys die at once, its data is erased in the background."""
    accounts, caller = request.app[ACCOUNTS], request[CALLER]
    async with accounts.database.transaction() as transaction:
        order, hashes = await delete_project(transaction, caller.project_id, caller.account_id)
        await write_audit(transaction, caller, Action.PROJECT_DELETED, caller.project_id)
    await accounts.key_caches.revoke(hashes)
    return one_answer(Erasure, order, status=202)


async def api_keys(request: web.Request) -> web.Response:
    """The project's keys, without the keys themselves."""
    rows = await request.app[ACCOUNTS].database.rows(
        f"SELECT {KEY} FROM api_keys WHERE project_id = %(project)s ORDER BY created_at, id",
        project=request[CALLER].project_id,
    )
    return list_answer(Key, rows)


async def new_api_key(request: web.Request) -> web.Response:
    """Make a key; it is in this answer and nowhere else."""
    body = await read_body(request, KeyBody)
    if body.expires_at is not None and body.expires_at <= moment(request.app[SERVICES].now_ms()):
        raise ApiError(
            ErrorCode.VALIDATION_ERROR, "the body is invalid", {"expires_at": "is in the past"}
        )
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        text, row = await create_key(
            transaction,
            request[CALLER].project_id,
            name=body.name,
            permission=body.permissions[0],
            rate_limit=body.rate_limit,
            expires_at=body.expires_at,
        )
        await write_audit(
            transaction,
            request[CALLER],
            Action.KEY_CREATED,
            row["id"],
            permissions=body.permissions,
        )
    return one_answer(NewKey, {**row, "key": text}, status=201)


async def revoke_api_key(request: web.Request) -> web.Response:
    """Make a key invalid for ever, everywhere within seconds. Repeating changes nothing."""
    accounts, key_id = request.app[ACCOUNTS], id_of(request, "key_id")
    async with accounts.database.transaction() as transaction:
        row = await transaction.row(
            "UPDATE api_keys SET is_active = false, revoked_at = coalesce(revoked_at, now()) "
            "WHERE id = %(id)s AND project_id = %(project)s RETURNING key_hash",
            id=key_id,
            project=request[CALLER].project_id,
        )
        if row is None:
            raise not_found()
        await write_audit(transaction, request[CALLER], Action.KEY_REVOKED, key_id)
    await accounts.key_caches.revoke([row["key_hash"]])
    return nothing()


def _role_name(role: Access) -> str:
    return role.name.lower()


def _today(timezone: str, now_ms: int) -> Period:
    day = datetime.fromtimestamp(now_ms / 1000, tz=ZoneInfo(timezone)).date().isoformat()
    return parse_period(day, day, timezone, now_ms)


async def _stats(services: Services, project_id: str, today: Period) -> Mapping[str, Any] | None:
    """Sessions and events of a day; None while ClickHouse cannot tell: the list still stands."""
    queries = ProjectQueries(services.queries, project_id)
    try:
        (row,) = await queries.rows("overview_summary", bounds(today))
    except ConnectorError:
        return None
    return {"sessions_today": row["sessions"], "events_today": row["events"]}
