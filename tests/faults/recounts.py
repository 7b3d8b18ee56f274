"""Every materialized view beside a fresh count of the raw rows, written anew from what it promises.

In: ClickHouse and project ids. Out: sentences about what differs; none when all agree. A view that
has no recount here is a difference, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.stores import ClickHouse

TOLERANCE = 1e-4
_LEVELS = "(0.5, 0.75, 0.95)"


@dataclass(frozen=True, slots=True)
class Recount:
    """One view: its keys and figures, as the target has them and as the raw rows give them."""

    target: str
    keys: tuple[tuple[str, str], ...]  # (in the target, from the source)
    figures: tuple[tuple[str, str], ...]
    where: str = "1"
    source: str = "events"


def _averages(*columns: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"avgMerge(avg_{name})", f"avg({name})") for name in columns)


def _quantiles(*columns: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"quantilesTDigestMerge{_LEVELS}(quantiles_{name})",
            f"quantilesTDigestIf{_LEVELS}(assumeNotNull({name}), isNotNull({name}))",
        )
        for name in columns
    )


def _reached(percent: int) -> tuple[str, str]:
    return (
        f"uniqMerge(reached_{percent})",
        f"uniqExactIf(session_id, coalesce(scroll_depth, 0) >= {percent})",
    )


_DAY = "toDate(timestamp)"
_VITALS = ("lcp", "fid", "inp", "cls", "ttfb", "fcp", "load_complete")
_CLASS = (
    "if(viewport_width = 0, 'unknown', if(viewport_width < 481, 'narrow', "
    "if(viewport_width < 1025, 'medium', 'wide')))"
)

RECOUNTS = (
    Recount(
        "events_hourly",
        (
            ("project_id", "project_id"),
            ("hour", "toStartOfHour(timestamp)"),
            ("event_type", "event_type"),
            ("path", "path"),
        ),
        (
            ("sum(event_count)", "count()"),
            ("uniqMerge(session_count)", "uniqExact(session_id)"),
            ("uniqMerge(user_count)", "uniqExactIf(user_id, user_id != '')"),
            ("uniqMerge(visitor_count)", "uniqExactIf(anonymous_id, anonymous_id != '')"),
        ),
    ),
    Recount(
        "session_quarters",
        (
            ("project_id", "project_id"),
            ("quarter", "toStartOfFifteenMinutes(timestamp)"),
            ("session_id", "session_id"),
            ("anonymous_id", "anonymous_id"),
            ("user_id", "user_id"),
            ("browser", "browser"),
            ("device_type", "device_type"),
            ("country", "country"),
            ("country_code", "country_code"),
        ),
        (
            ("sum(event_count)", "count()"),
            ("sum(page_views)", "countIf(event_type = 'page_view')"),
            (
                "nullIf(min(first_source).2, '')",
                "nullIf(argMinIf(if(utm_source != '', toString(utm_source), referrer_domain), "
                "(timestamp, if(utm_source != '', toString(utm_source), referrer_domain)), "
                "utm_source != '' OR referrer_domain != ''), '')",
            ),
        ),
    ),
    Recount(
        "page_performance",
        (
            ("project_id", "project_id"),
            ("day", _DAY),
            ("path", "path"),
            ("device_type", "device_type"),
        ),
        (
            ("sum(view_count)", "countIf(event_type = 'page_load')"),
            *_averages(*_VITALS),
            *_quantiles(*_VITALS),
        ),
        where="event_type IN ('page_load', 'web_vitals')",
    ),
    Recount(
        "click_heatmap",
        (
            ("project_id", "project_id"),
            ("path", "path"),
            ("date", _DAY),
            ("viewport_class", _CLASS),
            ("device_type", "device_type"),
            ("grid_x", "intDiv(assumeNotNull(click_x), 10)"),
            ("grid_y", "intDiv(assumeNotNull(click_y), 10)"),
            ("target_selector", "target_selector"),
            ("target_tag", "target_tag"),
        ),
        (("sum(click_count)", "count()"),),
        where="event_type = 'click' AND isNotNull(click_x) AND isNotNull(click_y)",
    ),
    Recount(
        "element_clicks",
        (
            ("project_id", "project_id"),
            ("path", "path"),
            ("date", _DAY),
            ("target_selector", "target_selector"),
            ("target_tag", "target_tag"),
            ("target_text", "target_text"),
        ),
        (("sum(click_count)", "count()"),),
        where="event_type = 'click' AND target_selector != ''",
    ),
    Recount(
        "scroll_depth",
        (
            ("project_id", "project_id"),
            ("path", "path"),
            ("date", _DAY),
            ("device_type", "device_type"),
        ),
        (
            *(_reached(percent) for percent in (25, 50, 75, 90, 100)),
            ("uniqMerge(total_sessions)", "uniqExact(session_id)"),
        ),
        where="event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')",
    ),
    Recount(
        "page_time",
        (("project_id", "project_id"), ("path", "path"), ("date", _DAY)),
        (
            ("sum(view_count)", "count()"),
            ("avgMerge(avg_time_on_page)", "avg(time_on_page_ms)"),
            ("min(min_time_on_page)", "min(time_on_page_ms)"),
            ("max(max_time_on_page)", "max(time_on_page_ms)"),
            ("sum(total_time_on_page)", "sum(time_on_page_ms)"),
            (
                f"quantilesTDigestMerge{_LEVELS}(quantiles_time_on_page)",
                f"quantilesTDigest{_LEVELS}(assumeNotNull(time_on_page_ms))",
            ),
        ),
        where="event_type = 'page_exit' AND time_on_page_ms > 0",
    ),
    Recount(  # Nobody says who it is here.
        "identities",
        (("project_id", "project_id"), ("anonymous_id", "anonymous_id"), ("user_id", "user_id")),
        (("count()", "count()"),),
        where="event_type = 'identify' AND user_id != '' AND anonymous_id != ''",
    ),
    Recount(
        "ledger_minutes",
        (
            ("project_id", "project_id"),
            ("minute", "minute"),
            ("outcome", "outcome"),
            ("reason", "reason"),
        ),
        (("sum(events)", "sum(events)"),),
        source="ledger_entries",
    ),
)
# Read by the flow, not by a project: compared as a whole.
_POSITIONS = Recount(
    "flow_positions",
    (("source_topic", "source_topic"), ("source_partition", "source_partition")),
    (("max(next_offset)", "max(block_last) + 1"),),
    source="ledger_entries",
)


def differences(store: ClickHouse, project_ids: Sequence[str]) -> list[str]:
    """What is not as it should be, one sentence a group that differs; at most a few of a view."""
    known = {one.target for one in (*RECOUNTS, _POSITIONS)}
    found = [f"the view into {name} has no recount" for name in _view_targets(store) - known]
    projects = ", ".join(f"'{project_id}'" for project_id in project_ids)
    for one in RECOUNTS:
        found += _compare(store, one, f"project_id IN ({projects})")
    return found + _compare(store, _POSITIONS, "1")


def _view_targets(store: ClickHouse) -> set[str]:
    """Targets of the views that are fed by the two tables which storage writes."""
    rows = store.rows(
        "SELECT create_table_query AS text FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView'"
    )
    targets = set()
    for row in rows:
        text = row["text"].replace("`", "")
        if re.search(r"\bFROM (?:\w+\.)?(?:events|ledger_entries)\b", text):
            target = re.search(r"\bTO (?:\w+\.)?(\w+)", text)
            targets.add(target.group(1) if target else text[:60])
    return targets


def _compare(store: ClickHouse, one: Recount, scope: str) -> list[str]:
    key_names = [f"k{place}" for place in range(len(one.keys))]

    def read(table: str, side: int, where: str) -> dict[tuple[Any, ...], list[Any]]:
        keys = [f"{pair[side]} AS {name}" for pair, name in zip(one.keys, key_names, strict=True)]
        figures = [f"{pair[side]} AS f{place}" for place, pair in enumerate(one.figures)]
        rows = store.rows(
            f"SELECT {', '.join([*keys, *figures])} FROM {table} WHERE {where} "
            f"GROUP BY {', '.join(key_names)}"
        )
        return {
            tuple(row[name] for name in key_names): [
                row[f"f{place}"] for place in range(len(one.figures))
            ]
            for row in rows
        }

    in_view = read(one.target, 0, scope)
    in_rows = read(one.source, 1, f"{scope} AND ({one.where})")
    found = []
    for key in sorted(in_view.keys() | in_rows.keys(), key=str):
        left, right = in_view.get(key), in_rows.get(key)
        if left is None or right is None or not _is_close(left, right):
            found.append(f"{one.target} {key}: the view has {left}, the rows give {right}")
    return found if len(found) < 4 else [*found[:3], f"{one.target}: {len(found)} groups differ"]


def _is_close(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        pairs = zip(left, right, strict=True)
        return len(left) == len(right) and all(_is_close(a, b) for a, b in pairs)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(left == right)
