"""Requests and answers of the calls that log in. Source: api.md, section 4."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from api.accounts.fields import Answer, Email, Line, NewPassword, OldPassword
from api.bodies import Body

Token = Annotated[str, Field(min_length=1, max_length=1_024)]


class RegisterBody(Body):
    """POST /auth/register; `invitation` is the text of an invitation's link."""

    email: Email
    password: NewPassword
    name: Line
    invitation: Token | None = None


class LoginBody(Body):
    """POST /auth/login. Any text is taken: what is wrong with it is nobody's business."""

    email: Annotated[str, StringConstraints(to_lower=True, min_length=1, max_length=254)]
    password: OldPassword


class RefreshBody(Body):
    """POST /auth/refresh."""

    refresh_token: Token


class LogoutBody(Body):
    """POST /auth/logout; a refresh token names another login of the same account to end, too."""

    refresh_token: Token | None = None


class PasswordBody(Body):
    """POST /me/password."""

    old_password: OldPassword
    new_password: NewPassword


class User(Answer):
    """Who has logged in."""

    id: UUID
    email: str
    name: str


class TokensAnswer(Answer):
    """A fresh pair of tokens; `expires_in` are the seconds of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme.


class LoginAnswer(TokensAnswer):
    """A pair of tokens and whose they are."""

    user: User
