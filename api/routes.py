"""The route table: every path the API answers, its handler, who may call it, and its shapes.

A route that asks for a role is under `/api/v1/projects/{project_id}`; its handler finds the caller,
already checked, in `request[api.auth.CALLER]`. What is checked, documented (OpenAPI) and tested for
every role is made from this table alone. Parts of it stand beside their handlers.
"""

from __future__ import annotations

from api import service_handlers
from api.access import Access
from api.events_handler import events
from api.ledger_handler import ledger
from api.read_routes import READ_ROUTES
from api.reads.overview import overview
from api.route import BASE, PROJECT, Route

__all__ = ["BASE", "PROJECT", "ROUTES", "Route"]

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", service_handlers.health),
    Route("GET", "/ready", service_handlers.ready),
    Route("GET", "/metrics", service_handlers.metrics),
    Route("GET", PROJECT + "/overview", overview, Access.VIEWER),
    Route("GET", PROJECT + "/ledger", ledger, Access.VIEWER),
    Route("GET", PROJECT + "/events", events, Access.VIEWER),
    *READ_ROUTES,
)
