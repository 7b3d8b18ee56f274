"""Every number of overview, maps and reports against a recount of the scenes, in two time zones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from statistics import quantiles
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.reads.heatmaps import WIDTHS
from api.reads.reports import VITALS
from flows.core import sessionizer
from sql.loader import load_query
from tests.integration.api.reading import Reader
from tests.recount import PageRecount, Recount, Row, Span, change, distinct, grouped, mean_seconds
from tests.stored_scenes import ZONES

pytestmark = pytest.mark.integration


def spans(reader: Reader, zone: str) -> list[Span]:
    """A day before, a day after and both sides of each midnight of the zone, and all time."""
    found = []
    for at_ms in reader.scenes.midnights_ms:
        moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
        if (moment.hour, moment.minute) == (0, 0):
            day, eve = moment.date(), moment.date() - timedelta(days=1)
            found += [Span(eve, eve, zone), Span(day, day, zone), Span(eve, day, zone)]
    assert len(found) == 6
    first, last = (
        date.fromisoformat(text) for text in (reader.scenes.first_day, reader.scenes.last_day)
    )
    return [*found, Span(first, last, zone)]


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_the_overview(reader: Reader, zone: str) -> None:
    """Summary, changes, days, lists, shares and what went wrong, for days of either zone."""
    has_change = False
    for span in spans(reader, zone):
        data = await reader.get("overview", **span.query, top=5)
        now, before = (Recount(reader.scenes, span, is_before=side) for side in (False, True))
        summary, earlier = now.summary(), before.summary()
        assert data["summary"] == {
            **summary,
            **{f"{name}_change": change(summary[name], earlier[name]) for name in summary},
        }
        has_change |= data["summary"]["sessions_change"] is not None
        charts = data["charts"]
        assert charts["sessions_over_time"] == now.by_day(
            now.events, lambda rows: distinct(rows, "session_id")
        )
        assert charts["pageviews_over_time"] == now.by_day(now.of("page_view"), len)
        assert charts["top_pages"] == now.top_pages(5)
        assert charts["devices"] == now.devices()
        assert {row["source"]: row["sessions"] for row in charts["top_referrers"]} == dict(
            sorted(now.sources().items(), key=lambda item: (-item[1], item[0]))[:5]
        )
        countries = grouped(now.events, lambda row: row["country"] or "unknown")
        assert {row["country"]: row["sessions"] for row in charts["countries"]} == {
            name: distinct(rows, "session_id") for name, rows in countries.items()
        }
        assert sum(hour["events"] for hour in charts["hourly"]) == len(now.events)
        assert data["insights"] == now.went_wrong()
    assert has_change


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_insights_and_errors(reader: Reader, zone: str) -> None:
    """Counts by type, hot spots, groups and days of errors, for days of either zone."""
    for span in spans(reader, zone):
        now = Recount(reader.scenes, span)
        data = await reader.get("insights", **span.query, top=100, per_page=100)
        kinds = Counter(f"{one.insight_type}s" for one in now.insights)
        assert {name: n for name, n in data["summary"].items() if n} == kinds
        spots: Counter[tuple[str, str]] = Counter(
            (one.path, one.target_selector or "")
            for one in now.insights
            if one.insight_type.endswith("_click") and one.target_selector
        )
        assert {
            (spot["path"], spot["selector"]): spot["rage_click_count"]
            + spot["dead_click_count"]
            + spot["error_click_count"]
            for spot in data["hotspots"]
        } == spots
        errors = now.of("js_error", "unhandled_rejection", "console_error", "resource_error")
        groups = await reader.get("errors", **span.query)
        assert {group["id"]: group["count"] for group in groups} == Counter(
            row["error_fingerprint"] for row in errors
        )
        for group in groups:
            same = [row for row in errors if row["error_fingerprint"] == group["id"]]
            assert group["session_count"] == distinct(same, "session_id")
            detail = await reader.get(f"errors/{group['id']}", **span.query)
            assert detail["stats"]["occurrences_over_time"] == [
                {"date": day["date"], "count": day["value"]} for day in now.by_day(same, len)
            ]


def active_types() -> frozenset[str]:
    """The types of events by which somebody is there, as sessions count them."""
    return frozenset(
        name for name, bits in sessionizer._TRAITS.items() if bits & sessionizer._ACTIVE
    )


def test_attention_counts_what_sessions_count() -> None:
    """The list in the query is that of engaged time."""
    listed = re.search(r"event_type IN \(([^)]*)\)\s+AND event_date", load_query("heat_attention"))
    assert listed is not None
    assert frozenset(re.findall(r"'(\w+)'", listed[1])) == active_types()


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_the_heat_maps(reader: Reader, zone: str) -> None:
    """Cells, depths, moves, bands and elements of each page, by device and by window."""
    active = active_types()
    seen: Counter[str] = Counter()
    for span in spans(reader, zone):
        now = Recount(reader.scenes, span)
        for path in sorted({row["path"] for row in now.of("page_view")})[:6]:
            data = await reader.get("heatmaps", **span.query, path=path)
            page = PageRecount(now, path, lambda _row: True)
            check_maps(data, page, active, seen)
    assert all(seen[name] for name in ("click_map", "move_map", "scroll", "attention_map"))


def check_maps(data: Row, page: PageRecount, active: frozenset[str], seen: Counter[str]) -> None:
    """All maps of one answer."""
    expected = page.clicks()
    assert {(one["x"], one["y"]): one["count"] for one in data["click_map"]} == {
        place: count for place, (count, _) in expected.items()
    }
    for one in data["click_map"]:
        assert one["selector"] in expected[(one["x"], one["y"])][1]
    assert {(one["x"], one["y"]): one["count"] for one in data["move_map"]} == page.moves()
    total, steps = page.reached()
    assert (data["total_sessions"], data["scroll_map"]) == (total, steps)
    assert data["attention_map"] == page.attention(active)
    seen["scroll"] += steps[0]["reached_count"]
    for name in ("click_map", "move_map", "attention_map"):
        seen[name] += len(data[name])


async def test_maps_by_device_and_window(reader: Reader) -> None:
    """Posted clicks come back in their cells, per device type and class of width; aliases too."""
    span = spans(reader, "UTC" if "UTC" in ZONES else ZONES[0])[-1]
    now = Recount(reader.scenes, span)
    busiest = Counter(row["path"] for row in now.of("click")).most_common(3)
    for path, _ in busiest:
        for device in ("desktop", "mobile"):
            page = PageRecount(now, path, lambda row, kind=device: row["device_type"] == kind)
            data = await reader.get("heatmaps", **span.query, path=path, device_type=device)
            check_maps(data, page, active_types(), Counter())
        for name, (low, high) in WIDTHS.items():
            page = PageRecount(
                now, path, lambda row, low=low, high=high: low <= row["viewport_width"] <= high
            )
            data = await reader.get("heatmaps", **span.query, path=path, viewport_class=name)
            check_maps(data, page, active_types(), Counter())
            if low:
                same = await reader.get("heatmaps", **span.query, path=path, viewport_width=low)
                assert same == data
        whole = PageRecount(now, path, lambda _row: True)
        alias = await reader.get("heatmaps/clicks", **span.query, path=path)
        assert {(one["x"], one["y"]) for one in alias["click_map"]} == set(whole.clicks())
        assert alias["scroll_map"] is None
        scroll = await reader.get("heatmaps/scroll", **span.query, path=path)
        assert scroll["scroll_map"] == whole.reached()[1]
        elements = await reader.get("heatmaps/elements", **span.query, path=path)
        clicked = whole.elements()
        assert {one["selector"]: one["clicks"] for one in elements} == clicked
        assert sum(one["share"] for one in elements) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_the_pages(reader: Reader, zone: str) -> None:
    """Views, sessions, times, exits, entries, bounces and depths of each page."""
    for span in spans(reader, zone):
        now = Recount(reader.scenes, span)
        data = await reader.get("pages", **span.query, top=1000)
        by_path = grouped(now.events, lambda row: row["path"])
        viewed = grouped(now.of("page_view"), lambda row: row["path"])
        assert {page["path"] for page in data} == set(viewed)
        for page in data:
            path, rows = page["path"], by_path[page["path"]]
            sessions = {row["session_id"] for row in viewed[path]}
            rows = [row for row in rows if row["session_id"] in sessions]
            times = now.times_on_page().get(path, [])
            assert (page["views"], page["sessions"]) == (len(viewed[path]), len(sessions))
            assert page["avg_time"] == mean_seconds(times)
            cuts = cuts_of(times)
            assert page["median"] == (None if cuts is None else round(cuts[49] / 1000, 1))
            assert page["p75"] == (None if cuts is None else round(cuts[74] / 1000, 1))
            depths = [
                max(row["scroll_depth"] or 0 for row in of_session)
                for of_session in grouped(rows, lambda row: row["session_id"]).values()
            ]
            assert page["scroll_reach"] == round(sum(depths) / len(depths), 1)
            assert page["exits"] == sum(row.exit_path == path for row in now.begun)
            entered = [row for row in now.begun if row.entry_path == path]
            assert page["entries"] == len(entered)
            closed = [row for row in entered if row.is_closed]
            bounced = sum(row.is_bounce for row in closed)
            assert page["bounce_rate"] == (
                round(100 * bounced / len(closed), 1) if closed else None
            )
    below = await reader.get("pages", **reader.ever(), path="/p*")
    assert below
    assert all(page["path"].startswith("/p") for page in below)


def cuts_of(values: Sequence[float]) -> list[float] | None:
    """Percentiles 1 to 99."""
    if not values:
        return None
    return [values[0]] * 99 if len(values) == 1 else quantiles(values, n=100, method="inclusive")


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_the_web_vitals(reader: Reader, zone: str) -> None:
    """Mean and percentiles of each measure by page and by day."""
    for span in spans(reader, zone):
        now = Recount(reader.scenes, span)
        rows = now.of("page_load", "web_vitals")
        data = await reader.get("performance", **span.query, top=1000)
        by_path = grouped(rows, lambda row: row["path"])
        samples = {page["path"]: page["samples"] for page in data["pages"]}
        assert samples == {path: len(same) for path, same in by_path.items()}
        assert list(samples.values()) == sorted(samples.values(), reverse=True)
        by_day = grouped(rows, lambda row, span=span: span.day_of(row["timestamp"]))
        assert {day["date"] for day in data["days"]} == set(by_day)
        for entry in [*data["pages"], *data["days"]]:
            same = by_path[entry["path"]] if "path" in entry else by_day[entry["date"]]
            for name in VITALS:
                check_vital(entry[name], [row[name] for row in same if row[name] is not None])


def check_vital(found: Row, samples: list[float]) -> None:
    """One measure of one entry."""
    cuts = cuts_of(samples)
    if cuts is None:
        assert set(found.values()) == {None}
        return
    expected = (sum(samples) / len(samples), cuts[49], cuts[74], cuts[94])
    names = ("avg", "p50", "p75", "p95")
    for name, value in zip(names, expected, strict=True):
        assert found[name] == pytest.approx(value, abs=1e-3)


async def test_requests_by_endpoint_and_day(reader: Reader) -> None:
    """Counts of each endpoint; filters by method and path; every day adds up."""
    whole = await reader.get("latency", **reader.ever(ZONES[0]))
    rows = [row for row in reader.scenes.events if row["event_type"] == "fetch_request"]
    assert sum(one["requests"] for one in whole["endpoints"]) == len(rows) > 0
    assert sum(day["requests"] for day in whole["days"]) == len(rows)
    one = whole["endpoints"][0]
    same = await reader.get(
        "latency", **reader.ever(), api=one["path"], method=one["method"].lower()
    )
    assert [found["path"] for found in same["endpoints"]] == [one["path"]]


async def test_journeys_between_two_pages(reader: Reader) -> None:
    """All sequences begin and end where they are asked to, none is longer than asked."""
    whole: list[dict[str, Any]] = await reader.get("journeys", **reader.ever(), top=100)
    assert whole
    start, end = whole[0]["screens"][0], whole[0]["screens"][-1]
    chosen = await reader.get("journeys", **reader.ever(), start=start, end=end, depth=3, top=100)
    assert chosen == [
        one
        for one in await reader.get("journeys", **reader.ever(), depth=3, top=100)
        if (one["screens"][0], one["screens"][-1]) == (start, end)
    ]
    assert all(len(one["screens"]) <= 3 for one in chosen)
    for one in whole:
        assert one["reached"][-1] == one["sessions"]
        assert one["reached"] == sorted(one["reached"], reverse=True)


@pytest.mark.parametrize("zone", ZONES)
async def test_experience_of_the_project(reader: Reader, zone: str) -> None:
    """Mean, bands, emotions by day and the pages whose sessions went worst."""
    for span in spans(reader, zone):
        now = Recount(reader.scenes, span)
        closed = [row for row in now.begun if row.experience_score is not None]
        scores = [row.experience_score or 0 for row in closed]
        data = await reader.get("experience", **span.query)
        assert data["sessions"] == len(scores)
        assert data["mean"] == (round(sum(scores) / len(scores), 2) if scores else None)
        assert data["distribution"] == {
            "good": sum(score >= 80 for score in scores),
            "fair": sum(50 <= score < 80 for score in scores),
            "poor": sum(score < 50 for score in scores),
        }
        assert [day["date"] for day in data["emotions"]] == [day.isoformat() for day in span.days]
        counted: Counter[str] = Counter()
        for day in data["emotions"]:
            counted.update(day["emotions"])
        assert counted == Counter(row.emotion for row in closed)
        score_of = {row.session_id: row.experience_score for row in closed}
        pages: dict[str, set[str]] = {}
        for row in reader.scenes.events:
            if row["event_type"] == "page_view" and row["session_id"] in score_of:
                pages.setdefault(row["path"], set()).add(row["session_id"])
        for page in data["worst_pages"]:
            same = [score_of[one] or 0 for one in pages[page["path"]]]
            assert (page["sessions"], page["score"]) == (
                len(same),
                pytest.approx(sum(same) / len(same), abs=0.01),
            )
