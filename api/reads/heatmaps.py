"""Heat maps of one page: clicks, pointer, scrolling, attention, elements.

They are counted from the events themselves, so that a period may begin and end at any moment.
Windows of about one size belong together: narrow to 480 pixels, medium to 1,024, wide beyond.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web

from api.project_queries import bounds
from api.reads.asking import AskedPeriod, ask_period, optional
from api.reads.cached import answer_cached
from api.reads.heat_models import HeatMapParameters, PageMapParameters
from api.reads.overview import period_document
from api.services import Row

CELLS_MAX = 5_000
BANDS_MAX = 2_000
ELEMENTS_MAX = 200
ALL_MAPS = ("click", "scroll", "move", "attention")
DEPTHS = (25, 50, 75, 90, 100)
WIDTH_MAX = 2**32 - 1
# Source: sessions.md, section 4; the classes of view click_heatmap_mv.
WIDTHS: Mapping[str, tuple[int, int]] = {
    "unknown": (0, 0),
    "narrow": (1, 480),
    "medium": (481, 1024),
    "wide": (1025, WIDTH_MAX),
}


async def heatmaps(request: web.Request) -> web.Response:
    """The maps that are asked for, all by default."""
    asked = ask_period(request, HeatMapParameters)
    wanted = asked.parameters.type
    return await _answer(request, asked, {wanted} if wanted else ALL_MAPS)


async def clicks(request: web.Request) -> web.Response:
    """The click map."""
    return await _answer(request, ask_period(request, PageMapParameters), {"click"})


async def scrolling(request: web.Request) -> web.Response:
    """The scroll map."""
    return await _answer(request, ask_period(request, PageMapParameters), {"scroll"})


async def elements(request: web.Request) -> web.Response:
    """The most clicked elements."""
    return await answer_cached(request, ask_period(request, PageMapParameters), _elements)


async def _elements(asked: AskedPeriod[PageMapParameters]) -> Any:
    rows = await asked.queries.rows("heat_elements", {**_chosen(asked), "limit": ELEMENTS_MAX})
    return [dict(row) for row in rows]


def width_range(viewport_class: str | None, viewport_width: int | None) -> tuple[int, int]:
    """The widths that are meant, both included; everything without a class and a width."""
    for low, high in WIDTHS.values():
        if viewport_width is not None and low <= viewport_width <= high:
            return low, high
    return WIDTHS[viewport_class] if viewport_class else (0, WIDTH_MAX)


async def _answer(
    request: web.Request, asked: AskedPeriod[Any], wanted: Collection[str]
) -> web.Response:
    return await answer_cached(request, asked, lambda one: _maps(one, wanted))


async def _maps(asked: AskedPeriod[Any], wanted: Collection[str]) -> Any:
    chosen = _chosen(asked)
    queries: dict[str, tuple[str, Mapping[str, Any]]] = {"scroll": ("heat_scroll", chosen)}
    if "click" in wanted:
        queries["click"] = ("heat_clicks", {**chosen, "limit": CELLS_MAX})
    if "move" in wanted:
        queries["move"] = ("heat_moves", {**chosen, "limit": CELLS_MAX})
    if "attention" in wanted:
        queries["attention"] = ("heat_attention", {**chosen, "limit": BANDS_MAX})
    answers = await asked.queries.rows_of_all(list(queries.values()))
    rows = dict(zip(queries, answers, strict=True))
    page = rows["scroll"][0]
    return {
        "path": asked.parameters.path,
        "period": period_document(asked.period),
        "total_sessions": page["total_sessions"],
        "viewport": {
            "width": page["viewport_width"] or None,
            "height": page["viewport_height"] or None,
        },
        "page_height": page["page_height"] or None,
        "click_map": _list(rows, "click"),
        "scroll_map": [
            {"depth_percent": depth, "reached_count": page[f"reached_{depth}"]} for depth in DEPTHS
        ]
        if "scroll" in wanted
        else None,
        "move_map": _list(rows, "move"),
        "attention_map": _list(rows, "attention"),
    }


def _chosen(asked: AskedPeriod[Any]) -> dict[str, Any]:
    given: PageMapParameters = asked.parameters
    low, high = width_range(given.viewport_class, given.viewport_width)
    return {
        **bounds(asked.period),
        "path": given.path,
        "device_type": optional(given.device_type),
        "width_min": low,
        "width_max": high,
    }


def _list(rows: Mapping[str, Sequence[Row]], name: str) -> list[dict[str, Any]] | None:
    return [dict(row) for row in rows[name]] if name in rows else None
