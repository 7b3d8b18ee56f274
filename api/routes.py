"""The route table: every path the API answers, its handler, and the permission it asks for.

A route with a permission is under `/api/v1/projects/{project_id}`; its handler finds the caller,
already checked, in `request[api.auth.CALLER]`. None means public.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.typedefs import Handler

from api import service_handlers
from api.events_handler import events
from api.ledger_handler import ledger
from api.overview_handler import overview

BASE = "/api/v1"
PROJECT = BASE + "/projects/{project_id}"


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API."""

    method: str
    path: str
    handler: Handler
    permission: str | None = None


ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", service_handlers.health),
    Route("GET", "/ready", service_handlers.ready),
    Route("GET", "/metrics", service_handlers.metrics),
    Route("GET", PROJECT + "/overview", overview, "read"),
    Route("GET", PROJECT + "/ledger", ledger, "read"),
    Route("GET", PROJECT + "/events", events, "read"),
)
