"""A rule over stored history: what it would have said, by the engine that says it live.

In: signals of the period and of the time before it that the rule looks back on, in any order. Out:
its transitions in the period, and its value at each T. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.core.alerts.baseline import DAY_MS, DAYS
from flows.core.alerts.engine import Engine
from flows.core.alerts.partition import DELAY_MS
from flows.core.alerts.rule_runs import HEARD_MS, asks_for_known
from flows.core.alerts.signals import SLICE_MS, SignalBatch
from flows.core.alerts.transitions import Transition
from schemas.alert_rules import AlertRule


@dataclass(frozen=True)
class Simulated:
    """`values` are (T in ms, value) of the group that was nearest to the bound, or None.

    `open_at_start` are alerts that had fired before the period and held when it began.
    """

    transitions: Sequence[Transition]
    values: Sequence[tuple[int, float | None]]
    open_at_start: int = 0


def look_back_ms(rule: AlertRule) -> int:
    """How far before a moment the rule's verdict depends on signals."""
    if rule.condition_type == "anomaly":
        return DAYS * DAY_MS + 3 * rule.window_ms
    if rule.condition_type == "absence" or asks_for_known(rule):
        return DAY_MS
    return rule.window_ms


class Simulation:
    """Add signals, then run once."""

    def __init__(self, rule: AlertRule, start_ms: int, end_ms: int) -> None:
        self._rule = rule
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._engine = Engine(DELAY_MS)
        self._engine.put_rule(rule, self.from_ms - HEARD_MS)
        self.signals = 0
        self._first_ms = end_ms

    @property
    def from_ms(self) -> int:
        """Signals are needed from then on."""
        return self._start_ms - look_back_ms(self._rule)

    def add(self, source: str, batch: SignalBatch) -> None:
        """A batch of signals; `source` orders those that are due together."""
        self._engine.add(source, batch, batch.arrived_ms)
        self.signals += len(batch.signals)
        self._first_ms = min([self._first_ms, *(signal[1] for signal in batch.signals)])

    def run(self) -> Simulated:
        """Evaluate every T of the period, and those that it looks back on."""
        engine, told = self._engine, list[Transition]()
        values: list[tuple[int, float | None]] = []
        run = engine.rules[self._rule.id]
        # What was before the first signal is not known to be nothing.
        run.from_ms = max(run.from_ms, self._first_ms - HEARD_MS)
        rule, book = self._rule, engine.books[self._rule.project_id]
        is_falling = rule.condition_type == "absence" or rule.operator in ("<", "<=")
        is_falling = is_falling or rule.direction == "down"
        for top in range(self.from_ms // SLICE_MS + 1, self._end_ms // SLICE_MS + 1):
            engine.advance(top * SLICE_MS + DELAY_MS + 1, told.append)
            if top * SLICE_MS > self._start_ms:
                groups = {*run.series.groups()} if rule.group_by else {()}
                if run.asks_for_known:
                    groups |= {*book.known_groups(rule)}  # There may be nothing in them.
                found = [
                    value for group in groups if (value := run.series.measure(group)[0]) is not None
                ]
                nearest = (min(found) if is_falling else max(found)) if found else None
                values.append((top * SLICE_MS, nearest))
        before = [one for one in told if one.at_ms <= self._start_ms]
        over = {one.alert_id for one in before if one.kind == "resolved"}
        fired = {one.alert_id for one in before if one.kind == "fired"}
        return Simulated(told[len(before) :], values, len(fired - over))
