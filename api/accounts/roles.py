"""What roles may do to roles. Pure. Source: api.md, section 3."""

from __future__ import annotations

from api.access import Access
from api.errors import ApiError, ErrorCode


def check_role_change(actor: Access, before: Access | None, after: Access | None) -> None:
    """Whether somebody of role `actor` may change a member's role; None: no member.

    Raises:
        ApiError: FORBIDDEN; only owners make, change or remove owners.
    """
    if actor < Access.ADMIN:
        raise ApiError(ErrorCode.FORBIDDEN, "only admins and owners change members")
    if Access.OWNER in (before, after) and actor < Access.OWNER:
        raise ApiError(ErrorCode.FORBIDDEN, "only an owner may make, change or remove an owner")


def may_give(actor: Access | None, role: Access | None) -> bool:
    """Whether somebody of role `actor` may make others what `role` is; None: no member."""
    try:
        check_role_change(actor or Access.ACCOUNT, None, role)
    except ApiError:
        return False
    return True


def check_owner_stays(before: Access, after: Access | None, owners: int) -> None:
    """Whether the project keeps an owner; `owners` are those before the change.

    Raises:
        ApiError: CONFLICT; the last owner neither leaves nor is demoted.
    """
    if before is Access.OWNER and after is not Access.OWNER and owners <= 1:
        raise ApiError(ErrorCode.CONFLICT, "a project keeps at least one owner")
