"""Projects and their keys in PostgreSQL, for requests.

A change of a project or a key gives the hashes of the keys that it concerns: the shared cache is
told of them after the commit. Source: api.md, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from api.accounts.lookups import existing
from api.errors import ApiError, ErrorCode
from connectors.database import Database, DatabaseRow, Transaction
from connectors.secret_texts import KEY_PREFIX_LENGTH, hash_of, new_key
from schemas.project_settings import settings_problems
from schemas.slugs import free_slug, slug_of

PROJECTS_MAX = 200  # That one account is owner of.
KEYS_MAX = 100  # Active ones of one project.
# At once, for each request a second: what a page sends on leaving comes in one go.
BURST_PER_RATE = 5

PROJECT = "id::text, name, slug, allowed_domains, settings, created_at"
KEY = (
    "id::text, name, key_prefix, permissions, rate_limit, is_active, last_used_at, request_count, "
    "expires_at, created_at"
)


async def list_projects(database: Database, account_id: str) -> Sequence[DatabaseRow]:
    """The projects of an account with its role in each."""
    return await database.rows(
        "SELECT p.id::text, p.name, p.slug, p.allowed_domains, p.created_at, m.role::text "
        "FROM projects p JOIN project_members m ON m.project_id = p.id "
        "WHERE m.account_id = %(account)s ORDER BY p.created_at, p.id",
        account=account_id,
    )


async def create_project(
    transaction: Transaction, account_id: str, name: str, domains: Sequence[str]
) -> tuple[DatabaseRow, str]:
    """A project of the account's tenant, owned by it; gives its row and the text of a write key."""
    # Two requests at once must not choose the same slug.
    await transaction.run("LOCK TABLE projects IN SHARE ROW EXCLUSIVE MODE")
    owned = existing(
        await transaction.row(
            "SELECT count(*) AS owned FROM project_members "
            "WHERE account_id = %(account)s AND role = 'owner'",
            account=account_id,
        )
    )
    if owned["owned"] >= PROJECTS_MAX:
        raise ApiError(ErrorCode.CONFLICT, f"an account owns at most {PROJECTS_MAX} projects")
    wanted = slug_of(name)
    rows = await transaction.rows(
        "SELECT slug FROM projects WHERE slug LIKE %(like)s", like=f"{wanted}%"
    )
    project = existing(
        await transaction.row(
            "INSERT INTO projects (tenant_id, name, slug, allowed_domains) "
            f"VALUES (%(tenant)s, %(name)s, %(slug)s, %(domains)s) RETURNING {PROJECT}",
            tenant=await _tenant(transaction, account_id),
            name=name,
            slug=free_slug(wanted, {row["slug"] for row in rows}),
            domains=list(domains),
        )
    )
    await transaction.run(
        "INSERT INTO project_members (project_id, account_id, role) "
        "VALUES (%(project)s, %(account)s, 'owner')",
        project=project["id"],
        account=account_id,
    )
    text, _row = await create_key(transaction, project["id"], name="Default", permission="write")
    return project, text


async def change_project(
    transaction: Transaction, project_id: str, changes: Mapping[str, Any]
) -> DatabaseRow:
    """Change name, domains and settings, as far as they are named.

    Raises:
        ApiError: VALIDATION_ERROR naming every key of the settings at fault.
    """
    old = existing(
        await transaction.row(
            f"SELECT {PROJECT} FROM projects WHERE id = %(id)s FOR UPDATE", id=project_id
        )
    )
    settings = merged(old["settings"], changes.get("settings", {}))
    if "settings" in changes:  # A bad document that is there already must not forbid a new name.
        _check_settings(settings)
    return existing(
        await transaction.row(
            "UPDATE projects SET name = %(name)s, allowed_domains = %(domains)s, "
            f"settings = %(settings)s::jsonb WHERE id = %(id)s RETURNING {PROJECT}",
            id=project_id,
            name=changes.get("name", old["name"]),
            domains=changes.get("allowed_domains", old["allowed_domains"]),
            settings=msgspec.json.encode(settings).decode(),
        )
    )


async def delete_project(
    transaction: Transaction, project_id: str, account_id: str
) -> tuple[DatabaseRow, Sequence[str]]:
    """Take a project away with all that hangs on it here, and order the erasure of the rest.

    Gives the order and the hashes of the keys.
    """
    hashes = await key_hashes(transaction, project_id)
    project = existing(
        await transaction.row(
            "DELETE FROM projects WHERE id = %(id)s RETURNING name", id=project_id
        )
    )
    order = existing(
        await transaction.row(
            "INSERT INTO project_erasures (project_id, name, requested_by) "
            "VALUES (%(id)s, %(name)s, nullif(%(account)s, '')::uuid) "
            "RETURNING project_id::text AS id, requested_at",
            id=project_id,
            name=project["name"],
            account=account_id,
        )
    )
    return order, hashes


async def key_hashes(transaction: Transaction, project_id: str) -> Sequence[str]:
    """The hashes of a project's active keys."""
    rows = await transaction.rows(
        "SELECT key_hash FROM api_keys WHERE project_id = %(project)s AND is_active",
        project=project_id,
    )
    return [row["key_hash"] for row in rows]


async def create_key(
    transaction: Transaction,
    project_id: str,
    *,
    name: str,
    permission: str,
    rate_limit: int = 1_000,
    expires_at: object = None,
) -> tuple[str, DatabaseRow]:
    """Make a key; gives its text, which is stored nowhere, and its row."""
    text = new_key(permission)
    row = await transaction.row(
        "INSERT INTO api_keys (project_id, key_hash, key_prefix, name, permissions, rate_limit, "
        "burst, expires_at) SELECT %(project)s, %(hash)s, %(prefix)s, %(name)s, %(permissions)s, "
        "%(rate)s, %(burst)s, %(expires)s WHERE (SELECT count(*) FROM api_keys "
        f"WHERE project_id = %(project)s AND is_active) < %(max)s RETURNING {KEY}",
        project=project_id,
        hash=hash_of(text),
        prefix=text[:KEY_PREFIX_LENGTH],
        name=name,
        permissions=[permission],
        rate=rate_limit,
        burst=rate_limit * BURST_PER_RATE,
        expires=expires_at,
        max=KEYS_MAX,
    )
    if row is None:
        raise ApiError(ErrorCode.CONFLICT, f"a project has at most {KEYS_MAX} active keys")
    return text, row


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes: objects merge key by key, null takes a key away."""
    result = dict(old)
    for name, value in new.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[name] = value
    return result


def _check_settings(settings: dict[str, Any]) -> None:
    problems = settings_problems(settings)
    if problems:
        faults = dict(problem.split(": ", 1) for problem in problems)
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the settings are invalid", faults)


async def _tenant(transaction: Transaction, account_id: str) -> str:
    """The account's tenant; its first project makes one."""
    row = await transaction.row(
        "SELECT tenant_id::text AS id FROM tenant_members WHERE account_id = %(account)s "
        "ORDER BY created_at, tenant_id LIMIT 1",
        account=account_id,
    )
    if row is None:
        row = existing(
            await transaction.row(
                "INSERT INTO tenants (name) SELECT coalesce(nullif(name, ''), email) "
                "FROM accounts WHERE id = %(account)s RETURNING id::text",
                account=account_id,
            )
        )
        await transaction.run(
            "INSERT INTO tenant_members (tenant_id, account_id) VALUES (%(tenant)s, %(account)s)",
            tenant=row["id"],
            account=account_id,
        )
    return str(row["id"])
