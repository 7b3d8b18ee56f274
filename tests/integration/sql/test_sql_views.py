"""Each materialized view against a recount of the generated rows in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.sql.databases import rows_of
from tests.integration.sql.traffic import PROJECTS, Row, Traffic

pytestmark = pytest.mark.integration

TARGETS = (
    "events",
    "events_hourly",
    "session_quarters",
    "page_performance",
    "click_heatmap",
    "element_clicks",
    "scroll_depth",
    "page_time",
)
METRICS = ("lcp", "fid", "inp", "cls", "ttfb", "fcp", "load_complete")
QUANTILES = (0.5, 0.75, 0.95)
Key = tuple[Any, ...]


@pytest.fixture(params=["as inserted", "merged"])
def stored(request: pytest.FixtureRequest, client: Client, traffic: Traffic) -> Traffic:
    """The traffic before and after all parts are merged: merging changes no answer."""
    if request.param == "merged":
        for table in TARGETS:
            client.command(f"OPTIMIZE TABLE {table} FINAL")
    return traffic


def grouped(
    rows: Iterable[Row], key: Callable[[Row], Key], is_counted: Callable[[Row], bool]
) -> dict[Key, list[Row]]:
    """Rows that are counted, by their key."""
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        if is_counted(row):
            groups[key(row)].append(row)
    return dict(groups)


def distinct(rows: Iterable[Row], column: str) -> int:
    """How many values other than the empty text a column has."""
    return len({row[column] for row in rows if row[column] != ""})


def day_of(row: Row) -> date:
    """The UTC day of a row."""
    at: datetime = row["timestamp"]
    return at.astimezone(UTC).date()


def is_near_quantile(
    estimate: float, values: Sequence[float], quantile: float, share: float = 0.02
) -> bool:
    """Whether an estimate lies between the values a share of all ranks, or one rank, away.

    A t-digest computes with 32-bit floats, which know seven digits.
    """
    ordered = sorted(values)
    rank = quantile * (len(ordered) - 1)
    slack = max(share * len(ordered), 1)
    low = ordered[max(math.floor(rank - slack), 0)]
    high = ordered[min(math.ceil(rank + slack), len(ordered) - 1)]
    rounding = 1e-6 * ordered[-1]
    return low - rounding <= estimate <= high + rounding


def test_each_event_is_one_row(client: Client, stored: Traffic) -> None:
    """However often a block was delivered, the table holds each of its events once."""
    found = rows_of(client, "SELECT toString(event_id), path, lcp, click_x FROM events")
    expected = [(row["event_id"], row["path"], row["lcp"], row["click_x"]) for row in stored.rows]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_events_hourly(client: Client, stored: Traffic) -> None:
    """Events, sessions, users and visitors per hour, type and path; the empty user is none."""
    groups = grouped(
        stored.rows,
        lambda row: (
            row["project_id"],
            int(row["timestamp"].replace(minute=0, second=0, microsecond=0).timestamp()),
            row["event_type"],
            row["path"],
        ),
        lambda row: True,
    )
    expected = {
        (
            *key,
            len(rows),
            distinct(rows, "session_id"),
            distinct(rows, "user_id"),
            distinct(rows, "anonymous_id"),
        )
        for key, rows in groups.items()
    }
    found = rows_of(
        client,
        """
        SELECT project_id, toUnixTimestamp(hour), event_type, path, sum(event_count),
               uniqMerge(session_count), uniqMerge(user_count), uniqMerge(visitor_count)
        FROM events_hourly_mv GROUP BY project_id, hour, event_type, path
        """,
    )
    assert len(found) == len(expected)
    assert set(found) == expected


def test_hours_add_up_to_distinct_sessions(client: Client, stored: Traffic) -> None:
    """Sessions of many hours merge to distinct sessions: they are not the sum of the hours."""
    found = dict(
        rows_of(
            client,
            "SELECT project_id, uniqMerge(session_count) FROM events_hourly_mv GROUP BY project_id",
        )
    )
    assert found == {
        project: distinct(stored.of_project(project), "session_id") for project in PROJECTS
    }


def test_page_performance(client: Client, stored: Traffic) -> None:
    """Means are exact and quantiles close, over page_load and web_vitals alike."""
    groups = grouped(
        stored.rows,
        lambda row: (row["project_id"], day_of(row), row["path"], row["device_type"]),
        lambda row: row["event_type"] in {"page_load", "web_vitals"},
    )
    columns = ", ".join(
        f"avgMerge(avg_{metric}), quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_{metric})"
        for metric in METRICS
    )
    found = rows_of(
        client,
        f"""
        SELECT project_id, day, path, device_type, sum(view_count), {columns}
        FROM page_performance_mv GROUP BY project_id, day, path, device_type
        """,
    )
    assert {row[:4] for row in found} == set(groups)
    for row in found:
        rows = groups[row[:4]]
        assert row[4] == sum(one["event_type"] == "page_load" for one in rows)
        for place, metric in enumerate(METRICS):
            values = [one[metric] for one in rows if one[metric] is not None]
            mean, quantiles = row[5 + 2 * place], row[6 + 2 * place]
            if not values:
                assert math.isnan(mean)
                continue
            assert mean == pytest.approx(sum(values) / len(values), rel=1e-6)
            for quantile, estimate in zip(QUANTILES, quantiles, strict=True):
                assert is_near_quantile(estimate, values, quantile)


def test_a_slow_page_is_not_wrapped_around(client: Client, stored: Traffic) -> None:
    """An LCP of 70,000 ms is that, not what is left of it in 16 bits."""
    slow = sum(row["lcp"] == 70_000 for row in stored.rows)
    assert slow > 0
    assert rows_of(client, "SELECT countIf(lcp = 70000), max(lcp) FROM events") == [(slow, 70_000)]


def viewport_class(width: int) -> str:
    """The class of a viewport width."""
    if width == 0:
        return "unknown"
    return "narrow" if width <= 480 else "medium" if width <= 1024 else "wide"


def test_click_heatmap(client: Client, stored: Traffic) -> None:
    """Clicks per cell, element, class of viewport, kind of device and day."""
    groups = grouped(
        stored.rows,
        lambda row: (
            row["project_id"],
            row["path"],
            day_of(row),
            viewport_class(row["viewport_width"]),
            row["device_type"],
            row["click_x"] // 10,
            row["click_y"] // 10,
            row["target_selector"],
            row["target_tag"],
        ),
        lambda row: (
            row["event_type"] == "click"
            and row["click_x"] is not None
            and row["click_y"] is not None
        ),
    )
    found = rows_of(
        client,
        """
        SELECT project_id, path, date, viewport_class, device_type, grid_x, grid_y,
               target_selector, target_tag, sum(click_count)
        FROM click_heatmap_mv
        GROUP BY project_id, path, date, viewport_class, device_type, grid_x, grid_y,
                 target_selector, target_tag
        """,
    )
    assert len(found) == len(groups)
    assert set(found) == {(*key, len(rows)) for key, rows in groups.items()}


def test_element_clicks(client: Client, stored: Traffic) -> None:
    """Clicks per element, text and day."""
    groups = grouped(
        stored.rows,
        lambda row: (
            row["project_id"],
            row["path"],
            day_of(row),
            row["target_selector"],
            row["target_tag"],
            row["target_text"],
        ),
        lambda row: row["event_type"] == "click" and row["target_selector"] != "",
    )
    found = rows_of(
        client,
        """
        SELECT project_id, path, date, target_selector, target_tag, target_text, sum(click_count)
        FROM element_clicks_mv
        GROUP BY project_id, path, date, target_selector, target_tag, target_text
        """,
    )
    assert len(found) == len(groups)
    assert set(found) == {(*key, len(rows)) for key, rows in groups.items()}


def reached(rows: Iterable[Row], percent: int) -> int:
    """Sessions that got at least so far on a page."""
    return distinct([row for row in rows if (row["scroll_depth"] or 0) >= percent], "session_id")


def test_scroll_depth(client: Client, stored: Traffic) -> None:
    """Sessions per milestone, from exits, milestones and scrolling; sessions, not events."""
    groups = grouped(
        stored.rows,
        lambda row: (row["project_id"], row["path"], day_of(row), row["device_type"]),
        lambda row: row["event_type"] in {"page_view", "page_exit", "scroll", "scroll_milestone"},
    )
    found = rows_of(
        client,
        """
        SELECT project_id, path, date, device_type, uniqMerge(reached_25), uniqMerge(reached_50),
               uniqMerge(reached_75), uniqMerge(reached_90), uniqMerge(reached_100),
               uniqMerge(total_sessions)
        FROM scroll_depth_mv GROUP BY project_id, path, date, device_type
        """,
    )
    assert len(found) == len(groups)
    assert set(found) == {
        (
            *key,
            *(reached(rows, percent) for percent in (25, 50, 75, 90, 100)),
            distinct(rows, "session_id"),
        )
        for key, rows in groups.items()
    }


def test_page_time(client: Client, stored: Traffic) -> None:
    """Sums are exact and quantiles close; an exit without a time is not counted."""
    groups = grouped(
        stored.rows,
        lambda row: (row["project_id"], row["path"], day_of(row)),
        lambda row: row["event_type"] == "page_exit" and (row["time_on_page_ms"] or 0) > 0,
    )
    found = rows_of(
        client,
        """
        SELECT project_id, path, date, sum(view_count), min(min_time_on_page),
               max(max_time_on_page), sum(total_time_on_page), avgMerge(avg_time_on_page),
               quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_time_on_page)
        FROM page_time_mv GROUP BY project_id, path, date
        """,
    )
    assert {row[:3] for row in found} == set(groups)
    for row in found:
        times = [one["time_on_page_ms"] for one in groups[row[:3]]]
        assert row[3:7] == (len(times), min(times), max(times), sum(times))
        assert row[7] == pytest.approx(sum(times) / len(times))
        for quantile, estimate in zip(QUANTILES, row[8], strict=True):
            assert is_near_quantile(estimate, times, quantile)


def test_quantiles_of_many_values_are_within_the_sketch_error(
    client: Client, stored: Traffic, record_property: Callable[[str, object], None]
) -> None:
    """The 75th percentile of LCP of a project is within one percent of ranks of the true one."""
    for project in PROJECTS:
        values = sorted(row["lcp"] for row in stored.of_project(project) if row["lcp"] is not None)
        ((estimate,),) = rows_of(
            client,
            "SELECT quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_lcp)[2] "
            f"FROM page_performance_mv WHERE project_id = '{project}'",
        )
        true = values[round(0.75 * (len(values) - 1))]
        record_property(f"p75 of LCP of {project}", f"true {true}, estimated {estimate}")
        assert len(values) > 100
        assert is_near_quantile(estimate, values, 0.75, share=0.01)
