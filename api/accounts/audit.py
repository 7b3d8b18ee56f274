"""The audit log: who did what to a project, and when.

In: a transaction and what happens in it. Out: one line, there if and only if the change is. A line
holds ids, never secrets, e-mail addresses or ids of visitors; an account that is gone stays as an
id that leads nowhere.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from api.auth import Caller
from connectors.database import Transaction


class Action(StrEnum):
    """What can be told of; a new one is a change of the public contract."""

    VISITOR_EXPORTED = "visitor.exported"
    VISITOR_ERASED = "visitor.erased"
    PROJECT_CHANGED = "project.changed"
    PROJECT_DELETED = "project.deleted"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    MEMBER_ADDED = "member.added"
    MEMBER_INVITED = "member.invited"
    MEMBER_JOINED = "member.joined"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"
    INVITATION_DELETED = "invitation.deleted"
    PUBLIC_PAGE_CHANGED = "public_page.changed"
    ACCOUNT_DELETED = "account.deleted"


async def write_audit(
    transaction: Transaction, caller: Caller, action: Action, target: str = "", **details: Any
) -> None:
    """Add a line about the caller's project."""
    await transaction.run(
        "INSERT INTO audit_log (project_id, actor_id, action, target, details) VALUES "
        "(%(project)s, nullif(%(actor)s, '')::uuid, %(action)s, %(target)s, %(details)s::jsonb)",
        project=caller.project_id,
        actor=caller.account_id,
        action=action.value,
        target=target,
        details=msgspec.json.encode(details).decode(),
    )
