"""Rules of one kind of clock (events or results) in one signals partition.

In: batches of signals as they are read, each due at the first T that is late enough for it; and how
far the clock is. Out: transitions, of each T in order. A batch due at T counts just before T is
evaluated, whatever was read before or after it, so what is decided does not depend on how the
source partitions interleave. Pure; mutable, for one thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flows.core.alerts.baseline import DAY_MS
from flows.core.alerts.books import Book, StoredAlive, StoredSlice, series_key
from flows.core.alerts.rule_runs import OpenAlert, RuleRun
from flows.core.alerts.signals import SLICE_MS, SignalBatch
from flows.core.alerts.transitions import Transition
from schemas.alert_rules import AlertRule


class StoredRule(msgspec.Struct, array_like=True):
    """A rule in force and its open alerts."""

    rule: AlertRule
    from_ms: int
    open: list[OpenAlert]


class Engine:
    """See the module; `delay_ms`: T is evaluated so long after it, by the clock."""

    def __init__(self, delay_ms: int) -> None:
        self.delay_ms = delay_ms
        self.top = 0  # Slice of the last T that was evaluated; 0: none yet.
        self.rules: dict[str, RuleRun] = {}
        self.books: dict[str, Book] = {}
        self.changed_rules: set[str] = set()
        self._pending: dict[int, list[tuple[str, SignalBatch]]] = defaultdict(list)
        self._days: dict[str, set[int]] = {}  # Of baselines that are stored.

    def due_slice(self, arrived_ms: int) -> int:
        """The first T that counts what arrived then, as a slice."""
        return -(-(arrived_ms - self.delay_ms) // SLICE_MS)

    def add(self, source: str, batch: SignalBatch, arrived_ms: int) -> int:
        """Take a batch; return the T it is due at, as a slice; 0 if no rule asks for it."""
        if batch.project_id not in self.books:
            return 0
        due = max(self.due_slice(arrived_ms), self.top + 1)
        self._pending[due].append((source, batch))
        return due

    def put_rule(self, rule: AlertRule, from_ms: int) -> list[Transition]:
        """Put a rule in force, in place of an older version of it."""
        before = self.rules.get(rule.id)
        if before is not None and _is_same_question(before.rule, rule):
            series, baseline = before.series, before.baseline
            self.rules[rule.id] = RuleRun(rule, before.from_ms, series, before.open, baseline)
            self.changed_rules.add(rule.id)
            return []
        over = self.drop_rule(rule.id)
        book = self.books.setdefault(rule.project_id, Book())
        self.rules[rule.id] = RuleRun(rule, from_ms, book.use(rule, self.top))
        self.changed_rules.add(rule.id)
        return over

    def drop_rule(self, rule_id: str) -> list[Transition]:
        """Take a rule out of force; what it had open is over."""
        run = self.rules.pop(rule_id, None)
        if run is None:
            return []
        self.changed_rules.add(rule_id)
        self.books[run.rule.project_id].leave(run.rule)
        return run.close_all(self.top * SLICE_MS)

    def advance(self, clock_ms: int, emit: Callable[[Transition], None]) -> bool:
        """Evaluate every T that the clock has reached; whether there was one."""
        # The clock must have passed it: at the very moment more may still arrive.
        reached = (clock_ms - self.delay_ms - 1) // SLICE_MS
        if reached <= self.top:
            return False
        if not self.top or not self.rules:
            self._skip_to(reached if not self.rules else reached - 1)
        while self.top < reached:
            self._evaluate(self.top + 1, emit)
        return True

    def _skip_to(self, top: int) -> None:
        """Go to a T without looking at those before: nobody asked."""
        for due in sorted(due for due in self._pending if due <= top):
            self._apply(due)
        self.top = top
        for book in self.books.values():
            book.advance(top)

    def _evaluate(self, top: int, emit: Callable[[Transition], None]) -> None:
        self._apply(top)
        self.top = top
        for book in self.books.values():
            book.advance(top)
        for rule_id, run in self.rules.items():
            book = self.books[run.rule.project_id]
            known = book.known_groups(run.rule) if run.asks_for_known else ()
            changes = run.evaluate(top, known, book.is_alive())
            if (
                changes
                or run.open
                or (run.baseline is not None and run.baseline.is_aligned(top * SLICE_MS))
            ):
                self.changed_rules.add(rule_id)
            for change in changes:
                emit(change)

    def _apply(self, due: int) -> None:
        """Count what is due, in an order of its own: not in that of reading."""
        batches = self._pending.pop(due, None)
        if batches is None:
            return
        batches.sort(key=lambda item: (item[0], item[1].offset))
        for _, batch in batches:
            book = self.books.get(batch.project_id)
            if book is not None:
                book.apply(batch)

    @property
    def pending_batches(self) -> int:
        """Batches that wait for their T."""
        return sum(map(len, self._pending.values()))

    def pack(self, encode: Callable[[Any], bytes], name: str) -> dict[str, bytes | None]:
        """What is to be stored since the last call, by key."""
        packed: dict[str, bytes | None] = {}
        for rule_id in self.changed_rules:
            run = self.rules.get(rule_id)
            stored = StoredRule(run.rule, run.from_ms, list(run.open.values())) if run else None
            packed[f"rule:{name}:{rule_id}"] = None if stored is None else encode(stored)
            days = run.baseline.by_day() if run and run.baseline else {}
            known = self._days.pop(rule_id, set())
            for day in known - days.keys():
                packed[f"base:{name}:{rule_id}:{day}"] = None
            if days:
                self._days[rule_id] = set(days)
                for day in days.keys() - known | {max(days)}:
                    packed[f"base:{name}:{rule_id}:{day}"] = encode(days[day])
        self.changed_rules.clear()
        for project_id, book in list(self.books.items()):
            for at, value in book.pack_changed(encode).items():
                packed[f"slice:{name}:{project_id}:{at}"] = value
            alive = book.stored_alive()
            if alive is not None:
                packed[f"alive:{name}:{project_id}"] = encode(alive)
            if book.is_empty:
                self._forget(packed, name, project_id)
        return packed

    def _forget(self, packed: dict[str, bytes | None], name: str, project_id: str) -> None:
        """No rule is left in a project: nothing of it is kept."""
        book = self.books.pop(project_id)
        packed.update({f"slice:{name}:{project_id}:{at}": None for at in book.slices})
        packed[f"alive:{name}:{project_id}"] = None

    def restore(
        self,
        top: int,
        rules: Iterable[StoredRule],
        days: Iterable[tuple[str, list[tuple[int, float]]]],
        slices: Iterable[tuple[str, int, StoredSlice]],
        alive: Iterable[tuple[str, StoredAlive]],
    ) -> None:
        """Take what was stored; call it once, first."""
        for stored in rules:
            rule = stored.rule
            series = self.books.setdefault(rule.project_id, Book()).use(rule, 0)
            open_alerts = {tuple(alert.group): alert for alert in stored.open}
            for group, alert in open_alerts.items():
                alert.group = group
            self.rules[rule.id] = RuleRun(rule, stored.from_ms, series, open_alerts)
        for rule_id, values in sorted(days, key=lambda item: item[1][:1]):
            self._days.setdefault(rule_id, set()).add(values[0][0] // DAY_MS)
            run = self.rules.get(rule_id)
            if run is not None and run.rule.condition_type == "anomaly":
                assert run.baseline is not None
                run.baseline.values.update(values)
        for project_id, at, stored_slice in slices:
            if project_id in self.books:
                self.books[project_id].load(at, stored_slice)
        for project_id, stored_alive in alive:
            if project_id in self.books:
                self.books[project_id].load_alive(stored_alive)
        self.top = top
        for book in self.books.values():
            if top:
                book.advance(top)


def _is_same_question(one: AlertRule, other: AlertRule) -> bool:
    """Whether what an old version found open, and knows as usual, means the same to the new one."""
    return (one.condition_type, one.is_active, series_key(one)) == (
        other.condition_type,
        other.is_active,
        series_key(other),
    )
