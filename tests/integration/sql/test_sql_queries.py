"""Each read query against a recount of the generated rows in plain Python."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from statistics import mean
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from sql.loader import load_query, query_names
from tests.integration.sql.databases import answers, of_user
from tests.integration.sql.traffic import DAYS_AGO, PATHS, PROJECTS, Row, Traffic
from tests.recount import times_on_page

pytestmark = pytest.mark.integration

PROJECT = PROJECTS[1]
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# An uneven period that starts and ends inside days which have events.
START = TODAY - timedelta(days=DAYS_AGO[1]) + timedelta(hours=6, milliseconds=7)
END = TODAY - timedelta(days=DAYS_AGO[-1]) + timedelta(hours=18, milliseconds=1)
FIRST_DAY, LAST_DAY = START.date(), (TODAY - timedelta(days=2)).date()


def ms(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


PERIOD = {"project_id": PROJECT, "start_ms": ms(START), "end_ms": ms(END)}
DAYS = {"project_id": PROJECT, "first_day": FIRST_DAY, "last_day": LAST_DAY}


def in_period(traffic: Traffic) -> list[Row]:
    """The project's rows of the period."""
    return [row for row in traffic.of_project(PROJECT) if START <= row["timestamp"] < END]


def in_days(traffic: Traffic, is_counted: Callable[[Row], bool]) -> list[Row]:
    """The project's counted rows of the days, both included."""
    return [
        row
        for row in traffic.of_project(PROJECT)
        if FIRST_DAY <= row["timestamp"].date() <= LAST_DAY and is_counted(row)
    ]


def by(rows: Iterable[Row], *columns: str) -> dict[Any, list[Row]]:
    """Rows by the values of one column, or of several as a tuple."""
    groups: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        values = tuple(row[column] for column in columns)
        groups[values if len(columns) > 1 else values[0]].append(row)
    return dict(groups)


def distinct(rows: Iterable[Row], column: str) -> int:
    """How many values other than the empty text a column has."""
    return len({row[column] for row in rows if row[column] != ""})


def of_type(rows: Iterable[Row], event_type: str) -> list[Row]:
    """Rows of one type."""
    return [row for row in rows if row["event_type"] == event_type]


def summary(rows: list[Row]) -> dict[str, int]:
    """The overview of some rows."""
    return {
        "events": len(rows),
        "sessions": distinct(rows, "session_id"),
        "users": distinct(rows, "user_id"),
        "visitors": distinct(rows, "anonymous_id"),
        "page_views": len(of_type(rows, "page_view")),
    }


def test_overview_summary(client: Client, traffic: Traffic) -> None:
    """One row with the counts of the period to the millisecond."""
    assert answers(client, "overview_summary", **PERIOD) == [summary(in_period(traffic))]


def test_overview_of_nothing_is_zero(client: Client, traffic: Traffic) -> None:
    """A period without events, and a project that does not exist, give zeros."""
    zeros = dict.fromkeys(("events", "sessions", "users", "visitors", "page_views"), 0)
    assert answers(client, "overview_summary", **PERIOD | {"end_ms": ms(START)}) == [zeros]
    assert answers(client, "overview_summary", **PERIOD | {"project_id": "nobody"}) == [zeros]


# Edges within quarters of an hour, and edges between them.
PERIODS = {
    "uneven": PERIOD,
    "one quarter": PERIOD | {"end_ms": PERIOD["start_ms"] + 60_000},
    "whole quarters": PERIOD | {"start_ms": PERIOD["start_ms"] - 7, "end_ms": PERIOD["end_ms"] - 1},
}


def visits(rows: list[Row]) -> dict[str, int]:
    """What overview_visits counts of some rows."""
    counted = summary(rows)
    return {name: counted[name] for name in ("events", "page_views", "sessions", "visitors")}


def both_periods(traffic: Traffic, period: Mapping[str, Any]) -> dict[int, list[Row]]:
    """The project's rows of a period (1) and of the equally long one before (0)."""
    start, end = period["start_ms"], period["end_ms"]
    found: dict[int, list[Row]] = {0: [], 1: []}
    for row in traffic.of_project(PROJECT):
        at = ms(row["timestamp"])
        if 2 * start - end <= at < end:
            found[int(at >= start)].append(row)
    return found


def overview_visits(client: Client, kind: str, period: Mapping[str, Any], timezone: str) -> Any:
    """Rows of a kind."""
    before_ms = 2 * period["start_ms"] - period["end_ms"]
    rows = answers(client, "overview_visits", **period, before_ms=before_ms, timezone=timezone)
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.parametrize(
    "timezone", ["UTC", "Asia/Ho_Chi_Minh", "America/St_Johns", "Asia/Katmandu"]
)
@pytest.mark.parametrize("name", PERIODS)
def test_overview_visits_by_day(client: Client, traffic: Traffic, timezone: str, name: str) -> None:
    """Both periods to the millisecond; days begin where they do in the zone asked for."""
    zone = ZoneInfo(timezone)
    totals, days = [], []
    for is_now, rows in both_periods(traffic, PERIODS[name]).items():
        by_day: defaultdict[date, list[Row]] = defaultdict(list)
        for row in rows:
            by_day[row["timestamp"].astimezone(zone).date()].append(row)
        totals += [{"is_now": is_now} | visits(rows)] if rows else []
        days += [
            {"is_now": is_now, "day": day} | visits(found) for day, found in sorted(by_day.items())
        ]
    figures = ("events", "page_views", "sessions", "visitors")
    for kind, keys, expected in (("total", ("is_now",), totals), ("day", ("is_now", "day"), days)):
        found = overview_visits(client, kind, PERIODS[name], timezone)
        assert [{key: row[key] for key in (*keys, *figures)} for row in found] == expected


@pytest.mark.parametrize("limit", [3, 100])
def test_top_pages(client: Client, traffic: Traffic, limit: int) -> None:
    """Pages by views, with their sessions and visitors, and how long a view was on average."""
    pages = by(of_type(in_period(traffic), "page_view"), "path")
    times = times_on_page(traffic.of_project(PROJECT), START, END)
    expected = [
        {
            "path": path,
            "page_views": len(rows),
            "sessions": distinct(rows, "session_id"),
            "visitors": distinct(rows, "anonymous_id"),
            "avg_seconds": pytest.approx(mean(times[path]) / 1000),
        }
        for path, rows in sorted(pages.items(), key=lambda page: (-len(page[1]), page[0].encode()))
    ]
    assert answers(client, "top_pages", **PERIOD, limit=limit) == expected[:limit]


@pytest.mark.parametrize(
    ("kind", "columns", "names"),
    [
        ("browser", ("browser",), ("browser_name",)),
        ("device_type", ("device_type",), ("device_name",)),
        ("country", ("country", "country_code"), ("country_name", "code")),
    ],
)
def test_overview_visits_by_kind(
    client: Client, traffic: Traffic, kind: str, columns: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Browsers, devices and countries by sessions."""
    expected = [
        {name: rows[0][column] for name, column in zip(names, columns, strict=True)}
        | {
            "sessions": distinct(rows, "session_id"),
            "visitors": distinct(rows, "anonymous_id"),
        }
        for rows in by(in_period(traffic), *columns).values()
    ]
    expected.sort(key=lambda row: (-int(row["sessions"]), *(str(row[name]) for name in names)))
    found = overview_visits(client, kind, PERIOD, "UTC")
    figures = (*names, "sessions", "visitors")
    assert [{name: row[name] for name in figures} for row in found] == expected


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_top_referrers(client: Client, traffic: Traffic, period: Mapping[str, Any]) -> None:
    """One source a session: the first named, the campaign before the site; Google by its name."""
    sources: Counter[str] = Counter()
    for rows in by(both_periods(traffic, period)[1], "session_id").values():
        named = [
            (row["timestamp"], row["utm_source"] or row["referrer_domain"])
            for row in rows
            if row["utm_source"] or row["referrer_domain"]
        ]
        source = min(named)[1] if named else "direct"
        sources["google" if source == "www.google.com" else source] += 1
    expected = [
        {"source": source, "sessions": sources[source]}
        for source in sorted(sources, key=lambda one: (-sources[one], one))
    ]
    assert answers(client, "top_referrers", **period, limit=10) == expected
    assert len(expected) == 4 or period is PERIODS["one quarter"]


def test_hourly_table(client: Client, traffic: Traffic) -> None:
    """Hours that start in the period, from the view, equal the raw rows."""
    hours: defaultdict[int, list[Row]] = defaultdict(list)
    for row in traffic.of_project(PROJECT):
        hour = row["timestamp"].replace(minute=0, second=0, microsecond=0)
        if START <= hour < END:
            hours[ms(hour)].append(row)
    expected = [{"hour_ms": hour} | summary(hours[hour]) for hour in sorted(hours)]
    found = answers(client, "hourly_table", **PERIOD)
    assert [sorted(row.items()) for row in found] == [sorted(row.items()) for row in expected]


def test_freshness(client: Client, traffic: Traffic) -> None:
    """The newest times and the lag of what was received since a moment; null for none."""
    received = sorted(ms(row["received_at"]) for row in traffic.of_project(PROJECT))
    since_ms = received[len(received) // 2]
    (found,) = answers(client, "freshness", project_id=PROJECT, since_ms=since_ms)
    (times,) = client.query(
        "SELECT groupArray((toUnixTimestamp64Milli(received_at), "
        "toUnixTimestamp64Milli(ingested_at))) FROM events WHERE project_id = {project_id:String}",
        parameters={"project_id": PROJECT},
    ).result_rows[0]
    recent = [pair for pair in times if pair[0] >= since_ms]
    lags = sorted(ingested - at for at, ingested in recent)
    assert len(recent) == found["events"] == sum(at >= since_ms for at in received)
    assert found["last_received_ms"] == received[-1]
    assert found["last_ingested_ms"] == max(ingested for _, ingested in recent)
    assert found["lag_ms_max"] == lags[-1]
    assert found["lag_ms_p50"] in lags
    assert sum(lag <= found["lag_ms_p99"] for lag in lags) >= 0.99 * len(lags) - 1
    (none,) = answers(client, "freshness", project_id=PROJECT, since_ms=received[-1] + 1)
    assert none == dict.fromkeys(found) | {"events": 0}


def listed(client: Client, **filters: Any) -> list[dict[str, Any]]:
    """One page of the list of events."""
    user = filters.get("user_id", "")
    asked = {"event_type": "", "session_id": "", "path": "", **of_user(client, PERIOD, user)}
    asked |= {"cursor_ms": 0, "cursor_event_id": "", "limit": 10_000}
    return answers(client, "events_list", **PERIOD | asked | filters)


def test_events_list_holds_each_event_newest_first(client: Client, traffic: Traffic) -> None:
    """All events of the period with their own values, in order of time."""
    found = listed(client)
    assert {
        row["event_id"]: (row["path"], row["payload"], row["timestamp_ms"]) for row in found
    } == {
        row["event_id"]: (row["path"], row["payload"], ms(row["timestamp"]))
        for row in in_period(traffic)
    }
    times = [row["timestamp_ms"] for row in found]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) < len(times), "events of equal times are part of the test"


def test_events_list_pages_neither_skip_nor_repeat(client: Client, traffic: Traffic) -> None:
    """Pages joined are the whole list, although many events have the same time."""
    whole = listed(client)
    pages: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while page := listed(client, limit=97, **cursor):
        pages += page
        cursor = {
            "cursor_ms": page[-1]["timestamp_ms"],
            "cursor_event_id": page[-1]["event_id"],
        }
    assert pages == whole


@pytest.mark.parametrize("column", ["event_type", "session_id", "user_id", "path"])
def test_events_list_filters(client: Client, traffic: Traffic, column: str) -> None:
    """A filter leaves the events that have exactly that value."""
    rows = in_period(traffic)
    value = Counter(row[column] for row in rows if row[column]).most_common(1)[0][0]
    expected = {row["event_id"] for row in rows if row[column] == value}
    found = listed(client, **{column: value})
    assert 0 < len(expected) < len(rows)
    assert {row["event_id"] for row in found} == expected
    assert listed(client, **{column: str(UUID(int=99))}) == []


def test_events_list_keeps_projects_apart(client: Client, traffic: Traffic) -> None:
    """Another project's session gives nothing."""
    stranger = traffic.of_project(PROJECTS[0])[0]["session_id"]
    assert listed(client, session_id=stranger) == []


def test_stored_rows_by_minute(client: Client, traffic: Traffic) -> None:
    """Rows per minute of receipt, which the ledger is held against."""
    rows = traffic.of_project(PROJECT)
    start, end = rows[50]["received_at"], rows[-50]["received_at"]
    expected = Counter(
        ms(row["received_at"]) // 60_000 * 60_000
        for row in rows
        if start <= row["received_at"] < end
    )
    found = answers(
        client, "stored_rows_by_minute", project_id=PROJECT, start_ms=ms(start), end_ms=ms(end)
    )
    assert found == [
        {"minute_ms": minute, "stored": expected[minute]} for minute in sorted(expected)
    ]
    assert len(found) > 3


def test_duplicates_check(client: Client, traffic: Traffic) -> None:
    """Delivered twice, stored once: nothing is repeated."""
    rows = traffic.of_project(PROJECT)
    received = [ms(row["received_at"]) for row in rows]
    (found,) = answers(
        client,
        "duplicates_check",
        project_id=PROJECT,
        start_ms=min(received),
        end_ms=max(received) + 1,
    )
    assert found == {
        "rows": len(rows),
        "distinct_events": len(rows),
        "repeated": 0,
        "rows_before_merge": len(rows),
    }


def test_top_elements(client: Client, traffic: Traffic) -> None:
    """Clicks per element of a page, under the text most of them saw."""
    clicks = in_days(
        traffic,
        lambda row: (
            row["event_type"] == "click"
            and row["path"] == PATHS[1]
            and row["target_selector"] != ""
        ),
    )
    expected = []
    for (selector, tag), rows in by(clicks, "target_selector", "target_tag").items():
        texts = Counter(row["target_text"] for row in rows)
        text = max(texts, key=lambda one: (texts[one], one))
        expected.append((selector, tag, text, len(rows)))
    expected.sort(key=lambda row: (-row[3], row[0], row[1]))
    found = answers(client, "top_elements", **DAYS, path=PATHS[1], limit=10)
    assert [tuple(row.values()) for row in found] == expected[:10]
    assert len(found) > 2


def test_scroll_share(client: Client, traffic: Traffic) -> None:
    """The share of a page's sessions per milestone."""
    seen = in_days(
        traffic,
        lambda row: row["event_type"] in {"page_view", "page_exit", "scroll", "scroll_milestone"},
    )
    expected = {}
    for path, rows in by(seen, "path").items():
        total = distinct(rows, "session_id")
        shares = []
        for percent in (25, 50, 75, 90, 100):
            deep = [row for row in rows if (row["scroll_depth"] or 0) >= percent]
            shares.append(100 * distinct(deep, "session_id") / total)
        expected[path] = (total, shares)
    found = answers(client, "scroll_share", **DAYS, limit=100)
    assert {row["path"]: (row["sessions"], list(row.values())[2:]) for row in found} == {
        path: (total, pytest.approx(shares)) for path, (total, shares) in expected.items()
    }
    assert [row["pct_100"] for row in found] == sorted(
        (row["pct_100"] for row in found), reverse=True
    )


def test_time_on_page(client: Client, traffic: Traffic) -> None:
    """Mean and extremes of the time on each page, longest mean first."""
    exits = in_days(
        traffic, lambda row: row["event_type"] == "page_exit" and (row["time_on_page_ms"] or 0) > 0
    )
    found = answers(client, "time_on_page", **DAYS, limit=100)
    pages = by(exits, "path")
    assert {row["path"] for row in found} == set(pages)
    for row in found:
        times = sorted(one["time_on_page_ms"] for one in pages[row["path"]])
        assert row["total_views"] == len(times)
        assert row["avg_seconds"] == pytest.approx(sum(times) / len(times) / 1000)
        assert (row["min_seconds"], row["max_seconds"]) == (times[0] / 1000, times[-1] / 1000)
        middle = len(times) // 2
        low, high = times[max(middle - 2, 0)], times[min(middle + 2, len(times) - 1)]
        assert low <= row["median_seconds"] * 1000 <= high * 1.000001
    means = [row["avg_seconds"] for row in found]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("device_type", ["", "mobile"])
def test_page_performance(client: Client, traffic: Traffic, device_type: str) -> None:
    """Means per page, for all devices or one; null where nothing was measured."""
    measured = in_days(
        traffic,
        lambda row: (
            row["event_type"] in {"page_load", "web_vitals"}
            and device_type in {"", row["device_type"]}
        ),
    )
    found = answers(client, "page_performance", **DAYS, device_type=device_type, limit=100)
    pages = by(measured, "path")
    assert {row["path"] for row in found} == set(pages)
    for row in found:
        rows = pages[row["path"]]
        assert row["views"] == len(of_type(rows, "page_load"))
        for metric in ("lcp", "inp", "cls", "fcp", "ttfb", "fid", "load_complete"):
            values = [one[metric] for one in rows if one[metric] is not None]
            mean = pytest.approx(sum(values) / len(values), rel=1e-6) if values else None
            assert row[f"avg_{metric}"] == mean
            for name in ("p75", "p95"):
                estimate = row[f"{name}_{metric}"]
                assert (estimate is None) == (not values)
                if values:
                    assert math.isfinite(estimate)
                    assert min(values) * 0.99999 <= estimate <= max(values) * 1.00001


def test_click_cells(client: Client, traffic: Traffic) -> None:
    """Clicks per cell with its centre; a class of viewport narrows them."""
    clicks = in_days(
        traffic,
        lambda row: (
            row["event_type"] == "click"
            and row["path"] == "/"
            and row["click_x"] is not None
            and row["click_y"] is not None
        ),
    )
    asked = DAYS | {"path": "/", "device_type": "", "limit": 10_000}
    cells = Counter(
        (row["click_x"] // 10 * 10 + 5, row["click_y"] // 10 * 10 + 5) for row in clicks
    )
    found = answers(client, "click_cells", **asked, viewport_class="")
    assert {(row["x"], row["y"]): row["clicks"] for row in found} == cells
    narrow = answers(client, "click_cells", **asked, viewport_class="narrow")
    assert sum(row["clicks"] for row in narrow) == sum(
        0 < row["viewport_width"] <= 480 for row in clicks
    )
    desktop = answers(
        client, "click_cells", **asked | {"device_type": "desktop"}, viewport_class=""
    )
    assert sum(row["clicks"] for row in desktop) == sum(
        row["device_type"] == "desktop" for row in clicks
    )


SAMPLES = {
    "String": "x",
    "Bool": True,
    "Int64": 1,
    "UInt32": 1,
    "Float64": 1.0,
    "UInt64": 1,
    "Date": date(2026, 1, 31),
    "DateTime64(3, 'UTC')": datetime(2026, 1, 31, tzinfo=UTC),
    "Array(String)": ["x"],
    "Array(Int64)": [1],
    "Array(UInt32)": [1],
    "Array(UInt64)": [1],
}
# Texts of a form.
NAMED = {"timezone": "UTC", "request_id": "00000000-0000-0000-0000-000000000001"}
# How many blocks the tables remember, and which there are, is theirs and no project's; an id that
# is linked with none is a visitor's all the same.
OF_NO_PROJECT = {"blocks_since", "sql_tables", "erasure_links"}


@pytest.mark.parametrize(
    "name",
    [name for name in query_names() if "%(" not in load_query(name) and name not in OF_NO_PROJECT],
)
def test_each_query_runs_for_a_project_without_data(client: Client, name: str) -> None:
    """No query fails, divides by zero or invents rows where there is nothing."""
    parameters: dict[str, Any] = {
        parameter: SAMPLES[kind]
        for parameter, kind in re.findall(r"\{(\w+):([^}]+)\}", load_query(name))
    }
    parameters.update({name: NAMED[name] for name in NAMED.keys() & parameters.keys()})
    rows = answers(client, name, **parameters)
    assert len(rows) <= 1
    assert all(value in {0, None} for row in rows for value in row.values())
