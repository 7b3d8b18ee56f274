"""Who is asking, and may they?

In: a request and its route. Out: a `Caller`. A credential comes as `Authorization: Bearer` (an
access token, an API token or a project's key) or, a key, in the header `X-GoSight-Key`. A project
that the caller has nothing to do with answers 404 whatever they may do elsewhere, so that nobody
learns which projects exist. Calls count against the caller's limit, failed ones against the
address. Source: api.md, sections 1 to 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from api.access import Access
from api.accounts.identities import find_by_api_token, find_by_login
from api.accounts.services import ACCOUNTS, AccountServices
from api.auth_tokens import ExpiredError, TokenError
from api.client import address_of
from api.errors import ApiError, ErrorCode
from api.period import DEFAULT_ZONE
from api.rate_limits import PER_ADDRESS, Allowance, BucketRule
from api.route import Route
from api.services import SERVICES, KeyFinder
from connectors.secret_texts import API_TOKEN_LENGTH, API_TOKEN_PREFIX, hash_of
from schemas.client_address import network_of
from schemas.records import ProjectKey
from schemas.time_zones import is_time_zone

# Anything else cannot be a key or a token: it is refused without asking the store.
_KEY_FORM = re.compile(r"gs_(?:live|test|api)_[0-9A-Za-z]{32}")
_API_TOKEN_FORM = re.compile(rf"{API_TOKEN_PREFIX}[0-9A-Za-z]{{{API_TOKEN_LENGTH}}}")
_ALL_SCOPES = frozenset({"read", "write"})


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that may use one project, and as what.

    `project_id` is empty on routes that are about no project. `account_id` is empty for a project's
    key, `session_id` (the login) for keys and API tokens. `timezone` is the account's, for a key
    the project's: reads are in it if they name none.
    """

    project_id: str
    role: Access
    account_id: str = ""
    session_id: str = ""
    timezone: str = DEFAULT_ZONE


@dataclass(frozen=True, slots=True)
class Identified:
    """Somebody whose credential is good. `role` is that in the project asked for; None: no part.

    `subject` names them for limits. `expires_at_ms` is None if the credential does not say.
    """

    subject: str
    role: Access | None
    account_id: str = ""
    session_id: str = ""
    scopes: frozenset[str] = _ALL_SCOPES
    timezone: str = DEFAULT_ZONE
    expires_at_ms: int | None = None


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
ALLOWANCE: web.RequestKey[Allowance] = web.RequestKey("allowance", Allowance)


async def authorize(request: web.Request, route: Route) -> Caller:
    """The caller of a request, who may call this route.

    Raises:
        ApiError: UNAUTHORIZED, TOKEN_EXPIRED, RATE_LIMITED, NOT_FOUND or FORBIDDEN.
        RetryableError: the store of keys or accounts cannot answer.
    """
    project_id = _project_id(request) if route.in_project else ""
    try:
        identity = await _identify(request, project_id)
    except ApiError:
        await take_for_address(request, PER_ADDRESS)
        raise
    await _take(request, route.rate, identity.subject)
    if route.in_project and identity.role is None:
        raise ApiError(ErrorCode.NOT_FOUND, "there is no such project")
    _check_kind(route, identity)
    role = identity.role or Access.ACCOUNT
    if role < route.access:
        least = route.access.name.lower()
        raise ApiError(ErrorCode.FORBIDDEN, f"you are not allowed what {least}s are")
    return Caller(project_id, role, identity.account_id, identity.session_id, identity.timezone)


async def take_for_address(request: web.Request, rule: BucketRule) -> None:
    """Count a call of somebody who has not said who they are.

    Raises:
        ApiError: RATE_LIMITED.
    """
    accounts = request.app.get(ACCOUNTS)
    if accounts is not None:
        address = address_of(request, accounts.options.trusted_proxy_count)
        await _take(request, rule, f"address {network_of(address)}")


async def _take(request: web.Request, rule: BucketRule, subject: str) -> None:
    accounts = request.app.get(ACCOUNTS)
    if accounts is None:
        return
    allowance = await accounts.limits.take(rule, subject)
    request[ALLOWANCE] = allowance
    if not allowance.is_granted:
        raise ApiError(
            ErrorCode.RATE_LIMITED,
            f"more than {allowance.limit} calls in a short time",
            retry_after_s=allowance.wait_s,
        )


def _check_kind(route: Route, identity: Identified) -> None:
    """Refuse keys where an account is needed, and tokens beyond their scopes."""
    if not route.in_project and not identity.account_id:
        raise ApiError(ErrorCode.FORBIDDEN, "this call is for accounts, not for keys")
    if route.is_personal and not identity.session_id:
        raise ApiError(ErrorCode.FORBIDDEN, "this call needs a login, no API token will do")
    scope = "read" if route.is_read else "write"
    if scope not in identity.scopes:
        raise ApiError(ErrorCode.FORBIDDEN, f"this token has not the scope {scope}")


async def _identify(request: web.Request, project_id: str) -> Identified:
    text = _presented(request)
    if "X-GoSight-Key" in request.headers and not text.startswith("gs_"):
        raise _unknown()
    return await identify(request.app, text, project_id)


async def identify(app: web.Application, text: str, project_id: str) -> Identified:
    """Whose credential this is, and what they are in the project.

    Raises:
        ApiError: UNAUTHORIZED or TOKEN_EXPIRED.
        RetryableError: the store of keys or accounts cannot answer.
    """
    services, accounts = app[SERVICES], app.get(ACCOUNTS)
    if text.startswith("gs_"):
        key = await _find_key(services.keys, text, services.now_ms())
        services.count_use(key.key_hash)
        role = _role_of(key) if key.project_id == project_id else None
        return Identified(
            f"key {key.key_hash}",
            role,
            timezone=_zone_of(key),
            expires_at_ms=key.expires_at_ms,
        )
    if accounts is None:
        raise _unknown()
    if text.startswith(API_TOKEN_PREFIX):
        return await _by_api_token(accounts, text, project_id, services.now_ms())
    return await _by_login(accounts, text, project_id, services.now_ms())


async def _by_login(
    accounts: AccountServices, text: str, project_id: str, now_ms: int
) -> Identified:
    try:
        claims = accounts.signer.read_access(text, now_ms)
    except ExpiredError:
        raise ApiError(ErrorCode.TOKEN_EXPIRED, "the access token is too old; renew it") from None
    except TokenError:
        raise _unknown() from None
    found = await find_by_login(accounts.database, claims, project_id)
    if found is None:
        raise ApiError(ErrorCode.UNAUTHORIZED, "the login is over; log in again")
    return Identified(
        f"account {found.account_id}",
        found.role,
        found.account_id,
        claims.session_id,
        timezone=found.timezone,
        expires_at_ms=claims.expires_at_ms,
    )


async def _by_api_token(
    accounts: AccountServices, text: str, project_id: str, now_ms: int
) -> Identified:
    found = None
    if _API_TOKEN_FORM.fullmatch(text):
        found = await find_by_api_token(accounts.database, hash_of(text), project_id, now_ms)
    if found is None:
        raise _unknown()
    return Identified(
        f"account {found.account_id}",
        found.role,
        found.account_id,
        scopes=found.scopes,
        timezone=found.timezone,
    )


def _role_of(key: ProjectKey) -> Access:
    if "admin" in key.permissions:
        return Access.ADMIN
    return Access.VIEWER if "read" in key.permissions else Access.PUBLIC


def _zone_of(key: ProjectKey) -> str:
    """The time zone of a key's project, if it has one that is known."""
    name = key.settings.document.get("timezone")
    return name if isinstance(name, str) and is_time_zone(name) else DEFAULT_ZONE


def _presented(request: web.Request) -> str:
    text = request.headers.get("X-GoSight-Key", "")
    if not text:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        text = value.strip() if scheme.lower() == "bearer" else ""
    if not text:
        raise ApiError(
            ErrorCode.UNAUTHORIZED,
            "send an access token or an API token as Authorization: Bearer, "
            "or a key with read permission as X-GoSight-Key",
        )
    return text


async def _find_key(keys: KeyFinder, text: str, now_ms: int) -> ProjectKey:
    key = None
    if _KEY_FORM.fullmatch(text):
        key = await keys.find(hash_of(text))
    is_expired = key is not None and key.expires_at_ms is not None and key.expires_at_ms <= now_ms
    if key is None or not key.is_active or is_expired:
        raise _unknown()
    return key


def _unknown() -> ApiError:
    return ApiError(ErrorCode.UNAUTHORIZED, "the credential is unknown, revoked or expired")


def _project_id(request: web.Request) -> str:
    """The project of the path in its canonical form; empty if it is no UUID."""
    try:
        return str(UUID(request.match_info["project_id"]))
    except ValueError:
        return ""
