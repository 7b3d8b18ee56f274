"""The route table: every path the API answers, its handler, who may call it, and its shapes.

A route that asks for a role is under `/api/v1/projects/{project_id}`; its handler finds the caller,
already checked, in `request[api.auth.CALLER]`. What is checked, documented (OpenAPI) and tested for
every role is made from this table alone. Parts of it stand beside their handlers.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api import service_handlers
from api.access import Access
from api.events_handler import events
from api.ledger_handler import ledger
from api.overview_handler import overview

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


ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", service_handlers.health),
    Route("GET", "/ready", service_handlers.ready),
    Route("GET", "/metrics", service_handlers.metrics),
    Route("GET", PROJECT + "/overview", overview, Access.VIEWER),
    Route("GET", PROJECT + "/ledger", ledger, Access.VIEWER),
    Route("GET", PROJECT + "/events", events, Access.VIEWER),
)
