"""Projects and their keys in PostgreSQL.

A key is made here and given out once; the database keeps its SHA-256 and first twelve characters.
Settings hold only what differs from the defaults. Source: api.md, sections 2 and 5.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from connectors.secret_texts import KEY_PREFIX_LENGTH, hash_of, new_key
from schemas.slugs import free_slug, slug_of

DEFAULT_TENANT = "default"


class NotFoundError(Exception):
    """There is no such project, key or account; the text says which."""


@dataclass(frozen=True, slots=True)
class Project:
    """One row of `projects`."""

    id: UUID
    name: str
    slug: str
    allowed_domains: Sequence[str]
    settings: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One row of `api_keys`, without its hash."""

    id: UUID
    project_id: UUID
    key_prefix: str
    name: str
    permissions: Sequence[str]
    rate_limit: int
    burst: int
    is_active: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


_PROJECT_COLUMNS = "id, name, slug, allowed_domains, settings, created_at"
_KEY_COLUMNS = (
    "id, project_id, key_prefix, name, permissions, rate_limit, burst, is_active, created_at, "
    "expires_at, last_used_at"
)


def connect(database_url: str) -> psycopg.Connection[Any]:
    """A connection whose every statement is its own transaction, unless told otherwise.

    Raises:
        psycopg.OperationalError: the server does not answer or refuses the login.
    """
    return psycopg.connect(database_url, autocommit=True, connect_timeout=5)


def create_project(
    connection: psycopg.Connection[Any],
    name: str,
    allowed_domains: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
) -> Project:
    """Create a project under the default tenant; its slug is the name, made unique."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Project)) as cursor:
        # Two commands at once must not choose the same slug, nor make two default tenants.
        cursor.execute("LOCK TABLE projects IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            f"INSERT INTO projects (tenant_id, name, slug, allowed_domains, settings) "
            f"VALUES (%s, %s, %s, %s, %s) RETURNING {_PROJECT_COLUMNS}",
            (
                _default_tenant(connection),
                name,
                _free_slug(connection, slug_of(name)),
                list(allowed_domains),
                json.dumps(settings or {}),
            ),
        )
        project = cursor.fetchone()
    assert project is not None
    return project


def list_projects(connection: psycopg.Connection[Any]) -> list[Project]:
    """All projects, oldest first."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        cursor.execute(f"SELECT {_PROJECT_COLUMNS} FROM projects ORDER BY created_at, id")
        return cursor.fetchall()


def find_project(connection: psycopg.Connection[Any], id_or_slug: str) -> Project:
    """A project by its id or its slug.

    Raises:
        NotFoundError: there is none.
    """
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        cursor.execute(
            f"SELECT {_PROJECT_COLUMNS} FROM projects WHERE id::text = lower(%s) OR slug = %s",
            (id_or_slug, id_or_slug),
        )
        project = cursor.fetchone()
    if project is None:
        raise NotFoundError(f"there is no project {id_or_slug}; see `gosight projects list`")
    return project


def grant_role(
    connection: psycopg.Connection[Any], project_id: UUID, email: str, role: str
) -> UUID:
    """Make an account a member, or change its role; returns the account's id.

    Raises:
        NotFoundError: there is no such account.
    """
    row = connection.execute(
        "INSERT INTO project_members (project_id, account_id, role) "
        "SELECT %(project)s, id, %(role)s::member_role FROM accounts "
        "WHERE lower(email) = lower(%(email)s) "
        "ON CONFLICT (project_id, account_id) DO UPDATE SET role = excluded.role "
        "RETURNING account_id",
        {"project": project_id, "email": email, "role": role},
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no account {email}; it has to register first")
    account_id: UUID = row[0]
    return account_id


def create_key(
    connection: psycopg.Connection[Any],
    project_id: UUID,
    *,
    name: str,
    permission: str,
    rate_limit: int = 1_000,
    burst: int = 5_000,
) -> tuple[str, KeyRow]:
    """Make a key; returns its text, which is stored nowhere, and its row."""
    text = new_key(permission)
    with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        cursor.execute(
            f"INSERT INTO api_keys "
            f"(project_id, key_hash, key_prefix, name, permissions, rate_limit, burst) "
            f"VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {_KEY_COLUMNS}",
            (
                project_id,
                hash_of(text),
                text[:KEY_PREFIX_LENGTH],
                name,
                [permission],
                rate_limit,
                burst,
            ),
        )
        row = cursor.fetchone()
    assert row is not None
    return text, row


def list_keys(connection: psycopg.Connection[Any], project_id: UUID | None = None) -> list[KeyRow]:
    """Keys of a project, or of all, oldest first."""
    with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        cursor.execute(
            f"SELECT {_KEY_COLUMNS} FROM api_keys "
            f"WHERE %(project)s::uuid IS NULL OR project_id = %(project)s "
            f"ORDER BY created_at, id",
            {"project": project_id},
        )
        return cursor.fetchall()


def revoke_key(connection: psycopg.Connection[Any], key_id: UUID) -> str:
    """Make a key invalid for ever; returns its hash, for the caches. Repeating changes nothing.

    Raises:
        NotFoundError: there is no such key.
    """
    row = connection.execute(
        "UPDATE api_keys SET is_active = false, revoked_at = coalesce(revoked_at, now()) "
        "WHERE id = %s RETURNING key_hash",
        (key_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no key {key_id}; see `gosight keys list`")
    return str(row[0])


def _default_tenant(connection: psycopg.Connection[Any]) -> UUID:
    row = connection.execute("SELECT id FROM tenants ORDER BY created_at, id LIMIT 1").fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO tenants (name) VALUES (%s) RETURNING id", (DEFAULT_TENANT,)
        ).fetchone()
    assert row is not None
    tenant: UUID = row[0]
    return tenant


def _free_slug(connection: psycopg.Connection[Any], wanted: str) -> str:
    rows = connection.execute("SELECT slug FROM projects WHERE slug LIKE %s", (wanted + "%",))
    return free_slug(wanted, {row[0] for row in rows})
