"""The route table: every path the API answers, its handler, who may call it, and its shapes.

A route that asks for a role is under `/api/v1/projects/{project_id}`; its handler finds the caller,
already checked, in `request[api.auth.CALLER]`. What is checked, documented (OpenAPI) and tested for
every role is made from this table alone. Parts of it stand beside their handlers.
"""

from __future__ import annotations

from api import openapi_handlers, service_handlers
from api.access import Access
from api.accounts.audit_handlers import AUDIT_ROUTES
from api.accounts.leaving import LEAVE_ROUTES
from api.accounts.routes import ACCOUNT_ROUTES
from api.alerts.routes import ALERT_ROUTES
from api.data_models import Events, Ledger
from api.erasures.routes import ERASURE_ROUTES
from api.events_handler import events
from api.goals.routes import GOAL_ROUTES
from api.ledger_handler import ledger
from api.openapi import OPENAPI_PATH
from api.parameters import EventsParameters, OverviewParameters, PeriodParameters
from api.read_routes import READ_ROUTES
from api.reads.overview import overview
from api.reads.overview_models import Overview
from api.realtime.handler import REALTIME_ROUTES
from api.route import BASE, PROJECT, Route

__all__ = ["BASE", "DATA_ROUTES", "PROJECT", "ROUTES", "Route"]

DATA_ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", service_handlers.health),
    Route("GET", "/ready", service_handlers.ready),
    Route("GET", "/metrics", service_handlers.metrics),
    Route("GET", OPENAPI_PATH, openapi_handlers.openapi, summary="The OpenAPI document"),
    Route("GET", "/api/docs", openapi_handlers.docs_page),
    Route("GET", "/api/docs/{file}", openapi_handlers.docs_file),
    Route(
        "GET",
        PROJECT + "/overview",
        overview,
        Access.VIEWER,
        "A project's period on one page",
        OverviewParameters,
        answer=Overview,
    ),
    Route(
        "GET",
        PROJECT + "/ledger",
        ledger,
        Access.VIEWER,
        "What became of every event, by minute of receipt",
        PeriodParameters,
        answer=Ledger,
    ),
    Route(
        "GET",
        PROJECT + "/events",
        events,
        Access.VIEWER,
        "Stored events, newest first",
        EventsParameters,
        answer=Events,
    ),
    *READ_ROUTES,
    *ALERT_ROUTES,
    *GOAL_ROUTES,
    *REALTIME_ROUTES,
)
ROUTES: tuple[Route, ...] = (
    *DATA_ROUTES,
    *ACCOUNT_ROUTES,
    *LEAVE_ROUTES,
    *AUDIT_ROUTES,
    *ERASURE_ROUTES,
)
