"""Requests and answers about projects and their keys. Source: api.md, section 5."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, RootModel, StringConstraints

from api.accounts.fields import UNNAMED, Answer, Expiry, Line, Moment, Role
from api.bodies import Body
from schemas.domains import DOMAIN_CHARS_MAX, DOMAINS_MAX, read_domain

Domain = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, min_length=1, max_length=DOMAIN_CHARS_MAX
    ),
    AfterValidator(read_domain),
]
Domains = Annotated[list[Domain], Field(max_length=DOMAINS_MAX)]
Permission = Literal["write", "read"]


class NewProjectBody(Body):
    """POST /projects; without domains, every page may send."""

    name: Line
    allowed_domains: Domains = Field(default_factory=list)


class ProjectBody(Body):
    """PATCH :pid; what is not named stays. Settings merge key by key, null takes a key away."""

    name: Line = UNNAMED
    allowed_domains: Domains = UNNAMED
    settings: dict[str, Any] = UNNAMED


class KeyBody(Body):
    """POST :pid/api-keys; `rate_limit` are requests a second."""

    name: Line = "Default"
    permissions: Annotated[list[Permission], Field(min_length=1, max_length=1)]
    rate_limit: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    expires_at: Expiry | None = None


class Stats(Answer):
    """What came today, in the account's time zone."""

    sessions_today: int
    events_today: int


class ProjectHead(Answer):
    """A project in the list; `stats` is null while they cannot be told."""

    id: UUID
    name: str
    slug: str
    allowed_domains: list[str]
    created_at: Moment
    role: Role
    stats: Stats | None


class Projects(RootModel[list[ProjectHead]]):
    """All projects that the account has a part in, oldest first."""


class Project(Answer):
    """A project; settings hold only what differs from the defaults."""

    id: UUID
    name: str
    slug: str
    allowed_domains: list[str]
    settings: dict[str, Any]
    created_at: Moment
    role: Role


class NewProject(Project):
    """A fresh project, with a key that sends events: it is not shown again."""

    api_key: str


class Erasure(Answer):
    """A project that is gone; its data is erased in the background."""

    id: UUID
    requested_at: Moment


class Key(Answer):
    """A key; of the key itself only the first characters are known.

    `last_used_at` and `request_count`, of requests with it, are some seconds behind.
    """

    id: UUID
    name: str
    key_prefix: str
    permissions: list[str]
    rate_limit: int
    is_active: bool
    last_used_at: Moment | None
    request_count: int
    expires_at: Moment | None
    created_at: Moment


class Keys(RootModel[list[Key]]):
    """All keys of a project, oldest first, revoked ones too."""


class NewKey(Key):
    """A fresh key, with the key itself: it is not shown again."""

    key: str
