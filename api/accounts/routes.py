"""The account side's part of the route table."""

from __future__ import annotations

from api.access import Access
from api.accounts import auth_handlers, me_handlers
from api.accounts.auth_models import (
    LoginAnswer,
    LoginBody,
    LogoutBody,
    PasswordBody,
    RefreshBody,
    RegisterBody,
    TokensAnswer,
)
from api.accounts.fields import Nothing
from api.accounts.me_models import (
    ApiTokenBody,
    ApiTokens,
    Logins,
    NewApiToken,
    Profile,
    ProfileBody,
)
from api.accounts.project_routes import MEMBER_ROUTES, PROJECT_ROUTES, SHARED_ROUTES
from api.rate_limits import PER_ADDRESS, PER_ADDRESS_AUTH
from api.route import BASE, Route

AUTH = BASE + "/auth"
ME = BASE + "/me"
_EMAIL = "ann@example.com"
_PASSWORD = "correct horse battery"  # noqa: S105 - an example.

AUTH_ROUTES = (
    Route(
        "POST",
        AUTH + "/register",
        auth_handlers.register,
        summary="Make an account and log it in",
        body=RegisterBody,
        answer=LoginAnswer,
        status=201,
        limit=PER_ADDRESS_AUTH,
        example={"email": _EMAIL, "password": _PASSWORD, "name": "Ann"},
    ),
    Route(
        "POST",
        AUTH + "/login",
        auth_handlers.login,
        summary="Log in with e-mail and password",
        body=LoginBody,
        answer=LoginAnswer,
        limit=PER_ADDRESS_AUTH,
        example={"email": _EMAIL, "password": _PASSWORD},
    ),
    Route(
        "POST",
        AUTH + "/refresh",
        auth_handlers.refresh,
        summary="Renew the tokens; the refresh token is used up",
        body=RefreshBody,
        answer=TokensAnswer,
        # A signed token cannot be guessed, and an office renews from one address.
        limit=PER_ADDRESS,
        example={"refresh_token": "$refresh_token"},
    ),
    Route(
        "POST",
        AUTH + "/logout",
        auth_handlers.logout,
        Access.ACCOUNT,
        summary="End this login",
        body=LogoutBody,
        answer=Nothing,
        is_personal=True,
        example={"refresh_token": "$refresh_token"},
    ),
)
ME_ROUTES = (
    Route(
        "GET",
        ME,
        me_handlers.profile,
        Access.ACCOUNT,
        summary="The account that asks",
        answer=Profile,
    ),
    Route(
        "PATCH",
        ME,
        me_handlers.change_profile,
        Access.ACCOUNT,
        summary="Change name, avatar, time zone or currency",
        body=ProfileBody,
        answer=Profile,
        is_personal=True,
        example={"timezone": "Asia/Tokyo", "currency": "JPY"},
    ),
    Route(
        "POST",
        ME + "/password",
        auth_handlers.change_password,
        Access.ACCOUNT,
        summary="Change the password; every login ends, this one gets new tokens",
        body=PasswordBody,
        answer=LoginAnswer,
        is_personal=True,
        limit=PER_ADDRESS_AUTH,
        example={"old_password": _PASSWORD, "new_password": "staple battery horse"},
    ),
    Route(
        "GET",
        ME + "/logins",
        me_handlers.logins,
        Access.ACCOUNT,
        summary="Where the account is logged in",
        answer=Logins,
        is_personal=True,
    ),
    Route(
        "DELETE",
        ME + "/logins/{login_id}",
        me_handlers.delete_login,
        Access.ACCOUNT,
        summary="End one login",
        answer=Nothing,
        is_personal=True,
    ),
    Route(
        "GET",
        ME + "/api-tokens",
        me_handlers.api_tokens,
        Access.ACCOUNT,
        summary="The account's API tokens",
        answer=ApiTokens,
        is_personal=True,
    ),
    Route(
        "POST",
        ME + "/api-tokens",
        me_handlers.create_api_token,
        Access.ACCOUNT,
        summary="Make an API token; it is shown once",
        body=ApiTokenBody,
        answer=NewApiToken,
        status=201,
        is_personal=True,
        example={"name": "Nightly report", "scopes": ["read"]},
    ),
    Route(
        "DELETE",
        ME + "/api-tokens/{token_id}",
        me_handlers.delete_api_token,
        Access.ACCOUNT,
        summary="Make an API token worthless",
        answer=Nothing,
        is_personal=True,
    ),
)
ACCOUNT_ROUTES: tuple[Route, ...] = (
    *AUTH_ROUTES,
    *ME_ROUTES,
    *PROJECT_ROUTES,
    *MEMBER_ROUTES,
    *SHARED_ROUTES,
)
