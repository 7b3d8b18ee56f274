"""The account itself: profile, logins, API tokens. Source: api.md, section 4."""

from __future__ import annotations

from aiohttp import web

from api.accounts.fields import list_answer, nothing, one_answer
from api.accounts.logins import end_login, moment
from api.accounts.lookups import existing, id_of, not_found
from api.accounts.me_models import (
    ApiToken,
    ApiTokenBody,
    Login,
    NewApiToken,
    Profile,
    ProfileBody,
)
from api.accounts.services import ACCOUNTS
from api.auth import CALLER
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.services import SERVICES
from connectors.secret_texts import API_TOKEN_PREFIX_LENGTH, hash_of, new_api_token

API_TOKENS_MAX = 100  # Of one account.

_PROFILE = "id, email, name, avatar_url, timezone, currency, created_at, last_login_at"
_TOKEN = "id, name, token_prefix, scopes, created_at, expires_at, last_used_at"  # noqa: S105
_CHANGEABLE = ("name", "avatar_url", "timezone", "currency")


async def profile(request: web.Request) -> web.Response:
    """Who the caller is."""
    row = await request.app[ACCOUNTS].database.row(
        f"SELECT {_PROFILE} FROM accounts WHERE id = %(id)s", id=request[CALLER].account_id
    )
    return one_answer(Profile, existing(row))


async def change_profile(request: web.Request) -> web.Response:
    """Change what the body names."""
    body = await read_body(request, ProfileBody)
    named = [name for name in _CHANGEABLE if name in body.model_fields_set]
    changes = ", ".join(f"{name} = %({name})s" for name in named)
    row = await request.app[ACCOUNTS].database.row(
        f"UPDATE accounts SET {changes or 'name = name'} WHERE id = %(id)s RETURNING {_PROFILE}",
        id=request[CALLER].account_id,
        **body.model_dump(),
    )
    return one_answer(Profile, existing(row))


async def logins(request: web.Request) -> web.Response:
    """Where the account is logged in."""
    caller = request[CALLER]
    rows = await request.app[ACCOUNTS].database.rows(
        "SELECT id, host(ip) AS ip, user_agent, created_at, last_seen_at, expires_at, "
        "id::text = %(session)s AS is_current FROM auth_sessions "
        "WHERE account_id = %(account)s AND revoked_at IS NULL AND expires_at > %(now)s "
        "ORDER BY last_seen_at DESC, id",
        account=caller.account_id,
        session=caller.session_id,
        now=moment(request.app[SERVICES].now_ms()),
    )
    return list_answer(Login, rows)


async def delete_login(request: web.Request) -> web.Response:
    """End one of the account's logins; its tokens are worth nothing from now on."""
    login_id = id_of(request, "login_id")
    is_ended = await end_login(
        request.app[ACCOUNTS].database,
        request[CALLER].account_id,
        login_id,
        request.app[SERVICES].now_ms(),
    )
    if not is_ended:
        raise not_found()
    return nothing()


async def api_tokens(request: web.Request) -> web.Response:
    """The account's API tokens, without the tokens themselves."""
    rows = await request.app[ACCOUNTS].database.rows(
        f"SELECT {_TOKEN} FROM api_tokens WHERE account_id = %(account)s ORDER BY created_at, id",
        account=request[CALLER].account_id,
    )
    return list_answer(ApiToken, rows)


async def create_api_token(request: web.Request) -> web.Response:
    """Make an API token; it is in this answer and nowhere else."""
    body = await read_body(request, ApiTokenBody)
    now = moment(request.app[SERVICES].now_ms())
    if body.expires_at is not None and body.expires_at <= now:
        raise ApiError(
            ErrorCode.VALIDATION_ERROR, "the body is invalid", {"expires_at": "is in the past"}
        )
    token = new_api_token()
    row = await request.app[ACCOUNTS].database.row(
        "INSERT INTO api_tokens (account_id, token_hash, token_prefix, name, scopes, created_at, "
        "expires_at) SELECT %(account)s, %(hash)s, %(prefix)s, %(name)s, %(scopes)s, %(now)s, "
        "%(expires)s WHERE (SELECT count(*) FROM api_tokens WHERE account_id = %(account)s) "
        f"< %(max)s RETURNING {_TOKEN}",
        account=request[CALLER].account_id,
        hash=hash_of(token),
        prefix=token[:API_TOKEN_PREFIX_LENGTH],
        name=body.name,
        scopes=sorted(set(body.scopes)),
        now=now,
        expires=body.expires_at,
        max=API_TOKENS_MAX,
    )
    if row is None:
        raise ApiError(ErrorCode.CONFLICT, f"an account has at most {API_TOKENS_MAX} tokens")
    return one_answer(NewApiToken, {**row, "token": token}, status=201)


async def delete_api_token(request: web.Request) -> web.Response:
    """Make an API token worthless at once."""
    deleted = await request.app[ACCOUNTS].database.run(
        "DELETE FROM api_tokens WHERE id = %(id)s AND account_id = %(account)s",
        id=id_of(request, "token_id"),
        account=request[CALLER].account_id,
    )
    if not deleted:
        raise not_found()
    return nothing()
