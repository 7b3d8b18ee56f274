"""Types of the fields that requests and answers of the account side have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)

from api.access import Access
from api.answers import data_answer, time_text
from schemas.time_zones import is_time_zone

# Source: the e-mail addresses that HTML forms take (HTML standard, 4.10.5.1.5).
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*")
# What RFC 3986 lets stand in an address, and therefore no character that could end an attribute.
_WEB_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ROLES = {access.name.lower(): access for access in Access if access >= Access.VIEWER}


def _email(text: str) -> str:
    """One person, one spelling."""
    if not _EMAIL.fullmatch(text):
        raise ValueError("is not an e-mail address")
    return text.lower()


def _line(text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError("must be one line without control characters")
    return text


def _zone(name: str) -> str:
    if not is_time_zone(name):
        raise ValueError("is not the name of a time zone, such as Europe/Paris")
    return name


def _told_later(at: datetime) -> datetime:
    """Answers show it in UTC and rows in the server's zone: both need a day behind it."""
    if at.year >= MAXYEAR:
        raise ValueError(f"must be before the year {MAXYEAR}")
    return at


def _web_address(text: str) -> str:
    if not _WEB_ADDRESS.fullmatch(text):
        raise ValueError("is not an address that begins with https:// or http://")
    return text


# `json_schema_extra` tells in the document what the validators check, and no more than that.
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    AfterValidator(_line),
]
Email = Annotated[
    str,
    StringConstraints(max_length=254),
    AfterValidator(_email),
    Field(json_schema_extra={"pattern": f"^{_EMAIL.pattern}$"}),
]
NewPassword = Annotated[SecretStr, Field(min_length=10, max_length=128)]
OldPassword = Annotated[SecretStr, Field(min_length=1, max_length=1_024)]
Zone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
Currency = Annotated[str, StringConstraints(pattern=r"^([A-Z]{3})?$")]
WebAddress = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(_web_address),
    Field(json_schema_extra={"pattern": f"^{_WEB_ADDRESS.pattern}$"}),
]
Role = Literal["viewer", "member", "admin", "owner"]
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
Slug = Annotated[str, StringConstraints(pattern=rf"^{SLUG.pattern}$", max_length=100)]


Expiry = Annotated[AwareDatetime, AfterValidator(_told_later)]


def _moment_text(at: datetime) -> str:
    return time_text(round(at.timestamp() * 1000))


Moment = Annotated[
    AwareDatetime,
    PlainSerializer(_moment_text, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


# Of a field that a change may leave out; `model_fields_set` tells. A default would be documented.
UNNAMED: Any = Field(default_factory=lambda: None)


class Answer(BaseModel):
    """Data of an answer; fields of a row that are not named stay inside."""

    model_config = ConfigDict(extra="ignore", frozen=True, from_attributes=True)


class Nothing(RootModel[None]):
    """An answer without data."""


def role_of(text: str | None) -> Access | None:
    """A member's role as rows name it; None for somebody who is no member."""
    return None if text is None else _ROLES[text]


def one_answer(model: type[Answer], row: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """A row as the model shows it."""
    return data_answer(model.model_validate(row).model_dump(mode="json"), status=status)


def list_answer(model: type[Answer], rows: Sequence[Mapping[str, Any]]) -> web.Response:
    """Rows as the model shows them."""
    return data_answer([model.model_validate(row).model_dump(mode="json") for row in rows])


def nothing() -> web.Response:
    """It is done, and there is nothing to tell."""
    return data_answer(None)
