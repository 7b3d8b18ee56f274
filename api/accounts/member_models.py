"""Requests and answers about members and invitations. Source: api.md, section 5."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import RootModel

from api.accounts.auth_models import Token
from api.accounts.fields import Answer, Email, Moment, Role
from api.bodies import Body


class MemberBody(Body):
    """POST :pid/members."""

    email: Email
    role: Role


class RoleBody(Body):
    """PATCH :pid/members/:userId."""

    role: Role


class AcceptBody(Body):
    """POST /invitations/accept; `token` is the text of the invitation's link."""

    token: Token


class Member(Answer):
    """Somebody with a part in the project."""

    user_id: UUID
    email: str
    name: str
    role: Role
    joined_at: Moment


class Members(RootModel[list[Member]]):
    """All of them, owners first."""


class Invitation(Answer):
    """An open invitation."""

    id: UUID
    email: str
    role: Role
    created_at: Moment
    expires_at: Moment


class Invitations(RootModel[list[Invitation]]):
    """All open ones, oldest first."""


class NewInvitation(Invitation):
    """A fresh one, with the text that accepts it and the link, if the dashboard's place is set."""

    token: str
    link: str | None


class Added(Answer):
    """Whoever has an account is a member at once; whoever has none is invited."""

    state: Literal["member", "invited"]
    member: Member | None = None
    invitation: NewInvitation | None = None


class Joined(Answer):
    """Of which project somebody is a member now."""

    project_id: UUID
    role: Role
