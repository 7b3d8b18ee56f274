"""One call of the API, as the route table lists it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api.access import Access
from api.rate_limits import PER_ADDRESS, PER_CALLER_READS, PER_CALLER_WRITES, BucketRule

BASE = "/api/v1"
PROJECT = BASE + "/projects/{project_id}"
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API.

    `parameters`, `body` and `answer` are the models of the query, of the request's JSON and of the
    answer's `data`; None where there is none, or nothing but a file. `is_personal` asks for a
    login: neither keys nor API tokens will do. `limit` is how often one address or caller may call;
    None means the usual one of the kind. `files` are the types in which a file is answered instead
    of JSON. `example` is a body that works.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.PUBLIC
    summary: str = ""
    parameters: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    is_personal: bool = False
    limit: BucketRule | None = None
    files: tuple[str, ...] = ()
    example: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method in _SAFE

    @property
    def in_project(self) -> bool:
        """Whether it is about the project of its path."""
        return self.access >= Access.VIEWER

    @property
    def rate(self) -> BucketRule:
        """How often it may be called."""
        if self.limit is not None:
            return self.limit
        if self.access is Access.PUBLIC:
            return PER_ADDRESS
        return PER_CALLER_READS if self.is_read else PER_CALLER_WRITES
