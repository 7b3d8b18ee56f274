"""The pages that a session saw, each with how long and how far down.

In: page views, exits and scrolls of one session, in order of time. Out: one entry a page view. The
time on a page is what its exit measured; without one, the time to the next page view, 30 minutes at
most; of the last page it is unknown. Pure. Source: sessions.md, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from api.answers import time_text
from api.services import Row

TIME_ON_PAGE_MAX_MS = 30 * 60_000


@dataclass(slots=True)
class _View:
    row: Row
    time_ms: int | None = None
    depth: int | None = None

    def take(self, row: Row) -> None:
        if row["scroll_depth"] is not None:
            self.depth = max(self.depth or 0, row["scroll_depth"])
        # A page that is hidden and shown again tells its time twice: the later one has it all.
        if row["time_on_page_ms"]:
            self.time_ms = max(self.time_ms or 0, row["time_on_page_ms"])


def seen_pages(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One document a page view, in order."""
    views: list[_View] = []
    by_id: dict[str, _View] = {}
    by_path: dict[str, _View] = {}
    for row in rows:
        if row["event_type"] == "page_view":
            view = _View(row)
            views.append(view)
            if row["page_view_id"]:
                by_id[row["page_view_id"]] = view
            by_path[row["path"]] = view
            continue
        found = by_id.get(row["page_view_id"]) or by_path.get(row["path"])
        if found is not None:
            found.take(row)
    return [_document(view, following) for view, following in zip_longest(views, views[1:])]


def _document(view: _View, following: _View | None) -> dict[str, Any]:
    row, time_ms = view.row, view.time_ms
    if time_ms is None and following is not None:
        until_next_ms = following.row["timestamp_ms"] - row["timestamp_ms"]
        time_ms = min(until_next_ms, TIME_ON_PAGE_MAX_MS)
    return {
        "url": row["url"],
        "path": row["path"],
        "title": row["title"],
        "entered_at": time_text(row["timestamp_ms"]),
        "time_on_page_ms": time_ms,
        "scroll_depth": view.depth,
    }
