"""JSON bodies of requests, as models that know every allowed field.

An unknown field, a missing one or a bad value is refused with all faults at once.
Source: api.md, section 1.
"""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ApiError, ErrorCode


class Body(BaseModel):
    """A request's JSON; nothing that is not named gets in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


BodyT = TypeVar("BodyT", bound=Body)


async def read_body(request: web.Request, model: type[BodyT]) -> BodyT:
    """The body of a request; no body counts as an empty object.

    Raises:
        ApiError: VALIDATION_ERROR with one entry per field at fault.
        web.HTTPRequestEntityTooLarge: it is over the application's limit.
    """
    content = await request.read()
    if content and request.content_type != "application/json":
        raise ApiError(ErrorCode.VALIDATION_ERROR, "send the body as application/json")
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as error:
        faults: dict[str, str] = {}
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            name = ".".join(str(part) for part in fault["loc"]) or "body"
            is_unknown = fault["type"] == "extra_forbidden"
            faults.setdefault(name, "is not a field of this call" if is_unknown else fault["msg"])
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is invalid", faults) from None
