"""What reports must say, counted in plain Python from the rows that were stored.

Nothing here asks a database: an answer of the API that equals these figures is right.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from api.reads.session_pages import seen_pages
from flows.core.insight import Insight
from flows.core.session_row import SessionRow
from tests.stored_scenes import StoredScenes

Row = dict[str, Any]
THIRTY_DAYS = timedelta(days=30)
KNOWN = ("google", "bing", "duckduckgo", "yahoo", "baidu", "yandex", "facebook", "instagram")


@dataclass(frozen=True)
class Span:
    """Whole days of a zone, both included."""

    first: date
    last: date
    zone: str

    @property
    def query(self) -> dict[str, str]:
        """As the API is asked for it."""
        return {
            "start_date": self.first.isoformat(),
            "end_date": self.last.isoformat(),
            "timezone": self.zone,
        }

    @property
    def days(self) -> list[date]:
        """Every day."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def bounds(self) -> tuple[datetime, datetime]:
        """Start, and the end that is no longer in it."""
        zone, after = ZoneInfo(self.zone), self.last + timedelta(days=1)
        start = datetime(self.first.year, self.first.month, self.first.day, tzinfo=zone)
        return start, datetime(after.year, after.month, after.day, tzinfo=zone)

    def day_of(self, at: datetime) -> str:
        """The day of a moment, as answers write it."""
        return at.astimezone(ZoneInfo(self.zone)).date().isoformat()


class Recount:
    """The rows of a span, and the equally long one before it."""

    def __init__(self, scenes: StoredScenes, span: Span, *, is_before: bool = False) -> None:
        self.scenes, self.span = scenes, span
        start, end = (at.timestamp() for at in span.bounds())
        if is_before:
            start, end = 2 * start - end, start
        self._start, self._end = start, end
        self.events: list[Row] = [row for row in scenes.events if self.has(row["timestamp"])]
        self.begun: list[SessionRow] = [
            row for row in scenes.sessions if self._has_ms(row.started_at_ms)
        ]
        self.insights: list[Insight] = [
            one for one in scenes.insights if self._has_ms(one.timestamp_ms)
        ]

    def has(self, at: datetime) -> bool:
        """Whether a moment is in the span."""
        return self._start <= at.timestamp() < self._end

    def _has_ms(self, at_ms: int) -> bool:
        return self._start * 1000 <= at_ms < self._end * 1000

    def of(self, *kinds: str) -> list[Row]:
        """Events of some types."""
        return [row for row in self.events if row["event_type"] in kinds]

    def summary(self) -> dict[str, float | None]:
        """The figures of the overview without their changes."""
        closed = [row for row in self.begun if row.is_closed]
        bounced = sum(row.is_bounce for row in closed)
        seconds = sum(row.duration_ms for row in closed) / 1000
        return {
            "events": len(self.events),
            "sessions": distinct(self.events, "session_id"),
            "users": len({self.person(row) for row in self.events} - {""}),
            "visitors": distinct(self.events, "anonymous_id"),
            "pageviews": len(self.of("page_view")),
            "avg_session_duration": round(seconds / len(closed), 1) if closed else None,
            "bounce_rate": round(100 * bounced / len(closed), 1) if closed else None,
        }

    def person(self, row: Row) -> str:
        """Who an event is."""
        if row["user_id"]:
            return str(row["user_id"])
        links = sorted(
            (one["timestamp"], one["event_id"], one["user_id"])
            for one in self.scenes.events
            if one["event_type"] == "identify"
            and one["user_id"]
            and one["anonymous_id"] == row["anonymous_id"] != ""
        )
        before = [link for link in links if link[0] <= row["timestamp"]]
        if before:
            return str(before[-1][2])
        if links and links[0][0] <= row["timestamp"] + THIRTY_DAYS:
            return str(links[0][2])
        return str(row["anonymous_id"])

    def by_day(self, rows: Iterable[Row], figure: Callable[[list[Row]], int]) -> list[Row]:
        """One entry for every day."""
        found = grouped(rows, lambda row: self.span.day_of(row["timestamp"]))
        days = [day.isoformat() for day in self.span.days]
        assert set(found) <= set(days)
        return [{"date": day, "value": figure(found.get(day, []))} for day in days]

    def top_pages(self, limit: int) -> list[Row]:
        """Pages by views."""
        times = self.times_on_page()
        pages = [
            {
                "path": path,
                "views": len(rows),
                "sessions": distinct(rows, "session_id"),
                "visitors": distinct(rows, "anonymous_id"),
                "avg_time": mean_seconds(times.get(path, [])),
            }
            for path, rows in grouped(self.of("page_view"), lambda row: row["path"]).items()
        ]
        return sorted(pages, key=lambda page: (-page["views"], page["path"].encode()))[:limit]

    def times_on_page(self) -> dict[str, list[int]]:
        """How long each view of the span lasted, by page; what followed may be of the next day."""
        start, end = (datetime.fromtimestamp(at_s, tz=UTC) for at_s in (self._start, self._end))
        return times_on_page(self.scenes.events, start, end)

    def devices(self) -> dict[str, float]:
        """Shares of the sessions."""
        sessions = {
            name: distinct([row for row in self.events if row["device_type"] == name], "session_id")
            for name in ("desktop", "mobile", "tablet")
        }
        total = sum(sessions.values())
        return {
            name: round(100 * count / total, 1) if total else 0.0
            for name, count in sessions.items()
        }

    def sources(self) -> Counter[str]:
        """Sessions by where they came from."""
        sessions = {row["session_id"] for row in self.events}
        return Counter(self.source_of(session_id) for session_id in sessions)

    def source_of(self, session_id: str) -> str:
        """Where a session came from."""
        named = sorted(
            (row["timestamp"], row["utm_source"] or row["referrer_domain"])
            for row in self.events
            if row["session_id"] == session_id and (row["utm_source"] or row["referrer_domain"])
        )
        source = str(named[0][1]) if named else "direct"
        parts = source.split(".")
        return next((name for name in KNOWN if name in parts[:-1]), source)

    def went_wrong(self) -> dict[str, int]:
        """The overview's block of insights."""
        kinds = Counter(one.insight_type for one in self.insights)
        frustrating = {"rage_click", "dead_click", "error_click", "thrashed_cursor"}
        return {
            "rage_clicks": kinds["rage_click"],
            "dead_clicks": kinds["dead_click"],
            "error_sessions": distinct(self.of("js_error", "unhandled_rejection"), "session_id"),
            "frustrated_sessions": len(
                {one.session_id for one in self.insights if one.insight_type in frustrating}
            ),
        }


class PageRecount:
    """The maps of one page."""

    def __init__(self, recount: Recount, path: str, keeps: Callable[[Row], bool]) -> None:
        self._rows = [row for row in recount.events if row["path"] == path and keeps(row)]

    def of(self, *kinds: str) -> list[Row]:
        """Events of some types on the page."""
        return [row for row in self._rows if row["event_type"] in kinds]

    def clicks(self) -> dict[tuple[int, int], tuple[int, set[str]]]:
        """Cell -> how many clicks, and which elements were clicked most."""
        cells = grouped(
            [row for row in self.of("click") if row["click_x"] is not None],
            lambda row: (cell(row["click_x"]), cell(row["click_y"])),
        )
        found = {}
        for place, rows in cells.items():
            selectors = Counter(row["target_selector"] for row in rows)
            most = max(selectors.values())
            found[place] = (len(rows), {name for name, n in selectors.items() if n == most})
        return found

    def moves(self) -> Counter[tuple[int, int]]:
        """Cell -> positions of the pointer."""
        return Counter(
            (cell(position["x"]), cell(position["y"]))
            for row in self.of("mouse_move")
            for position in json.loads(row["payload"]).get("positions", [])
            if position["x"] >= 0 and position["y"] >= 0
        )

    def reached(self) -> tuple[int, list[Row]]:
        """All sessions, and how many reached each depth."""
        rows = self.of("page_view", "page_exit", "scroll", "scroll_milestone")
        depths = [
            max(row["scroll_depth"] or 0 for row in of_session)
            for of_session in grouped(rows, lambda row: row["session_id"]).values()
        ]
        return len(depths), [
            {"depth_percent": percent, "reached_count": sum(depth >= percent for depth in depths)}
            for percent in (25, 50, 75, 90, 100)
        ]

    def attention(self, active: frozenset[str]) -> list[Row]:
        """Milliseconds per session that each band was to be seen."""
        seen: Counter[int] = Counter()
        sessions = grouped(
            [row for row in self._rows if row["event_type"] in active and row["viewport_height"]],
            lambda row: row["session_id"],
        )
        for rows in sessions.values():
            top = 0
            for _, of_slot in sorted(
                grouped(
                    rows, lambda row: round(row["timestamp"].timestamp() * 1000) // 5000
                ).items()
            ):
                for row in sorted(of_slot, key=lambda row: (row["timestamp"], row["event_id"])):
                    if row["event_type"] == "page_view":
                        top = 0
                    elif row["event_type"] == "scroll":
                        top = max(0, json.loads(row["payload"])["scroll_top"])
                height = max(row["viewport_height"] for row in of_slot)
                seen.update(range(top // 100, (top + height + 99) // 100))
        return [
            {
                "y_start": band * 100,
                "y_end": band * 100 + 100,
                "avg_time_ms": round(5000 * slots / len(sessions)),
            }
            for band, slots in sorted(seen.items())
        ]

    def elements(self) -> Counter[str]:
        """Clicks by element."""
        return Counter(row["target_selector"] for row in self.of("click") if row["target_selector"])


def times_on_page(
    rows: Iterable[Mapping[str, Any]], start: datetime, end: datetime
) -> dict[str, list[int]]:
    """Milliseconds that the views of a period lasted, by path, as the pages of sessions say it."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    near = [
        {"url": "", "title": "", "page_view_id": "", "scroll_depth": None, **row}
        | {"timestamp_ms": round(row["timestamp"].timestamp() * 1000)}
        for row in rows
        if row["event_type"] in {"page_view", "page_exit"}
        and start <= row["timestamp"] < end + timedelta(days=1)
    ]
    near.sort(key=lambda row: (row["timestamp"], _in_clickhouse(row["event_id"])))
    for of_session in grouped(near, lambda row: row["session_id"]).values():
        views = [row for row in of_session if row["event_type"] == "page_view"]
        for row, page in zip(views, seen_pages(of_session), strict=True):
            if row["timestamp"] < end and page["time_on_page_ms"] is not None:
                found[row["path"]].append(page["time_on_page_ms"])
    return dict(found)


def _in_clickhouse(event_id: str) -> tuple[int, int]:
    """The order of ids there: the second half first."""
    high, low = divmod(UUID(event_id).int, 2**64)
    return low, high


def slot_of(row: Row) -> int:
    """The five seconds in which an event happened."""
    return round(row["timestamp"].timestamp() * 1000) // 5000


def cell(value: int) -> int:
    """The centre of a cell of 10 pixels."""
    return value // 10 * 10 + 5


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by what they have in common."""
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)


def distinct(rows: Iterable[Row], column: str) -> int:
    """How many values other than the empty text."""
    return len({row[column] for row in rows} - {""})


def mean_seconds(times_ms: Sequence[int]) -> float | None:
    """To a tenth of a second."""
    return round(sum(times_ms) / len(times_ms) / 1000, 1) if times_ms else None


def change(now: float | None, before: float | None) -> float | None:
    """Percent."""
    return None if not before or now is None else round((now - before) / before * 100, 1)
