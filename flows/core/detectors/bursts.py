"""Bursts of clicks: what they hold, and what is found of them.

In: clicks in the order they happened. Out: totals that do not depend on how many clicks there were,
and the finding. All arithmetic is in whole numbers. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import msgspec

from flows.core.detectors.hull import Point, hull
from flows.core.insight import RELATED_MAX, Finding

POINTS_MAX = 64
SELECTORS_MAX = 50


class RecentClick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A click that belongs to no burst yet; `near` are the ids of its largest group, if asked."""

    event_id: str
    at_ms: int
    x: int
    y: int
    selector: str
    url: str
    path: str
    near: tuple[str, ...] = ()


class Burst(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A burst that is open. `points` hold all of its corners; selectors are (name, clicks)."""

    url: str
    path: str
    first_ms: int
    last_ms: int
    click_count: int
    sum_x: int
    sum_y: int
    points: tuple[Point, ...]
    selectors: tuple[tuple[str, int], ...]
    event_ids: tuple[str, ...]  # The first ones; explaining needs all.


def joined(burst: Burst | None, clicks: Sequence[RecentClick], ids_max: int) -> Burst:
    """The burst with these clicks, in order, at least one; None: a new one."""
    first = clicks[0]
    if burst is None:
        burst = Burst(first.url, first.path, first.at_ms, first.at_ms, 0, 0, 0, (), (), ())
    points = dict.fromkeys(burst.points)
    points.update(dict.fromkeys((one.x, one.y) for one in clicks))
    if len(points) > POINTS_MAX:
        points = dict.fromkeys(hull(points))
    selectors = dict(burst.selectors)
    for one in clicks:
        if one.selector in selectors or len(selectors) < SELECTORS_MAX:
            selectors[one.selector] = selectors.get(one.selector, 0) + 1
    return Burst(
        burst.url,
        burst.path,
        burst.first_ms,
        clicks[-1].at_ms,
        burst.click_count + len(clicks),
        burst.sum_x + sum(one.x for one in clicks),
        burst.sum_y + sum(one.y for one in clicks),
        tuple(points),
        tuple(selectors.items()),
        (*burst.event_ids, *(one.event_id for one in clicks))[:ids_max],
    )


def is_within(x: int, y: int, sum_x: int, sum_y: int, count: int, radius: int) -> bool:
    """Whether a point lies within the radius of the mean of `count` points."""
    dx, dy = count * x - sum_x, count * y - sum_y
    reach = count * radius
    return dx * dx + dy * dy <= reach * reach


def burst_finding(burst: Burst, time_window_ms: int) -> Finding:
    """What is found of a burst. Source: detectors.md, section 1.3."""
    count = burst.click_count
    center_x = _half_up(burst.sum_x, count)
    center_y = _half_up(burst.sum_y, count)
    return Finding(
        insight_type="rage_click",
        rule_version=1,
        severity="high",
        anchor_event_id=burst.event_ids[0],
        at_ms=burst.first_ms,
        ended_at_ms=burst.last_ms,
        url=burst.url,
        path=burst.path,
        x=center_x,
        y=center_y,
        # The first of the most frequent ones.
        target_selector=max(burst.selectors, key=lambda item: item[1])[0],
        details={
            "click_count": count,
            "time_window_ms": time_window_ms,
            "duration_ms": burst.last_ms - burst.first_ms,
            "first_click_at": burst.first_ms,
            "last_click_at": burst.last_ms,
            "center_x": center_x,
            "center_y": center_y,
            "radius": _radius(burst),
        },
        related_event_ids=burst.event_ids[:RELATED_MAX],
    )


def _half_up(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


def _radius(burst: Burst) -> int:
    """The largest distance from the mean, rounded up."""
    count = burst.click_count
    square = max((count * x - burst.sum_x) ** 2 + (count * y - burst.sum_y) ** 2
                 for x, y in burst.points)  # fmt: skip
    root = isqrt(square)
    if root * root < square:
        root += 1
    return -(-root // count)
