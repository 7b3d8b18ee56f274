"""Accounts by their credentials, with their role in one project: one query a request, no cache.

That a login was ended, an account closed or a role changed counts with the next request.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.access import Access
from api.accounts.fields import role_of
from api.accounts.logins import moment
from api.auth_tokens import Claims
from connectors.database import Database

_ROLE = (
    "LEFT JOIN project_members m ON m.account_id = a.id "
    "AND m.project_id = nullif(%(project)s, '')::uuid "
)
_BY_LOGIN = (
    "SELECT a.id::text AS account_id, a.timezone, m.role::text "
    "FROM auth_sessions s JOIN accounts a ON a.id = s.account_id "
    f"{_ROLE}"
    "WHERE s.id = %(session)s AND a.id = %(account)s AND a.is_active AND s.revoked_at IS NULL"
)
_BY_API_TOKEN = (
    "SELECT a.id::text AS account_id, a.timezone, m.role::text, t.scopes, t.id::text AS token_id, "
    "coalesce(t.last_used_at < %(now)s - interval '1 minute', true) AS is_use_new "
    "FROM api_tokens t JOIN accounts a ON a.id = t.account_id "
    f"{_ROLE}"
    "WHERE t.token_hash = %(hash)s AND a.is_active "
    "AND (t.expires_at IS NULL OR t.expires_at > %(now)s)"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """An account; `role` is None if it is no member of the project asked for."""

    account_id: str
    role: Access | None
    scopes: frozenset[str]
    timezone: str


async def find_by_login(database: Database, claims: Claims, project_id: str) -> Identity | None:
    """The account of a valid access token; None if its login is over."""
    row = await database.row(
        _BY_LOGIN, session=claims.session_id, account=claims.account_id, project=project_id
    )
    if row is None:
        return None
    return Identity(row["account_id"], role_of(row["role"]), frozenset(), row["timezone"])


async def find_by_api_token(
    database: Database, token_hash: str, project_id: str, now_ms: int
) -> Identity | None:
    """The account of an API token; None if there is no such token, or no more."""
    now = moment(now_ms)
    async with database.transaction() as transaction:
        row = await transaction.row(_BY_API_TOKEN, hash=token_hash, project=project_id, now=now)
        if row is None:
            return None
        if row["is_use_new"]:
            await transaction.run(
                "UPDATE api_tokens SET last_used_at = %(now)s WHERE id = %(id)s",
                id=row["token_id"],
                now=now,
            )
    return Identity(
        row["account_id"], role_of(row["role"]), frozenset(row["scopes"]), row["timezone"]
    )
