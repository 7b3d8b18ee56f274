"""Requests and answers about the account itself. Source: api.md, section 4."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, RootModel

from api.accounts.fields import UNNAMED, Answer, Currency, Expiry, Line, Moment, WebAddress, Zone
from api.bodies import Body

Scope = Literal["read", "write"]


class ProfileBody(Body):
    """PATCH /me; what is not named stays. An avatar of null takes it away."""

    name: Line = UNNAMED
    avatar_url: WebAddress | None = UNNAMED
    timezone: Zone = UNNAMED
    currency: Currency = UNNAMED


class ApiTokenBody(Body):
    """POST /me/api-tokens."""

    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=2)]
    expires_at: Expiry | None = None


class Profile(Answer):
    """The account that asks."""

    id: UUID
    email: str
    name: str
    avatar_url: str | None
    timezone: str
    currency: str
    created_at: Moment
    last_login_at: Moment | None


class Login(Answer):
    """One place where the account is logged in."""

    id: UUID
    ip: str | None
    user_agent: str
    created_at: Moment
    last_seen_at: Moment
    expires_at: Moment
    is_current: bool


class Logins(RootModel[list[Login]]):
    """All of them, the one used last first."""


class ApiToken(Answer):
    """An API token; of the token itself only the first characters are known."""

    id: UUID
    name: str
    token_prefix: str
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None


class NewApiToken(ApiToken):
    """A fresh one, with the token itself: it is not shown again."""

    token: str


class ApiTokens(RootModel[list[ApiToken]]):
    """All of them, oldest first."""
