"""Who is asking, and may they?

In: a request. Out: a `Caller` bound to one project. A key comes in the header `X-GoSight-Key` or as
`Authorization: Bearer`; it is looked up by its SHA-256, it itself is never stored nor logged.
A project that is not the key's own answers 404 whatever the key may do, so that nobody learns which
projects exist. Source: api.md, sections 1 and 2.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from api.access import Access
from api.errors import ApiError, ErrorCode
from api.services import SERVICES, KeyFinder
from schemas.records import ProjectKey

# Anything else cannot be a key: it is refused without asking the store.
_KEY_FORM = re.compile(r"gs_(?:live|test|api)_[0-9A-Za-z]{32}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that may use one project, and as what."""

    project_id: str
    role: Access


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


async def authorize(request: web.Request, access: Access) -> Caller:
    """The caller of a request under `/api/v1/projects/{project_id}`.

    Raises:
        ApiError: UNAUTHORIZED, NOT_FOUND or FORBIDDEN.
        RetryableError: the key store cannot answer.
    """
    services = request.app[SERVICES]
    key = await _find_key(services.keys, _presented_key(request), services.now_ms())
    if _project_id(request) != key.project_id:
        raise ApiError(ErrorCode.NOT_FOUND, "there is no such project")
    role = _role_of(key)
    if role < access:
        raise ApiError(
            ErrorCode.FORBIDDEN, f"this key is not allowed what a {access.name.lower()} is"
        )
    return Caller(key.project_id, role)


def _role_of(key: ProjectKey) -> Access:
    if "admin" in key.permissions:
        return Access.ADMIN
    return Access.VIEWER if "read" in key.permissions else Access.PUBLIC


def _presented_key(request: web.Request) -> str:
    key = request.headers.get("X-GoSight-Key", "")
    if not key:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        key = value.strip() if scheme.lower() == "bearer" else ""
    if not key:
        raise ApiError(
            ErrorCode.UNAUTHORIZED,
            "send a key with read permission as X-GoSight-Key or Authorization: Bearer",
        )
    return key


async def _find_key(keys: KeyFinder, text: str, now_ms: int) -> ProjectKey:
    key = None
    if _KEY_FORM.fullmatch(text):
        key = await keys.find(hashlib.sha256(text.encode()).hexdigest())
    is_expired = key is not None and key.expires_at_ms is not None and key.expires_at_ms <= now_ms
    if key is None or not key.is_active or is_expired:
        raise ApiError(ErrorCode.UNAUTHORIZED, "the key is unknown, revoked or expired")
    return key


def _project_id(request: web.Request) -> str:
    """The project of the path in its canonical form; empty if it is no UUID."""
    try:
        return str(UUID(request.match_info["project_id"]))
    except ValueError:
        return ""
