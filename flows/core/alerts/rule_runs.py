"""One rule while it is in force: whether its condition holds at T, and what that changes.

In: the rule's series, at T. Out: transitions. State: open alerts by group. What a rule says is a
function of the values at each T, so evaluating the same again says the same. Pure; mutable, for one
thread. Source: alerting.md, section 3; docs/alerts.md has what is decided beyond it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from flows.core.alerts.baseline import Baseline
from flows.core.alerts.metrics import METRIC_BY_NAME
from flows.core.alerts.signals import SLICE_MS, uuid_text
from flows.core.alerts.transitions import (
    SAMPLE_INSIGHTS_MAX,
    SAMPLE_SESSIONS_MAX,
    TOP_PATHS_MAX,
    Transition,
    alert_id,
)
from flows.core.alerts.windows import Evidence, Group, Series
from schemas.alert_rules import AlertRule

STILL_FIRING_EVERY_MS = 60_000
# Readers have heard of a new rule within this: windows that begin later are whole.
HEARD_MS = 10_000
GROUPS_EVALUATED_MAX = 200
ALIVE_MS = 86_400_000
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}
_GROWING = frozenset({">", ">="})


class OpenAlert(msgspec.Struct, array_like=True):
    """An alert that holds: since when, when it was last said, when there was last a value."""

    group: Group
    opened_at_ms: int
    told_at_ms: int
    valued_at_ms: int


class Verdict(NamedTuple):
    """Whether the condition holds; None: it cannot be told."""

    holds: bool | None
    value: float | None
    threshold: float
    is_critical: bool


_UNTOLD = Verdict(None, None, 0.0, False)


def _is_growing(rule: AlertRule) -> bool:
    """Whether more can only make it true: then a part of the window may say so."""
    is_above = rule.operator in _GROWING and rule.threshold >= 0
    return rule.condition_type == "threshold" and is_above


def asks_for_known(rule: AlertRule) -> bool:
    """Whether its groups must be looked at even when there is nothing in them."""
    return bool(rule.group_by) and not _is_growing(rule)


@dataclass
class RuleRun:
    """A rule in force since `from_ms`; all of its signals are known since `HEARD_MS` later."""

    rule: AlertRule
    from_ms: int
    series: Series
    open: dict[Group, OpenAlert] = field(default_factory=dict)
    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        rule = self.rule
        metric = METRIC_BY_NAME[rule.metric]
        self._samples_min = rule.min_sessions if metric.needs_samples else 0
        self._is_growing = _is_growing(rule)
        self._is_falling = rule.condition_type == "absence" or rule.operator in ("<", "<=")
        self.groups_left_out = 0  # At the last T: there were too many.
        self.asks_for_known = asks_for_known(rule)
        if rule.condition_type == "anomaly" and self.baseline is None:
            self.baseline = Baseline(rule.window_ms)

    def evaluate(self, top: int, known: Iterable[Group], is_alive: bool) -> list[Transition]:
        """What changes at T, the end of slice `top`.

        `known` are groups seen in the last 24 h, `is_alive` whether the project was.
        """
        at_ms = top * SLICE_MS
        if at_ms <= self.from_ms:
            return []
        rule = self.rule
        changes: list[Transition] = []
        groups: Iterable[Group] = ((),)
        if rule.group_by:
            groups = self._groups(known)
        elif self._is_growing and not self.open and () not in self.series.groups():
            return []
        is_whole = at_ms - rule.window_ms >= self.from_ms + HEARD_MS
        for group in groups:
            verdict = self._judge(group, at_ms, is_whole, is_alive)
            change = self._change(group, verdict, at_ms)
            if change is not None:
                changes.append(change)
        return changes

    def close_all(self, at_ms: int) -> list[Transition]:
        """The rule is no more what it was: what was open is over."""
        over = [
            Transition(
                alert_id(self.rule.id, group, alert.opened_at_ms),
                self.rule,
                "resolved",
                None,
                None,
                "warning",
                group,
                alert.opened_at_ms,
                max(at_ms, alert.opened_at_ms),
            )
            for group, alert in sorted(self.open.items())
        ]
        self.open.clear()
        return over

    def _groups(self, known: Iterable[Group]) -> list[Group]:
        """Groups to look at, in order; of very many those nearest to what the rule asks for."""
        found = {*self.series.groups(), *(known if self.asks_for_known else ())}
        self.groups_left_out = 0
        if len(found) > GROUPS_EVALUATED_MAX:
            # Of those that can be judged: pages of one visitor have the most extreme shares.
            values = {group: value for group in found if (value := self._value(group)) is not None}
            sign = 1 if self._is_falling else -1
            nearest = sorted(values, key=lambda group: (sign * values[group], group))
            found = set(nearest[:GROUPS_EVALUATED_MAX])
            self.groups_left_out = len(nearest) - len(found)
        return sorted(found | self.open.keys())

    def _value(self, group: Group) -> float | None:
        """None where there is none, or one that is made of too few."""
        value, count = self.series.measure(group)
        return None if count < self._samples_min else value

    def _judge(self, group: Group, at_ms: int, is_whole: bool, is_alive: bool) -> Verdict:
        rule = self.rule
        value = self._value(group)
        if value is None:
            return _UNTOLD
        if rule.condition_type == "threshold":
            if not is_whole and not self._is_growing and not self._samples_min:
                return _UNTOLD
            return self._judge_threshold(value)
        if rule.condition_type == "absence":
            if not is_whole or not is_alive:
                return _UNTOLD
            return Verdict(value == 0, value, 0.0, True)
        return self._judge_anomaly(value, at_ms) if is_whole else _UNTOLD

    def _judge_threshold(self, value: float) -> Verdict:
        rule = self.rule
        bound = rule.threshold
        is_critical = bound > 0 and (
            (rule.operator in _GROWING and value >= 2 * bound)
            or (rule.operator in ("<", "<=") and value <= bound / 2)
        )
        return Verdict(_COMPARE[rule.operator](value, bound), value, bound, is_critical)

    def _judge_anomaly(self, value: float, at_ms: int) -> Verdict:
        rule, baseline = self.rule, self.baseline
        assert baseline is not None
        usual = baseline.usual(at_ms)
        if baseline.is_aligned(at_ms):
            baseline.note(at_ms, value)
        if not usual:
            return _UNTOLD
        scores = [one.score(value) for one in usual]
        is_up = rule.direction in ("up", "both") and min(scores) >= rule.sensitivity
        is_up = is_up and value >= rule.min_value
        is_down = rule.direction in ("down", "both") and max(scores) <= -rule.sensitivity
        if is_down or rule.direction == "down":
            bound = min(one.middle - rule.sensitivity * one.scale for one in usual)
        else:
            bound = max(one.middle + rule.sensitivity * one.scale for one in usual)
        is_critical = min(map(abs, scores)) >= 2 * rule.sensitivity
        return Verdict(is_up or is_down, value, bound, is_critical)

    def _change(self, group: Group, verdict: Verdict, at_ms: int) -> Transition | None:
        alert = self.open.get(group)
        if verdict.holds is None:
            # Without a value for a whole window there is nothing left to be alarmed about; but a
            # site that has gone quiet for a day is still quiet.
            if (
                alert is not None
                and self.rule.condition_type != "absence"
                and at_ms - alert.valued_at_ms >= self.rule.window_ms
            ):
                del self.open[group]
                return self._transition("resolved", group, alert.opened_at_ms, verdict, at_ms)
            return None
        if alert is not None:
            alert.valued_at_ms = at_ms
        if verdict.holds and alert is None:
            self.open[group] = OpenAlert(group, at_ms, at_ms, at_ms)
            return self._transition("fired", group, at_ms, verdict, at_ms)
        if alert is None:
            return None
        if not verdict.holds:
            del self.open[group]
            return self._transition("resolved", group, alert.opened_at_ms, verdict, at_ms)
        if at_ms - alert.told_at_ms >= STILL_FIRING_EVERY_MS:
            alert.told_at_ms = at_ms
            return self._transition("still_firing", group, alert.opened_at_ms, verdict, at_ms)
        return None

    def _transition(
        self, kind: str, group: Group, opened_at_ms: int, verdict: Verdict, at_ms: int
    ) -> Transition:
        series = self.series
        found: Evidence = series.evidence(group)
        has_bound = verdict.holds is not None
        return Transition(
            alert_id=alert_id(self.rule.id, group, opened_at_ms),
            rule=self.rule,
            kind=kind,
            value=verdict.value,
            threshold=verdict.threshold if has_bound else None,
            severity="critical" if verdict.is_critical else "warning",
            group=group,
            opened_at_ms=opened_at_ms,
            at_ms=at_ms,
            recent_values=tuple(series.parts(group)),
            top_paths=tuple(found.top_paths[:TOP_PATHS_MAX]),
            affected_sessions=found.session_count,
            sample_session_ids=tuple(map(uuid_text, found.sessions[:SAMPLE_SESSIONS_MAX])),
            insight_ids=tuple(map(uuid_text, found.insights[-SAMPLE_INSIGHTS_MAX:])),
        )
