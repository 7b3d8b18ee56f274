"""Pieces of the reads that need no store: pages of a session, days, widths."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.period import Period
from api.reads.days import filled
from api.reads.errors import status_of
from api.reads.heatmaps import width_range
from api.reads.live import retention_days
from api.reads.overview import device_shares
from api.reads.session_pages import TIME_ON_PAGE_MAX_MS, seen_pages
from connectors.error_groups import Decision
from schemas.records import RETENTION_DAYS_MAX

ID = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


def row(
    event_type: str, at_ms: int, path: str = "/", view: str = "", **more: Any
) -> dict[str, Any]:
    """A row of session_views."""
    return {
        "event_type": event_type,
        "timestamp_ms": at_ms,
        "url": f"https://a.example{path}",
        "path": path,
        "title": "",
        "page_view_id": view,
        "time_on_page_ms": None,
        "scroll_depth": None,
        **more,
    }


def times(rows: list[dict[str, Any]]) -> list[tuple[str, int | None, int | None]]:
    """Path, time and depth of each page."""
    return [
        (page["path"], page["time_on_page_ms"], page["scroll_depth"]) for page in seen_pages(rows)
    ]


def test_what_the_exit_measured_counts_else_the_next_view() -> None:
    """The last page without an exit is unknown; a gap counts half an hour at most."""
    rows = [
        row("page_view", 0, "/a", "v1"),
        row("scroll", 500, "/a", "v1", scroll_depth=40),
        row("page_exit", 1_000, "/a", "v1", time_on_page_ms=900, scroll_depth=30),
        row("page_view", 1_200, "/b", "v2"),
        row("page_view", 5_000, "/c", "v3"),
        row("page_view", 5_000 + 2 * TIME_ON_PAGE_MAX_MS, "/d", "v4"),
    ]
    assert times(rows) == [
        ("/a", 900, 40),
        ("/b", 3_800, None),
        ("/c", TIME_ON_PAGE_MAX_MS, None),
        ("/d", None, None),
    ]


def test_exits_find_their_view_in_two_tabs_and_without_ids() -> None:
    """By the view's id, else by the last view of the path; what fits nowhere is left out."""
    rows = [
        row("page_view", 0, "/a", "v1"),
        row("page_view", 10, "/a", "v2"),
        row("page_exit", 20, "/a", "v1", time_on_page_ms=20),
        row("page_exit", 90, "/a", "v2", time_on_page_ms=80),
        row("page_view", 100, "/b"),
        row("page_exit", 150, "/b", time_on_page_ms=50, scroll_depth=100),
        row("page_exit", 160, "/elsewhere", "v9", time_on_page_ms=7),
    ]
    assert times(rows) == [("/a", 20, None), ("/a", 80, None), ("/b", 50, 100)]
    assert seen_pages([]) == []


@pytest.mark.parametrize(
    ("status", "last_seen_ms", "found"),
    [
        ("resolved", 9, "resolved"),
        ("resolved", 10, "resolved"),
        ("resolved", 11, "open"),
        ("ignored", 11, "ignored"),
        ("open", 11, "open"),
    ],
)
def test_only_what_is_resolved_comes_back(status: str, last_seen_ms: int, found: str) -> None:
    """And only when it happens after the decision."""
    assert status_of(Decision(status, 10), last_seen_ms) == found


def test_days_without_anything_are_there() -> None:
    """All days of the zone that the period touches, also the one on which clocks go back."""
    zone = ZoneInfo("America/New_York")
    start = datetime(2026, 10, 31, 23, 30, tzinfo=zone)
    end = datetime(2026, 11, 3, tzinfo=zone)
    period = Period(
        round(start.timestamp() * 1000), round(end.timestamp() * 1000), "America/New_York"
    )
    assert filled(period, {date(2026, 11, 1): 4}) == [
        {"date": "2026-10-31", "value": 0},
        {"date": "2026-11-01", "value": 4},
        {"date": "2026-11-02", "value": 0},
    ]


@pytest.mark.parametrize(
    ("document", "kind", "days"),
    [
        ({}, "events", 90),
        ({"retention": {"events": 30}}, "events", 30),
        ({"retention": {"events": 99_999}}, "events", RETENTION_DAYS_MAX),
        ({"retention": {"events": 0}}, "events", 90),
        ({"retention": {"events": "7"}}, "events", 90),
        ({"retention": []}, "sessions", 365),
        ({"retention": {"replay": 400}}, "replay", 90),
    ],
)
def test_for_how_many_days_a_project_keeps(document: Any, kind: str, days: int) -> None:
    """As the tables do: the default for nonsense, never longer than they allow."""
    assert retention_days(document, kind) == days


@pytest.mark.parametrize(
    ("viewport_class", "width", "found"),
    [
        (None, None, (0, 2**32 - 1)),
        ("narrow", None, (1, 480)),
        (None, 480, (1, 480)),
        (None, 481, (481, 1024)),
        ("narrow", 1_025, (1025, 2**32 - 1)),
        ("unknown", None, (0, 0)),
    ],
)
def test_which_windows_a_map_is_of(
    viewport_class: str | None, width: int | None, found: tuple[int, int]
) -> None:
    """A width stands for its class and goes before a class; without both it is all of them."""
    assert width_range(viewport_class, width) == found


def test_shares_of_devices() -> None:
    """Of the sessions whose device is known; zeros without any."""
    rows = [
        {"device_name": "desktop", "sessions": 2},
        {"device_name": "mobile", "sessions": 1},
        {"device_name": "", "sessions": 7},
    ]
    assert device_shares(rows) == {"desktop": 66.7, "mobile": 33.3, "tablet": 0.0}
    assert set(device_shares([]).values()) == {0.0}
