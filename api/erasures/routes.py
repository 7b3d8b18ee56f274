"""Exports and erasures in the route table."""

from __future__ import annotations

from api.access import Access
from api.erasures import handlers
from api.erasures.models import ProjectErasures, VisitorJob
from api.parameters import NoParameters
from api.route import BASE, PROJECT, Route

VISITOR = PROJECT + "/users/{visitor}/data"

ERASURE_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        VISITOR + "/export",
        handlers.start_export,
        Access.ADMIN,
        "Export all that is stored about a visitor",
        NoParameters,
        answer=VisitorJob,
        status=202,
    ),
    Route(
        "DELETE",
        VISITOR,
        handlers.start_erasure,
        Access.ADMIN,
        "Erase a visitor from every store",
        NoParameters,
        answer=VisitorJob,
        status=202,
    ),
    Route(
        "GET",
        PROJECT + "/jobs/{job_id}/download",
        handlers.download,
        Access.ADMIN,
        "The file that an export made",
        NoParameters,
        files=("application/zip",),
    ),
    Route(
        "GET",
        BASE + "/me/erasures",
        handlers.project_erasures,
        Access.ACCOUNT,
        "Projects that the account deleted, with receipts",
        answer=ProjectErasures,
    ),
)
