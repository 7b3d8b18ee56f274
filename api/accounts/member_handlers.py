"""Members of a project and invitations to it. Source: api.md, sections 3 and 5."""

from __future__ import annotations

from typing import get_args

from aiohttp import web

from api.access import Access
from api.accounts.audit import Action, write_audit
from api.accounts.fields import Role, list_answer, nothing, one_answer, role_of
from api.accounts.invitations import accept_invitation, invite
from api.accounts.logins import moment
from api.accounts.lookups import existing, id_of, not_found
from api.accounts.member_models import (
    AcceptBody,
    Added,
    Invitation,
    Joined,
    Member,
    MemberBody,
    RoleBody,
)
from api.accounts.roles import check_owner_stays, check_role_change, may_give
from api.accounts.services import ACCOUNTS
from api.auth import CALLER
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.services import SERVICES
from connectors.database import DatabaseRow, Transaction

MEMBERS_MAX = 1_000  # Of one project.

_MEMBERS = (
    "SELECT a.id::text AS user_id, a.email, a.name, m.role::text, m.created_at AS joined_at "
    "FROM project_members m JOIN accounts a ON a.id = m.account_id "
    "WHERE m.project_id = %(project)s "
)


async def members(request: web.Request) -> web.Response:
    """Who has a part in the project."""
    rows = await request.app[ACCOUNTS].database.rows(
        f"{_MEMBERS} ORDER BY m.role, lower(a.email)", project=request[CALLER].project_id
    )
    return list_answer(Member, rows)


async def add_member(request: web.Request) -> web.Response:
    """Let somebody in: a member at once, or an invitation that works once within seven days."""
    accounts, caller = request.app[ACCOUNTS], request[CALLER]
    body = await read_body(request, MemberBody)
    check_role_change(caller.role, None, role_of(body.role))
    async with accounts.database.transaction() as transaction:
        await _lock(transaction, caller.project_id)
        account = await transaction.row(
            "SELECT id::text FROM accounts WHERE lower(email) = %(email)s", email=body.email
        )
        if account is not None:
            member = await _insert(transaction, caller.project_id, account["id"], body.role)
            await write_audit(
                transaction, caller, Action.MEMBER_ADDED, account["id"], role=body.role
            )
            return one_answer(Added, {"state": "member", "member": member}, status=201)
        text, row = await invite(
            transaction,
            caller.project_id,
            body.email,
            body.role,
            caller.account_id or None,
            request.app[SERVICES].now_ms(),
        )
        await write_audit(
            transaction, caller, Action.MEMBER_INVITED, str(row["id"]), role=body.role
        )
    where = accounts.options.dashboard_url
    # After the #, so that it is in no log of no server.
    link = f"{where}/invitation#{text}" if where else None
    invitation = {**row, "token": text, "link": link}
    return one_answer(Added, {"state": "invited", "invitation": invitation}, status=201)


async def change_member(request: web.Request) -> web.Response:
    """Give a member another role."""
    caller, user_id = request[CALLER], id_of(request, "user_id")
    body = await read_body(request, RoleBody)
    after = role_of(body.role)
    assert after is not None
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        await _lock(transaction, caller.project_id)
        before = await _role(transaction, caller.project_id, user_id)
        check_role_change(caller.role, before, after)
        check_owner_stays(before, after, await _owners(transaction, caller.project_id))
        await transaction.run(
            "UPDATE project_members SET role = %(role)s::member_role "
            "WHERE project_id = %(project)s AND account_id = %(user)s",
            role=body.role,
            project=caller.project_id,
            user=user_id,
        )
        await write_audit(
            transaction,
            caller,
            Action.MEMBER_CHANGED,
            user_id,
            role=body.role,
            before=before.name.lower(),
        )
        await _withdraw_invitations(transaction, caller.project_id, user_id, after)
        row = await _member(transaction, caller.project_id, user_id)
    return one_answer(Member, row)


async def remove_member(request: web.Request) -> web.Response:
    """Take a member out; everybody may take out themselves."""
    caller, user_id = request[CALLER], id_of(request, "user_id")
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        await _lock(transaction, caller.project_id)
        before = await _role(transaction, caller.project_id, user_id)
        if user_id != caller.account_id:
            check_role_change(caller.role, before, None)
        check_owner_stays(before, None, await _owners(transaction, caller.project_id))
        await write_audit(transaction, caller, Action.MEMBER_REMOVED, user_id)
        await _withdraw_invitations(transaction, caller.project_id, user_id, None)
        await transaction.run(
            "DELETE FROM project_members WHERE project_id = %(project)s AND account_id = %(user)s",
            project=caller.project_id,
            user=user_id,
        )
    return nothing()


async def invitations(request: web.Request) -> web.Response:
    """Invitations that nobody has accepted yet."""
    rows = await request.app[ACCOUNTS].database.rows(
        "SELECT id::text, email, role::text, created_at, expires_at FROM invitations "
        "WHERE project_id = %(project)s AND expires_at > %(now)s "
        "ORDER BY created_at, id",
        project=request[CALLER].project_id,
        now=moment(request.app[SERVICES].now_ms()),
    )
    return list_answer(Invitation, rows)


async def delete_invitation(request: web.Request) -> web.Response:
    """Make an invitation worthless; one for an owner only by an owner."""
    caller = request[CALLER]
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        row = await transaction.row(
            "DELETE FROM invitations WHERE id = %(id)s AND project_id = %(project)s "
            "RETURNING role::text",
            id=id_of(request, "invitation_id"),
            project=caller.project_id,
        )
        check_role_change(caller.role, role_of(existing(row)["role"]), None)
        await write_audit(
            transaction, caller, Action.INVITATION_DELETED, id_of(request, "invitation_id")
        )
    return nothing()


async def accept(request: web.Request) -> web.Response:
    """Become a member by an invitation for the e-mail of one's own account."""
    caller, body = request[CALLER], await read_body(request, AcceptBody)
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        account = existing(
            await transaction.row(
                "SELECT id::text, email FROM accounts WHERE id = %(id)s", id=caller.account_id
            )
        )
        project_id = await accept_invitation(
            transaction, body.token, account, request.app[SERVICES].now_ms()
        )
        role = await _role(transaction, project_id, caller.account_id)
    return one_answer(Joined, {"project_id": project_id, "role": role.name.lower()})


async def _lock(transaction: Transaction, project_id: str) -> None:
    """One change of members at a time: two owners must not demote each other at once."""
    existing(
        await transaction.row(
            "SELECT 1 FROM projects WHERE id = %(id)s FOR NO KEY UPDATE", id=project_id
        )
    )


async def _insert(
    transaction: Transaction, project_id: str, user_id: str, role: str
) -> DatabaseRow:
    added = await transaction.run(
        "INSERT INTO project_members (project_id, account_id, role) "
        "SELECT %(project)s, %(user)s, %(role)s::member_role "
        "WHERE (SELECT count(*) FROM project_members WHERE project_id = %(project)s) < %(max)s "
        "ON CONFLICT DO NOTHING",
        project=project_id,
        user=user_id,
        role=role,
        max=MEMBERS_MAX,
    )
    if not added:
        raise ApiError(ErrorCode.CONFLICT, "is a member already, or the project has too many")
    return await _member(transaction, project_id, user_id)


async def _member(transaction: Transaction, project_id: str, user_id: str) -> DatabaseRow:
    return existing(
        await transaction.row(
            f"{_MEMBERS} AND m.account_id = %(user)s", project=project_id, user=user_id
        )
    )


async def _role(transaction: Transaction, project_id: str, user_id: str) -> Access:
    row = await transaction.row(
        "SELECT role::text FROM project_members "
        "WHERE project_id = %(project)s AND account_id = %(user)s",
        project=project_id,
        user=user_id,
    )
    role = role_of(existing(row)["role"])
    if role is None:
        raise not_found()
    return role


async def _owners(transaction: Transaction, project_id: str) -> int:
    row = await transaction.row(
        "SELECT count(*) AS owners FROM project_members "
        "WHERE project_id = %(project)s AND role = 'owner'",
        project=project_id,
    )
    return int(existing(row)["owners"])


async def _withdraw_invitations(
    transaction: Transaction, project_id: str, user_id: str, role: Access | None
) -> None:
    """Take back the links that somebody of this role could not give out; None: of no member.

    Who is no member any more has no link of their own to come back by, either.
    """
    await transaction.run(
        "DELETE FROM invitations WHERE project_id = %(project)s AND "
        "(invited_by = %(user)s AND role::text = ANY(%(beyond)s) OR %(is_gone)s AND email = "
        "(SELECT lower(a.email) FROM accounts a WHERE a.id = %(user)s))",
        project=project_id,
        user=user_id,
        beyond=[name for name in get_args(Role) if not may_give(role, role_of(name))],
        is_gone=role is None,
    )
