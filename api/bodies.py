"""JSON bodies of requests, as models that know every allowed field.

An unknown field, a missing one or a bad value is refused with all faults at once. What no store can
hold (NUL characters, numbers that are none) is refused here, for all calls. Source: api.md, 1.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ApiError, ErrorCode

BODY_TIMEOUT_S = 10.0


class Body(BaseModel):
    """A request's JSON; nothing that is not named gets in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


BodyT = TypeVar("BodyT", bound=Body)


async def read_body(request: web.Request, model: type[BodyT]) -> BodyT:
    """The body of a request; no body counts as an empty object.

    Raises:
        ApiError: VALIDATION_ERROR with one entry per field at fault; REQUEST_TIMEOUT.
        web.HTTPRequestEntityTooLarge: it is over the application's limit.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = await request.read()
    except TimeoutError:
        raise ApiError(ErrorCode.REQUEST_TIMEOUT, "the body did not arrive in time") from None
    except web.RequestPayloadError:
        raise ApiError(
            ErrorCode.VALIDATION_ERROR, "the body is not encoded as Content-Encoding says"
        ) from None
    if content and request.content_type != "application/json":
        raise ApiError(ErrorCode.VALIDATION_ERROR, "send the body as application/json")
    return parse_body(content or b"{}", model)


def parse_body(content: bytes, model: type[BodyT]) -> BodyT:
    """Read JSON into a model.

    Raises:
        ApiError: VALIDATION_ERROR with one entry per field at fault.
    """
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is not a JSON object")
    if _has_nul(document):
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body has a NUL character")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise ApiError(
            ErrorCode.VALIDATION_ERROR, "the body is invalid", faults_of(error)
        ) from None


def faults_of(error: ValidationError) -> dict[str, str]:
    """What is wrong, by the path of the field."""
    faults: dict[str, str] = {}
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        name = ".".join(str(part) for part in fault["loc"]) or "body"
        is_unknown = fault["type"] == "extra_forbidden"
        faults.setdefault(name, "is not a field of this call" if is_unknown else fault["msg"])
    return faults


def _has_nul(value: Any) -> bool:
    """Whether a text anywhere in the document has a character that PostgreSQL cannot store."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False
