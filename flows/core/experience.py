"""How well a session went: a score with named deductions, and a label for how it may have felt.

In: how many insights of which type a session has, stray errors, whether it converted. Out: an
integer from 0 to 100 with the reasons it is not higher, and an `Emotion`. Both are counts of
evidence under names; they claim nothing about a person. Source: sessions.md, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

SCORE_MAX = 100
ISSUE_INSIGHTS_MAX = 10
STRAY_ERROR = "js_error"
ABANDONED = "form_abandon"  # A kind of event: counts as an insight would.

# Points off for each, and at most for all of a type. Source: sessions.md, section 5.
_DEDUCTIONS: dict[str, tuple[int, int]] = {
    "rage_click": (15, 45),
    "error_click": (10, 30),
    "dead_click": (5, 20),
    "thrashed_cursor": (5, 15),
    "slow_page": (5, 15),
    ABANDONED: (5, 10),
    "u_turn": (3, 9),
    STRAY_ERROR: (2, 10),
}
# In order of preference where points are equal. Source: sessions.md, section 6.
_EVIDENCE: dict[str, dict[str, int]] = {
    "frustrated": {"rage_click": 3, "error_click": 2, "dead_click": 1},
    "confused": {"thrashed_cursor": 3, "u_turn": 1, ABANDONED: 1},
    "impatient": {"slow_page": 2},
}
SATISFIED_POINTS = 3
DOUBT_POINTS = 2  # So that little evidence never makes sure.


class FoundType(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Insights of one type in one session.

    `first_ids` are the earliest of them as (time, insight id); `anchor` is (time, event id) of the
    first one's evidence.
    """

    count: int
    first_ids: tuple[tuple[int, str], ...]
    anchor: tuple[int, str]


class InsightCounts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was found in a session so far, by type; previews do not count."""

    found: dict[str, FoundType] = {}

    def count(self, insight_type: str) -> int:
        """How many of a type."""
        known = self.found.get(insight_type)
        return 0 if known is None else known.count

    def adding(
        self, insight_type: str, insight_id: str, timestamp_ms: int, anchor_event_id: str
    ) -> InsightCounts:
        """These and one more, which must be given once; the order of giving does not matter."""
        known = self.found.get(insight_type)
        ids: tuple[tuple[int, str], ...] = ((timestamp_ms, insight_id),)
        anchor = (timestamp_ms, anchor_event_id)
        if known is None:
            added = FoundType(1, ids, anchor)
        else:
            firsts = sorted((*known.first_ids, *ids))[:ISSUE_INSIGHTS_MAX]
            added = FoundType(known.count + 1, tuple(firsts), min(known.anchor, anchor))
        return InsightCounts({**self.found, insight_type: added})

    def with_events(self, kind: str, count: int, first: tuple[int, str]) -> InsightCounts:
        """These and events of a kind, the first of which is (time, event id)."""
        return InsightCounts({**self.found, kind: FoundType(count, (), first)})


class Issue(NamedTuple):
    """Why a score is not higher: `times` a type took `penalty` points together."""

    type: str
    times: int
    penalty: int
    insight_ids: tuple[str, ...]


class Emotion(NamedTuple):
    """A label, how much of the evidence is for it (0 to 1), and its first evidence."""

    label: str
    confidence: float
    event_id: str | None


def issues_of(found: InsightCounts, error_count: int) -> list[Issue]:
    """All deductions, the largest first, then by type.

    An error click stands for its error: only the other errors count as stray.
    """
    issues: list[Issue] = []
    for name, (weight, cap) in _DEDUCTIONS.items():
        known = found.found.get(name)
        if name == STRAY_ERROR:
            count = max(0, error_count - found.count("error_click"))
        else:
            count = 0 if known is None else known.count
        if count:
            ids = () if known is None else tuple(insight_id for _, insight_id in known.first_ids)
            issues.append(Issue(name, count, min(weight * count, cap), ids))
    return sorted(issues, key=lambda issue: (-issue.penalty, issue.type))


def experience_score(issues: Sequence[Issue]) -> int:
    """100 less all penalties, never below 0."""
    return max(0, SCORE_MAX - sum(issue.penalty for issue in issues))


def issues_json(issues: Sequence[Issue]) -> str:
    """An array of objects with type, count, penalty and insight_ids."""
    return msgspec.json.encode(
        [
            {"type": name, "count": times, "penalty": penalty, "insight_ids": ids}
            for name, times, penalty, ids in issues
        ]
    ).decode()


def emotion_of(found: InsightCounts, conversion_event_id: str | None) -> Emotion:
    """The label with most points; `conversion_event_id` is None if nothing was reached."""
    points = {
        label: sum(weight * found.count(name) for name, weight in weights.items())
        for label, weights in _EVIDENCE.items()
    }
    points["satisfied"] = 0 if conversion_event_id is None else SATISFIED_POINTS
    label = max(points, key=lambda name: points[name])  # The first of equals.
    if not points[label]:
        return Emotion("neutral", 0.5, None)
    total = sum(points.values()) + DOUBT_POINTS
    percent = (200 * points[label] + total) // (2 * total)  # Halves are rounded up.
    if label == "satisfied":
        return Emotion(label, percent / 100, conversion_event_id)
    anchors = [found.found[name].anchor for name in _EVIDENCE[label] if found.count(name)]
    return Emotion(label, percent / 100, min(anchors)[1])
