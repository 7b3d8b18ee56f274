"""What the API answers when it does not answer the question.

One table from code to HTTP status, one JSON shape:
`{"success": false, "error": {"code", "message", "details"}}`; `details` maps a field to its fault.
Source: api.md, section 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from api.answers import json_answer


class ErrorCode(StrEnum):
    """Closed list of codes; a client decides by them, never by the message."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    UNAUTHORIZED = "UNAUTHORIZED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a code, no secret.
    TOKEN_REUSED = "TOKEN_REUSED"  # noqa: S105
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    CONFLICT = "CONFLICT"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    UNAVAILABLE = "UNAVAILABLE"


STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.VALIDATION_ERROR: 400,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.TOKEN_REUSED: 401,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.CONFLICT: 409,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.UNAVAILABLE: 503,
}
_CODE_BY_STATUS = {status: code for code, status in STATUS.items()}
_RETRY_AFTER_S = 5


class ApiError(Exception):
    """The request gets an error answer; the message is for a person and names no internals.

    `retry_after_s` tells when to try again, `allow` which methods the path has.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: Mapping[str, str] | None = None,
        *,
        retry_after_s: float = 0.0,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        self.allow = allow


def error_answer(error: ApiError) -> web.Response:
    """The answer for an `ApiError`, with the headers its code asks for."""
    headers = {}
    if STATUS[error.code] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.code is ErrorCode.UNAVAILABLE:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    if error.retry_after_s > 0:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if error.allow:
        headers["Allow"] = error.allow
    if error.code is ErrorCode.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    body = {
        "success": False,
        "error": {"code": error.code.value, "message": error.message, "details": error.details},
    }
    return json_answer(body, status=STATUS[error.code], headers=headers)


def from_http_error(error: web.HTTPException) -> ApiError:
    """What the router itself refused (unknown path, wrong method, body too large)."""
    code = _CODE_BY_STATUS.get(error.status, ErrorCode.VALIDATION_ERROR)
    if error.status >= 500:
        code = ErrorCode.INTERNAL_ERROR
    # Of a wrong method: RFC 9110, section 15.5.6.
    allow = error.headers.get("Allow", "")
    return ApiError(code, error.reason or "the request cannot be answered", allow=allow)
