"""The corners of a set of points: the farthest point from anywhere is always one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Point = tuple[int, int]


def hull(points: Iterable[Point]) -> list[Point]:
    """The corners of the smallest convex polygon about the points, without those on its edges.

    Andrew's monotone chain. Of points with whole coordinates within a circle of radius R there are
    at most some 3.5 R^(2/3) corners.
    """
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    lower = _chain(ordered)
    upper = _chain(ordered[::-1])
    return lower[:-1] + upper[:-1]


def _chain(points: Sequence[Point]) -> list[Point]:
    chain: list[Point] = []
    for x, y in points:
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
