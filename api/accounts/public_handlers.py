"""A project's totals under a public address, if its admins want that.

What is public is a closed list: totals of page views and visitors, and the project's name. No
lists, no sessions, no users, no money. Source: api.md, section 7.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from psycopg.errors import UniqueViolation

from api.accounts.audit import Action, write_audit
from api.accounts.fields import SLUG, one_answer
from api.accounts.lookups import existing
from api.accounts.services import ACCOUNTS
from api.accounts.shared_models import (
    PublicDashboard,
    PublicDashboardBody,
    PublicOverview,
    PublicParameters,
)
from api.answers import time_text
from api.auth import CALLER
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.parameters import parse_parameters
from api.period import Period, parse_period
from api.project_queries import ProjectQueries, bounds
from api.reads.overview import change_percent
from api.services import SERVICES

CACHE_MS = 60_000  # A crowd of readers costs the stores one query a minute.
CACHED_MAX = 1_000


class PublicTotalsCache:
    """The last totals by project and days; the dashboard's switch is never cached."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], tuple[int, Mapping[str, Any]]] = OrderedDict()

    def get(self, project_id: str, days: int, now_ms: int) -> Mapping[str, Any] | None:
        """Totals not older than a minute."""
        found = self._known.get((project_id, days))
        return found[1] if found is not None and now_ms - found[0] < CACHE_MS else None

    def put(self, project_id: str, days: int, now_ms: int, totals: Mapping[str, Any]) -> None:
        """Keep totals."""
        self._known[project_id, days] = (now_ms, totals)
        self._known.move_to_end((project_id, days))
        if len(self._known) > CACHED_MAX:
            self._known.popitem(last=False)


PUBLIC_TOTALS: web.AppKey[PublicTotalsCache] = web.AppKey("public_totals", PublicTotalsCache)


async def public_dashboard(request: web.Request) -> web.Response:
    """Whether totals are public."""
    row = await request.app[ACCOUNTS].database.row(
        "SELECT is_enabled AS enabled, slug FROM public_dashboards WHERE project_id = %(project)s",
        project=request[CALLER].project_id,
    )
    return one_answer(PublicDashboard, row or {"enabled": False, "slug": None})


async def set_public_dashboard(request: web.Request) -> web.Response:
    """Make totals public, or end it: the address answers 404 with the next request."""
    body = await read_body(request, PublicDashboardBody)
    caller = request[CALLER]
    try:
        async with request.app[ACCOUNTS].database.transaction() as transaction:
            row = await transaction.row(
                "INSERT INTO public_dashboards (project_id, slug, is_enabled) "
                "SELECT id, coalesce(%(slug)s::text, trim('-' FROM slug)), %(enabled)s "
                "FROM projects "
                "WHERE id = %(project)s ON CONFLICT (project_id) DO UPDATE SET "
                "slug = coalesce(%(slug)s::text, public_dashboards.slug), is_enabled = %(enabled)s "
                "RETURNING is_enabled AS enabled, slug",
                project=caller.project_id,
                slug=body.slug,
                enabled=body.enabled,
            )
            enabled = body.enabled
            await write_audit(transaction, caller, Action.PUBLIC_PAGE_CHANGED, enabled=enabled)
    except UniqueViolation:
        raise ApiError(ErrorCode.CONFLICT, "another dashboard has this name") from None
    return one_answer(PublicDashboard, existing(row))


async def public_overview(request: web.Request) -> web.Response:
    """Totals of a project whose dashboard is public; 404 for all others."""
    services, cache = request.app[SERVICES], request.app[PUBLIC_TOTALS]
    days = int(parse_parameters(PublicParameters, request.query).days)
    slug = request.match_info["slug"]
    if not SLUG.fullmatch(slug):
        raise _no_dashboard()
    row = await request.app[ACCOUNTS].database.row(
        "SELECT p.id::text, p.name FROM public_dashboards d JOIN projects p ON p.id = d.project_id "
        "WHERE d.slug = %(slug)s AND d.is_enabled",
        slug=slug,
    )
    if row is None:
        raise _no_dashboard()
    project_id, now_ms = row["id"], services.now_ms()

    async def count() -> Mapping[str, Any]:
        made = await _totals(ProjectQueries(services.queries, project_id), days, now_ms)
        cache.put(project_id, days, now_ms, made)
        return made

    totals = cache.get(project_id, days, now_ms)
    if totals is None:
        # All who come before the first one has its answer get that one.
        answers = services.reads.answers if services.reads else None
        what = f"public {days}"
        totals = await (answers.share(project_id, what, count) if answers else count())
    return one_answer(PublicOverview, {"name": row["name"], **totals})


def _no_dashboard() -> ApiError:
    return ApiError(ErrorCode.NOT_FOUND, "there is no such dashboard")


async def _totals(queries: ProjectQueries, days: int, now_ms: int) -> Mapping[str, Any]:
    period = _last_days(days, now_ms)
    now, before = await queries.rows_of_all(
        [("overview_summary", bounds(period)), ("overview_summary", bounds(period.before()))]
    )
    summary: dict[str, Any] = {}
    for name in ("page_views", "visitors"):
        summary[name] = now[0][name]
        summary[f"{name}_change"] = change_percent(now[0][name], before[0][name])
    return {
        "period": {"start": time_text(period.start_ms), "end": time_text(period.end_ms)},
        "summary": summary,
    }


def _last_days(days: int, now_ms: int) -> Period:
    today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).date()
    first = today - timedelta(days=days - 1)
    return parse_period(first.isoformat(), today.isoformat(), "UTC", now_ms)
