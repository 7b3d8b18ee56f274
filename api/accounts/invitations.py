"""Invitations: links that make one person a member, once, within seven days.

Only a hash of the link's text is stored. It works for the e-mail that it was made for and for
nobody else: a forwarded link opens nothing. Source: api.md, section 5.
"""

from __future__ import annotations

from datetime import timedelta

from api.accounts.audit import Action, write_audit
from api.accounts.fields import role_of
from api.accounts.logins import moment
from api.auth import Caller
from api.errors import ApiError, ErrorCode
from connectors.database import Database, DatabaseRow, Transaction
from connectors.secret_texts import hash_of, new_invitation

LIFE = timedelta(days=7)
OPEN_MAX = 200  # Of one project.

_OPEN = "expires_at > %(now)s"


async def invite(
    transaction: Transaction,
    project_id: str,
    email: str,
    role: str,
    invited_by: str | None,
    now_ms: int,
) -> tuple[str, DatabaseRow]:
    """Make an invitation, in place of an older one of the same person.

    Gives the text of its link, which is stored nowhere, and its row.
    """
    now = moment(now_ms)
    text = new_invitation()
    await transaction.run(
        "DELETE FROM invitations WHERE project_id = %(project)s "
        "AND (email = %(email)s OR expires_at <= %(now)s)",
        project=project_id,
        email=email,
        now=now,
    )
    row = await transaction.row(
        "INSERT INTO invitations "
        "(project_id, email, role, token_hash, invited_by, created_at, expires_at) "
        "SELECT %(project)s, %(email)s, %(role)s::member_role, %(hash)s, %(by)s::uuid, %(now)s, "
        "%(expires)s WHERE (SELECT count(*) FROM invitations "
        "WHERE project_id = %(project)s) < %(max)s "
        "RETURNING id::text, email, role::text, created_at, expires_at",
        project=project_id,
        email=email,
        role=role,
        hash=hash_of(text),
        by=invited_by,
        now=now,
        expires=now + LIFE,
        max=OPEN_MAX,
    )
    if row is None:
        raise ApiError(ErrorCode.CONFLICT, f"at most {OPEN_MAX} invitations may be open")
    return text, row


async def find_invitation(database: Database, text: str, now_ms: int) -> DatabaseRow | None:
    """An open invitation by the text of its link."""
    return await database.row(
        f"SELECT id::text, email FROM invitations WHERE token_hash = %(hash)s AND {_OPEN}",
        hash=hash_of(text),
        now=moment(now_ms),
    )


async def accept_invitation(
    transaction: Transaction, text: str, account: DatabaseRow, now_ms: int
) -> str:
    """Make the account a member of the project, and tell the audit log; gives the project's id.

    Whoever is a member already keeps their role, and nothing is told.

    Raises:
        ApiError: FORBIDDEN; nothing is told of whether the link was ever good.
    """
    invitation = await transaction.row(
        f"DELETE FROM invitations WHERE token_hash = %(hash)s AND email = lower(%(email)s) "
        f"AND {_OPEN} RETURNING project_id::text, role::text",
        hash=hash_of(text),
        email=account["email"],
        now=moment(now_ms),
    )
    if invitation is None:
        raise ApiError(ErrorCode.FORBIDDEN, "the invitation is for somebody else, used, or expired")
    project_id, role = str(invitation["project_id"]), role_of(invitation["role"])
    joined = await transaction.run(
        "INSERT INTO project_members (project_id, account_id, role) "
        "VALUES (%(project)s, %(account)s, %(role)s::member_role) ON CONFLICT DO NOTHING",
        project=project_id,
        account=account["id"],
        role=invitation["role"],
    )
    if joined:
        assert role is not None
        member = Caller(project_id, role, account["id"])
        await write_audit(
            transaction, member, Action.MEMBER_JOINED, account["id"], role=invitation["role"]
        )
    return project_id
