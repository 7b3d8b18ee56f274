"""What each metric is made of: the signals it counts, and how a window of them becomes a value.

Source: alerting.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from schemas.alert_rules import INSIGHT_TYPES, METRICS, AlertRule


class Kind(IntEnum):
    """What a signal tells. Numbers are in stored records: never reused."""

    ACTIVITY = 0  # A session did something on a page.
    PAGEVIEW = 1
    ERROR = 2
    LCP = 3
    TTFB = 4
    GOAL = 5
    PURCHASE = 6
    SESSION = 7  # A revision of a session's row.
    RAGE_CLICK = 10
    DEAD_CLICK = 11
    ERROR_CLICK = 12
    THRASHED_CURSOR = 13
    U_TURN = 14
    SLOW_PAGE = 15


INSIGHT_KINDS: Mapping[str, Kind] = {name: Kind[name.upper()] for name in INSIGHT_TYPES.values()}
INSIGHTS = frozenset(INSIGHT_KINDS.values())
# Made by the behaviour flow: as old as that flow is behind.
RESULTS = INSIGHTS | {Kind.SESSION}
# Counted once by their ids; the others are sets or maxima, which repetitions do not change.
COUNTED_ONCE = INSIGHTS | {Kind.PAGEVIEW, Kind.ERROR, Kind.GOAL, Kind.PURCHASE}


class Shape(IntEnum):
    """How a window becomes a value."""

    COUNT = 0
    SUM = 1
    DISTINCT = 2  # Sessions.
    SHARE = 3  # Percent of the sessions.
    MEAN = 4
    BOUNCES = 5  # Percent of the sessions that are over.


@dataclass(frozen=True, slots=True)
class Metric:
    """`kinds` are counted; of a share they are the hits, and activity is the whole.

    `has_evidence`: sessions, paths and insights are remembered for the message.
    """

    shape: Shape
    kinds: frozenset[Kind]
    has_evidence: bool = True

    @property
    def taken(self) -> frozenset[Kind]:
        """Kinds of signals that it needs."""
        if self.shape in (Shape.SHARE, Shape.DISTINCT):
            return self.kinds | {Kind.ACTIVITY}
        return self.kinds

    @property
    def is_of_results(self) -> bool:
        """Whether it waits for the behaviour flow."""
        return bool(self.kinds & RESULTS)

    @property
    def needs_samples(self) -> bool:
        """Whether it says nothing when made of few."""
        return self.shape in (Shape.SHARE, Shape.MEAN, Shape.BOUNCES)


METRIC_BY_NAME: Mapping[str, Metric] = {
    "sessions": Metric(Shape.DISTINCT, frozenset()),
    "pageviews": Metric(Shape.COUNT, frozenset({Kind.PAGEVIEW}), has_evidence=False),
    "errors": Metric(Shape.COUNT, frozenset({Kind.ERROR})),
    "error_rate": Metric(Shape.SHARE, frozenset({Kind.ERROR})),
    "conversion_rate": Metric(Shape.SHARE, frozenset({Kind.GOAL, Kind.PURCHASE})),
    "bounce_rate": Metric(Shape.BOUNCES, frozenset({Kind.SESSION})),
    "avg_lcp": Metric(Shape.MEAN, frozenset({Kind.LCP})),
    "avg_ttfb": Metric(Shape.MEAN, frozenset({Kind.TTFB})),
    "goals": Metric(Shape.COUNT, frozenset({Kind.GOAL})),
    "purchases": Metric(Shape.COUNT, frozenset({Kind.PURCHASE})),
    "revenue": Metric(Shape.SUM, frozenset({Kind.PURCHASE})),
    **{
        metric: Metric(Shape.COUNT, frozenset({INSIGHT_KINDS[name]}))
        for metric, name in INSIGHT_TYPES.items()
    },
}
assert set(METRIC_BY_NAME) == set(METRICS)


def kinds_of_rule(rule: AlertRule) -> frozenset[Kind]:
    """Signals that a rule needs; none while it is off.

    An absence is told only of a project that is alive, and what the session was made with is
    known from its activity: an insight does not say.
    """
    if not rule.is_active:
        return frozenset()
    metric = METRIC_BY_NAME[rule.metric]
    kinds = metric.taken
    if rule.condition_type == "absence" or needs_session_dims(rule):
        kinds |= {Kind.ACTIVITY}
    return kinds


def needs_session_dims(rule: AlertRule) -> bool:
    """Whether it asks of an insight what only the session's events say."""
    used = {*rule.filters, *rule.group_by} - {"path"}
    return bool(used) and bool(METRIC_BY_NAME[rule.metric].kinds & INSIGHTS)


def kinds_of_rules(rules: Iterable[AlertRule]) -> dict[str, frozenset[Kind]]:
    """Signals that are needed, by project; projects without an active rule are absent."""
    wanted: dict[str, frozenset[Kind]] = {}
    for rule in rules:
        kinds = kinds_of_rule(rule)
        if kinds:
            wanted[rule.project_id] = wanted.get(rule.project_id, frozenset()) | kinds
    return wanted
