"""What one call of the API is: a row of the route table, apart from the table itself.

Modules that hold a part of the table import this, and `api.routes` puts the parts together.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api.access import Access

BASE = "/api/v1"
PROJECT = BASE + "/projects/{project_id}"


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API.

    `parameters`, `body` and `answer` are the models of the query, of the request's JSON and of the
    answer's `data`; None where there is none, or nothing but a file.
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
