"""One partition of gosight.alerts.signals: its rules, evaluated by two clocks, and what is stored.

In: records of the partition in order. Out: transitions, and step by step what must be stored so
that another process can go on. All of it is a function of the records: evaluated again, they give
the same transitions with the same ids.

Nothing is stored of signals that wait for their T: reading goes on from the first record that has
any, and what was counted already is told by its T, by ids, and by being the same.

While a clock is too far behind the wall clock, its rules are held: that is said once for each, and
what they decide meanwhile is kept back until the clock has caught up, then told as late. Pure, and
mutable, for one thread; it stands where `flows.core.live_partition` does for other flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec

from flows.core.alerts.books import StoredAlive, StoredSlice
from flows.core.alerts.engine import Engine, StoredRule
from flows.core.alerts.metrics import METRIC_BY_NAME
from flows.core.alerts.signals import Control, Report, decode_record
from flows.core.alerts.source_clocks import USUAL_SOURCES, Source, SourceClocks, SourceNames
from flows.core.alerts.state_parts import StateParts
from flows.core.alerts.transitions import Transition, held_id
from flows.core.live_partition import Step
from schemas.alert_rules import AlertRule
from schemas.kept_states import Kept, Progress

EVENTS, RESULTS = "events", "results"
DELAY_MS = 15_000  # Source: alerting.md, section 3, evaluation_delay.
LAG_MS_MAX = 60_000
# What claims to arrive later than this after everything else has no time that could be waited for.
AHEAD_MS_MAX = 3_600_000
# Kept back while held; the oldest are dropped beyond it, and counted.
WAITING_MAX = 10_000


class SignalRecord(NamedTuple):
    """One record of the partition."""

    offset: int
    value: bytes


class StoredEngine(msgspec.Struct, array_like=True):
    """How far the rules of one clock are, and what is kept back while they are held."""

    top: int
    held_at_ms: int
    told: list[str]  # Ids of rules that were told to be held.
    waiting: list[Transition]


class StoredPlace(msgspec.Struct, array_like=True):
    """Where reading goes on (`sources` are as of there), and up to where controls are done."""

    sources: dict[str, Source]
    wall_ms: int
    done_offset: int


@dataclass
class _Held:
    """Whether the rules of a clock are held (0: no), and what for."""

    held_at_ms: int
    told: dict[str, AlertRule]
    waiting: list[Transition]


class AlertPartition:
    """See the module."""

    DROP_REASONS = ("late", "groups", "waiting", "holes")

    def __init__(
        self,
        kept: Kept,
        *,
        delay_ms: int = DELAY_MS,
        lag_ms_max: int = LAG_MS_MAX,
        sources: SourceNames = USUAL_SOURCES,
    ) -> None:
        self._lag_ms_max = lag_ms_max
        self._names, self._raw = sources, frozenset(sources.raw)
        self._engines = {EVENTS: Engine(delay_ms), RESULTS: Engine(delay_ms)}
        self._held = {name: _Held(0, {}, []) for name in self._engines}
        self._progress = kept.progress
        self._clocks = SourceClocks(names=sources)
        self._clock_ms = {EVENTS: 0, RESULTS: 0}
        self._wall_ms = 0
        self._began_ms = 0  # By the wall clock, when it was first heard of sources in this life.
        self._done_offset = 0
        self._next_offset = kept.progress.next_offset
        self._outputs: list[Transition] = []
        # T -> the first record that has something due then or later, and the sources before it.
        self._marks: dict[int, tuple[int, dict[str, Source]]] = {}
        self._marked = 0
        self._is_changed = False
        self._stored_bytes = sum(map(len, kept.states.values()))
        self._encoder = msgspec.msgpack.Encoder()
        self._parts = StateParts()
        self._dropped_waiting = 0
        self._ahead = 0
        if kept.states:
            self._restore(self._parts.join(kept.states))

    # ---- What the runs of partitions ask for -----------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The next record to take; all before are taken."""
        return self._next_offset

    @property
    def keys_live(self) -> int:
        """Rules in force; may be asked for by any thread."""
        return sum(len(engine.rules) for engine in self._engines.values())

    @property
    def packed_bytes(self) -> int:
        """About the size of what was stored last; may be asked for by any thread."""
        return self._stored_bytes

    @property
    def changes(self) -> int:
        """Transitions made since the last step."""
        return len(self._outputs)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to store."""
        return self._is_changed or bool(self._outputs)

    def pass_time(self, now_ms: int) -> None:
        """Nothing: the wall clock is in the records."""

    def behind_ms(self, name: str) -> int:
        """How far a clock was behind the wall clock at the last record."""
        clock_ms = self._clock_ms[name]
        return self._wall_ms - clock_ms if clock_ms else 0

    def rules_held(self, name: str) -> int:
        """Rules that are held back now."""
        return len(self._held[name].told)

    def groups_left_out(self) -> int:
        """Groups of rules that were not judged at the last T, because there are too many."""
        return sum(
            run.groups_left_out
            for engine in self._engines.values()
            for run in [*engine.rules.values()]
        )

    def dropped(self, reason: str) -> int:
        """What did not count: signals too late, of too many groups; transitions; spans not read."""
        books = [book for one in self._engines.values() for book in [*one.books.values()]]
        if reason == "late":
            return self._ahead + sum(book.late for book in books)
        if reason == "groups":
            return sum(book.refused for book in books)
        return self._clocks.holes if reason == "holes" else self._dropped_waiting

    # ---- Records ---------------------------------------------------------------------------------

    def take(self, records: Iterable[SignalRecord], next_offset: int) -> None:
        """Take records in order; all before `next_offset` are done with.

        Raises:
            msgspec.DecodeError: a record is none of ours.
        """
        for offset, value in records:
            record = decode_record(value)
            if isinstance(record, Report):
                self._take_report(offset, record)
            elif offset >= self._done_offset:
                self._take_control(record)
        self._next_offset = max(self._next_offset, next_offset)

    def _take_report(self, offset: int, report: Report) -> None:
        self._began_ms = self._began_ms or report.wall_ms
        before = self._clocks.source(report.source)
        counts, clock_ms, batches = self._clocks.take(report)
        if not counts:
            return
        is_raw = report.source in self._raw
        due: set[int] = set()
        latest_ms = max(report.wall_ms, self._clocks.newest_ms()) + AHEAD_MS_MAX
        for batch in batches:
            if batch.arrived_ms > latest_ms:
                self._ahead += len(batch.signals)
                continue
            if is_raw:
                # A record that is late by its partition's clock counts from now on.
                clock_ms = max(clock_ms, batch.arrived_ms)
                events = self._engines[EVENTS]
                if offset >= self._done_offset or events.due_slice(clock_ms) > events.top:
                    due.add(events.add(report.source, batch, clock_ms))
                book = self._engines[RESULTS].books.get(batch.project_id)
                if book is None or not book.wants_activity:
                    continue
            arrived_ms = clock_ms if is_raw else batch.arrived_ms
            due.add(self._engines[RESULTS].add(report.source, batch, arrived_ms))
        self._mark(due - {0}, offset, report.source, before)
        # What was read before is read again for what waits in it: time has passed already.
        if offset >= self._done_offset:
            self._pass(report.wall_ms)

    def _mark(self, due: set[int], offset: int, name: str, before: Source | None) -> None:
        """Remember where the first record is that has something due at a T or later."""
        latest = max(due, default=0)
        if latest <= self._marked:
            return
        sources = self._clocks.snapshot()
        sources.pop(name)
        if before is not None:
            sources[name] = before
        for slice_due in range(self._marked + 1 if self._marked else min(due), latest + 1):
            self._marks[slice_due] = offset, sources
        self._marked = latest

    def _take_control(self, control: Control) -> None:
        for rule_id in control.removed:
            self._drop(rule_id)
        for rule in control.rules:
            self._put(rule, control.wall_ms)
        self._is_changed |= bool(control.rules or control.removed)
        self._pass(control.wall_ms)

    def _put(self, rule: AlertRule, wall_ms: int) -> None:
        name = RESULTS if METRIC_BY_NAME[rule.metric].is_of_results else EVENTS
        for other in self._engines:
            if other != name or not rule.is_active:
                self._drop_from(other, rule.id)
        if rule.is_active:
            self._say(name, self._engines[name].put_rule(rule, wall_ms))

    def _drop(self, rule_id: str) -> None:
        for name in self._engines:
            self._drop_from(name, rule_id)

    def _drop_from(self, name: str, rule_id: str) -> None:
        self._say(name, self._engines[name].drop_rule(rule_id))
        held = self._held[name]
        rule = held.told.pop(rule_id, None)
        if rule is not None:
            held_for_ms = self._wall_ms - held.held_at_ms
            self._outputs.append(self._notice("released", rule, held.held_at_ms, held_for_ms))

    def rules(self) -> dict[str, AlertRule]:
        """The rules in force, by id."""
        return {
            rule_id: run.rule
            for engine in self._engines.values()
            for rule_id, run in engine.rules.items()
        }

    # ---- Time ------------------------------------------------------------------------------------

    def _pass(self, wall_ms: int) -> None:
        self._wall_ms = max(self._wall_ms, wall_ms)
        self._clock_ms = {EVENTS: self._clocks.events_ms(), RESULTS: self._clocks.results_ms()}
        for name, engine in self._engines.items():
            clock_ms = self._clock_ms[name]
            self._hold(name, clock_ms)
            if clock_ms and engine.advance(clock_ms, partial(self._tell, name)):
                self._is_changed = True
                for due in [due for due in self._marks if due <= self._top]:
                    del self._marks[due]
            self._release(name, clock_ms)

    @property
    def _top(self) -> int:
        """The T up to which all is evaluated, of the rules whose clock is behind the other's."""
        tops = [engine.top for engine in self._engines.values() if engine.rules]
        return min(tops) if tops else max(engine.top for engine in self._engines.values())

    def _hold(self, name: str, clock_ms: int) -> None:
        held = self._held[name]
        engine = self._engines[name]
        if not self._began_ms:
            return
        # Before the first report of all sources there is no clock: it is given as long to begin.
        lag_ms = self._wall_ms - (clock_ms or self._began_ms)
        if not held.held_at_ms and lag_ms <= self._lag_ms_max:
            return
        if not held.held_at_ms:
            held.held_at_ms = self._wall_ms
            self._is_changed = True
        for rule_id, run in engine.rules.items():
            if rule_id not in held.told:
                held.told[rule_id] = run.rule
                self._outputs.append(self._notice("held", run.rule, held.held_at_ms, lag_ms))

    def _release(self, name: str, clock_ms: int) -> None:
        held = self._held[name]
        if not held.held_at_ms or not clock_ms or self._wall_ms - clock_ms > self._lag_ms_max // 2:
            return
        for rule_id in held.told:
            run = self._engines[name].rules.get(rule_id)
            if run is not None:
                held_for_ms = self._wall_ms - held.held_at_ms
                self._outputs.append(
                    self._notice("released", run.rule, held.held_at_ms, held_for_ms)
                )
        self._outputs += held.waiting
        self._held[name] = _Held(0, {}, [])
        self._is_changed = True

    def _notice(self, kind: str, rule: AlertRule, held_at_ms: int, held_for_ms: int) -> Transition:
        return Transition(
            alert_id=held_id(rule.id, held_at_ms),
            rule=rule,
            kind=kind,
            value=None,
            threshold=None,
            severity="",
            group=(),
            opened_at_ms=held_at_ms,
            at_ms=self._wall_ms,
            held_for_ms=held_for_ms,
        )

    def _say(self, name: str, changes: Iterable[Transition]) -> None:
        for change in changes:
            self._tell(name, change)

    def _tell(self, name: str, change: Transition) -> None:
        """Say it, or keep it back; what is decided long after its time is late."""
        behind_ms = self._wall_ms - change.at_ms - self._engines[name].delay_ms
        held = self._held[name]
        is_late = bool(held.held_at_ms) or behind_ms > self._lag_ms_max
        if is_late and change.kind == "still_firing":
            return
        if is_late:
            change = msgspec.structs.replace(change, is_late=True)
        if not held.held_at_ms:
            self._outputs.append(change)
            return
        held.waiting.append(change)
        if len(held.waiting) > WAITING_MAX:
            del held.waiting[0]
            self._dropped_waiting += 1

    # ---- Storing ---------------------------------------------------------------------------------

    def step(self) -> Step[Transition]:
        """What changed since the last call."""
        encode = self._encoder.encode
        states: dict[str, bytes | None] = {}
        for name, engine in self._engines.items():
            states.update(engine.pack(encode, name))
            held = self._held[name]
            stored = StoredEngine(engine.top, held.held_at_ms, list(held.told), held.waiting)
            states[f"engine:{name}"] = encode(stored)
        begin, sources = self._resume()
        place = StoredPlace(sources, self._wall_ms, self._next_offset)
        states["place:"] = encode(place)
        self._stored_bytes = sum(len(value) for value in states.values() if value is not None)
        outputs, self._outputs, self._is_changed = self._outputs, [], False
        self._progress = Progress(begin, self._clocks.events_ms(), self._progress.step + 1)
        return Step(self._progress, self._parts.cut(states), outputs)

    def _resume(self) -> tuple[int, dict[str, Source]]:
        """The first record that has something that does not count yet, and the sources there."""
        waiting = [mark for due, mark in self._marks.items() if due > self._top]
        if not waiting:
            return self._next_offset, self._clocks.snapshot()
        return min(waiting, key=lambda mark: mark[0])

    def _restore(self, states: Mapping[str, bytes]) -> None:
        decoded: dict[str, list[tuple[list[str], bytes]]] = {}
        for key, value in states.items():
            kind, *rest = key.split(":")
            decoded.setdefault(kind, []).append((rest, value))
        decode = msgspec.msgpack.decode
        for _, value in decoded.get("place", ()):
            place = decode(value, type=StoredPlace)
            self._clocks = SourceClocks(place.sources, self._names)
            self._wall_ms, self._done_offset = place.wall_ms, place.done_offset
        rules = [(rest[0], decode(v, type=StoredRule)) for rest, v in decoded.get("rule", ())]
        days = [
            (rest[0], rest[1], decode(v, type=list[tuple[int, float]]))
            for rest, v in decoded.get("base", ())
        ]
        slices = [
            (rest[0], rest[1], int(rest[2]), decode(v, type=StoredSlice))
            for rest, v in decoded.get("slice", ())
        ]
        alive = [
            (rest[0], rest[1], decode(v, type=StoredAlive)) for rest, v in decoded.get("alive", ())
        ]
        for rest, value in decoded.get("engine", ()):
            name = rest[0]
            stored = decode(value, type=StoredEngine)
            engine = self._engines[name]
            engine.restore(
                stored.top,
                [rule for at, rule in rules if at == name],
                [(rule_id, values) for at, rule_id, values in days if at == name],
                [(project, at, found) for of, project, at, found in slices if of == name],
                [(project, found) for of, project, found in alive if of == name],
            )
            told = {i: engine.rules[i].rule for i in stored.told if i in engine.rules}
            self._held[name] = _Held(stored.held_at_ms, told, stored.waiting)
