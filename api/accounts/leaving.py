"""The end of an account: its logins and tokens die at once, its person is forgotten.

In: the password, and whether projects that nobody else owns go with it. Out: no row that names the
person. What others have made stays; notes keep their text and lose their author. Lines of the audit
log keep the account's id, which leads nowhere any more. Source: privacy.md, section 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from api.access import Access
from api.accounts.audit import Action, write_audit
from api.accounts.auth_handlers import check_own_password
from api.accounts.fields import Nothing, OldPassword, nothing
from api.accounts.project_store import delete_project
from api.accounts.services import ACCOUNTS
from api.auth import CALLER, Caller
from api.bodies import Body, read_body
from api.errors import ApiError, ErrorCode
from api.rate_limits import PER_ADDRESS_AUTH
from api.route import BASE, Route
from connectors.database import DatabaseRow, Transaction

NAMES_TOLD_MAX = 10
FORMER = "former account"


class LeaveBody(Body):
    """DELETE /me."""

    password: OldPassword
    delete_projects: bool = False


async def leave(request: web.Request) -> web.Response:
    """Delete the account. Projects that it alone owns are deleted too if the body says so.

    Without `delete_projects` such projects are a conflict: make somebody else an owner first.
    """
    accounts, caller = request.app[ACCOUNTS], request[CALLER]
    body = await read_body(request, LeaveBody)
    account = await check_own_password(request, body.password.get_secret_value())
    hashes: list[str] = []
    async with accounts.database.transaction() as transaction:
        # Members of these projects change one after the other: an owner must not vanish meanwhile.
        await transaction.run(
            "SELECT 1 FROM projects WHERE id IN (SELECT project_id FROM project_members "
            "WHERE account_id = %(account)s) ORDER BY id FOR NO KEY UPDATE",
            account=caller.account_id,
        )
        alone = await _owned_alone(transaction, caller.account_id)
        if alone and not body.delete_projects:
            names = ", ".join(row["name"] for row in alone[:NAMES_TOLD_MAX])
            raise ApiError(
                ErrorCode.CONFLICT,
                "you are the only owner of projects",
                {"delete_projects": f"deletes them with the account: {names}"},
            )
        for row in alone:
            hashes += await _delete_project(transaction, caller, row["id"])
        await _forget(transaction, caller, account["email"])
    await accounts.key_caches.revoke(hashes)
    return nothing()


async def _owned_alone(transaction: Transaction, account_id: str) -> Sequence[DatabaseRow]:
    return await transaction.rows(
        "SELECT p.id::text, p.name FROM projects p JOIN project_members m ON m.project_id = p.id "
        "WHERE m.account_id = %(account)s AND m.role = 'owner' AND NOT EXISTS ("
        "SELECT 1 FROM project_members o WHERE o.project_id = p.id AND o.role = 'owner' "
        "AND o.account_id <> %(account)s) ORDER BY p.name, p.id",
        account=account_id,
    )


async def _delete_project(
    transaction: Transaction, caller: Caller, project_id: str
) -> Sequence[str]:
    _, hashes = await delete_project(transaction, project_id, caller.account_id)
    of_project = replace(caller, project_id=project_id)
    await write_audit(transaction, of_project, Action.PROJECT_DELETED, project_id)
    return hashes


async def _forget(transaction: Transaction, caller: Caller, email: str) -> None:
    """Logins, tokens, memberships and saved filters go with the row; tenants lose their name."""
    where = {"account": caller.account_id, "email": email}
    rows = await transaction.rows(
        "SELECT project_id::text FROM project_members WHERE account_id = %(account)s", **where
    )
    for row in rows:
        of_project = replace(caller, project_id=row["project_id"])
        await write_audit(transaction, of_project, Action.ACCOUNT_DELETED, caller.account_id)
    await transaction.run(
        "DELETE FROM invitations WHERE email = lower(%(email)s) OR invited_by = %(account)s",
        **where,
    )
    tenants = (
        "id IN (SELECT tenant_id FROM tenant_members WHERE account_id = %(account)s) "
        "AND NOT EXISTS (SELECT 1 FROM tenant_members o WHERE o.tenant_id = tenants.id "
        "AND o.account_id <> %(account)s)"
    )
    await transaction.run(
        f"UPDATE tenants SET name = %(name)s WHERE {tenants}", **where, name=FORMER
    )
    await transaction.run(
        f"DELETE FROM tenants WHERE {tenants} "
        "AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.tenant_id = tenants.id)",
        **where,
    )
    await transaction.run("DELETE FROM accounts WHERE id = %(account)s", **where)


LEAVE_ROUTES: tuple[Route, ...] = (
    Route(
        "DELETE",
        BASE + "/me",
        leave,
        Access.ACCOUNT,
        "Delete the account; logins and tokens die at once",
        body=LeaveBody,
        answer=Nothing,
        is_personal=True,
        limit=PER_ADDRESS_AUTH,
        example={"password": "correct horse battery", "delete_projects": True},
    ),
)
