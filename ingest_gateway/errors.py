"""Refusals of a whole request: one table from the kind of refusal to HTTP and gRPC.

A refused event is not an error: it is counted and answered 202 (see `ingest`). Here are only the
cases in which nothing of the request was taken. Source: events.md, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a whole request was refused; the value is the `error` text of the answer."""

    INVALID_BODY = "INVALID_BODY"
    INVALID_KEY = "INVALID_KEY"
    FORBIDDEN = "FORBIDDEN"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    TIMEOUT = "TIMEOUT"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Status:
    """How a kind is told: HTTP status and gRPC status code."""

    http: int
    grpc: int


STATUS: dict[ErrorKind, Status] = {
    ErrorKind.INVALID_BODY: Status(400, 3),
    ErrorKind.INVALID_KEY: Status(401, 16),
    ErrorKind.FORBIDDEN: Status(403, 7),
    ErrorKind.ORIGIN_NOT_ALLOWED: Status(403, 7),
    ErrorKind.TIMEOUT: Status(408, 4),
    ErrorKind.TOO_LARGE: Status(413, 8),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: Status(415, 3),
    ErrorKind.RATE_LIMITED: Status(429, 8),
    ErrorKind.INTERNAL: Status(500, 13),
    ErrorKind.UNAVAILABLE: Status(503, 14),
}


class RefusedError(Exception):
    """The request is refused as a whole; nothing of it was written.

    `retry_after_s` is set for RATE_LIMITED and UNAVAILABLE: the real wait, as far as it is known.
    """

    def __init__(self, kind: ErrorKind, retry_after_s: float | None = None) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.retry_after_s = retry_after_s
