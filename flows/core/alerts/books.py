"""The signals of one project that its rules count: series, ids already counted, who is alive.

In: batches of signals that T has reached, then T. Out: nothing but what rules read of the series.
A signal is looked up by its kind and dimensions and goes to the series it belongs to: one rule
costs what its own signals cost. Mutable, for one thread. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from flows.core.alerts.metrics import (
    COUNTED_ONCE,
    INSIGHTS,
    METRIC_BY_NAME,
    Kind,
    kinds_of_rule,
    needs_session_dims,
)
from flows.core.alerts.rule_runs import ALIVE_MS, asks_for_known
from flows.core.alerts.series import new_series
from flows.core.alerts.signals import (
    SLICE_MS,
    UNKNOWN_DIMS,
    Dims,
    SignalBatch,
)
from flows.core.alerts.windows import Group, Series
from schemas.alert_rules import DIMENSIONS, AlertRule

# A signal older than this when it counts is late for good: its ids are not known any more. One that
# is so far ahead has no time.
# Source: design.md, section 5, allowed lateness.
LATE_SLICES = 3_600_000 // SLICE_MS
MEMO_MAX = 50_000
# When something was last seen is kept to within this: it is asked about for a day.
ALIVE_GRAIN = 600_000 // SLICE_MS
ALIVE_SLICES = ALIVE_MS // SLICE_MS
# Groups of a series that are remembered for a day; all of them are looked at at each T.
ALIVE_GROUPS_MAX = 10_000

SeriesKey = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...], int]


def series_key(rule: AlertRule) -> SeriesKey:
    """Rules that agree in this share a series."""
    window = -(-rule.window_ms // SLICE_MS)
    return rule.metric, tuple(sorted(rule.filters.items())), rule.group_by, window


def series_name(key: SeriesKey) -> str:
    """A short name of a key, for ever."""
    return blake2b(msgspec.json.encode(key), digest_size=8).hexdigest()


class Alive:
    """Who was seen in the last 24 h: first slice of that time, and the last one, rounded down."""

    def __init__(self) -> None:
        self.seen: dict[Group, tuple[int, int]] = {}
        self.is_changed = False

    def note(self, group: Group, at: int) -> bool:
        """Something of the group was seen; False if it is one too many to be remembered."""
        if group not in self.seen and len(self.seen) >= ALIVE_GROUPS_MAX:
            return False
        grain = at - at % ALIVE_GRAIN
        first, last = self.seen.get(group, (at, -ALIVE_SLICES))
        if grain > last or at < first:
            first = at if grain - last > ALIVE_SLICES else min(first, at)
            self.seen[group] = first, max(last, grain)
            self.is_changed = True
        return True

    def groups(self, top: int) -> list[Group]:
        """Those seen in the 24 h before T; what was not is forgotten."""
        oldest = top - ALIVE_SLICES
        for group in [group for group, (_, last) in self.seen.items() if last <= oldest]:
            del self.seen[group]
            self.is_changed = True  # There is room again: whoever reads what is stored must know.
        return [group for group, (first, _) in self.seen.items() if first <= top]


class _Known:
    """A series of the book: which signals are its own, and who was seen in it."""

    def __init__(self, key: SeriesKey, top: int) -> None:
        metric_name, filters, group_by, window = key
        self.name = series_name(key)
        self.series: Series = new_series(metric_name, window)
        self.kinds = METRIC_BY_NAME[metric_name].taken
        self.alive = Alive()
        self.is_asked_for_groups = False
        self._exact = [
            (DIMENSIONS.index(name), wanted) for name, wanted in filters if wanted[-1:] != "*"
        ]
        self._prefixes = [
            (DIMENSIONS.index(name), wanted[:-1]) for name, wanted in filters if wanted[-1:] == "*"
        ]
        self._group_places = [DIMENSIONS.index(name) for name in group_by]
        if top:
            self.series.advance(top)

    def group_of(self, dims: Dims) -> Group | None:
        """The group of a signal; None if it does not pass the filters."""
        if any(dims[place] != wanted for place, wanted in self._exact):
            return None
        if any(not dims[place].startswith(start) for place, start in self._prefixes):
            return None
        return tuple(dims[place] for place in self._group_places)


class StoredSlice(msgspec.Struct, array_like=True):
    """What is kept of a project's slice: ids by which signals counted, cells of the series."""

    ids: list[bytes]
    cells: list[tuple[str, list[tuple[Group, Any]]]]
    sessions: list[tuple[Dims, list[bytes]]] = []


class StoredAlive(msgspec.Struct, array_like=True):
    """When groups of the series were seen; the project is the nameless one's only group."""

    series: list[tuple[str, list[tuple[Group, tuple[int, int]]]]]


class Book:
    """The book of one project."""

    def __init__(self) -> None:
        self._known: dict[SeriesKey, _Known] = {}
        self._users: dict[SeriesKey, set[str]] = {}
        self._memo: dict[tuple[int, Dims], list[tuple[_Known, Group]]] = {}
        self._ids: dict[int, set[bytes]] = {}
        self._dims_users: set[str] = set()
        self._activity_users: set[str] = set()
        self._dims_of: dict[bytes, tuple[int, Dims]] = {}
        self._sessions: dict[int, dict[Dims, set[bytes]]] = {}
        self._top = 0
        self._alive = Alive()  # The project as such, by its signals of any kind.
        self.slices: set[int] = set()  # That are stored.
        self.changed: set[int] = set()
        self.late = 0
        self.refused = 0

    @property
    def is_empty(self) -> bool:
        """Whether no rule uses it."""
        return not self._known

    @property
    def wants_activity(self) -> bool:
        """Whether a rule asks what sessions did, besides what it counts."""
        return bool(self._activity_users)

    def use(self, rule: AlertRule, top: int) -> Series:
        """The series of a rule, from now on; made if it is the first that asks."""
        key = series_key(rule)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(key, top)
            self._memo.clear()
        self._users.setdefault(key, set()).add(rule.id)
        known.is_asked_for_groups |= asks_for_known(rule)
        if needs_session_dims(rule):
            self._dims_users.add(rule.id)
        if Kind.ACTIVITY in kinds_of_rule(rule):
            self._activity_users.add(rule.id)
        self._top = max(self._top, top)
        return known.series

    def leave(self, rule: AlertRule) -> None:
        """A rule is gone, and its series if nobody else uses it."""
        key = series_key(rule)
        users = self._users.get(key, set())
        users.discard(rule.id)
        self._dims_users.discard(rule.id)
        self._activity_users.discard(rule.id)
        if not users:
            self._known.pop(key, None)
            self._users.pop(key, None)
            self._memo.clear()

    def apply(self, batch: SignalBatch) -> None:
        """Count what T has reached."""
        oldest, newest = self._top - LATE_SLICES, self._top + LATE_SLICES
        session = batch.session_id
        for kind, at_ms, place, value, ident in batch.signals:
            at = -(-at_ms // SLICE_MS)
            if at <= oldest or (self._top and at > newest):
                self.late += 1
                continue
            self._alive.note((), at)
            dims = batch.dims[place]
            if kind == Kind.ACTIVITY and self._dims_users:
                self._note_session(session, dims, at)
            elif kind in INSIGHTS and self._dims_users:
                dims = (dims[0], *self._dims_of.get(session, (0, UNKNOWN_DIMS))[1][1:])
            hits = self._memo.get((kind, dims))
            if hits is None:
                hits = self._look_up(kind, dims)
            if not hits or (kind in COUNTED_ONCE and not self._is_new(session, ident, at)):
                continue
            self.changed.add(at)
            for known, group in hits:
                if not known.series.add(at, group, kind, value, session, dims[0], ident):
                    # Of a window that has passed it is late, of this one a group too many.
                    is_late = at <= self._top - known.series.window
                    self.late += is_late
                    self.refused += not is_late
                elif known.is_asked_for_groups and not known.alive.note(group, at):
                    self.refused += 1

    def _look_up(self, kind: int, dims: Dims) -> list[tuple[_Known, Group]]:
        hits = []
        for known in self._known.values():
            if kind in known.kinds:
                group = known.group_of(dims)
                if group is not None:
                    hits.append((known, group))
        if len(self._memo) >= MEMO_MAX:
            self._memo.clear()
        self._memo[kind, dims] = hits
        return hits

    def _is_new(self, session: bytes, ident: bytes, at: int) -> bool:
        """Whether it was not counted before: what is sent again has nearly the same time."""
        key = session[-4:] + ident
        ids = self._ids
        if any(key in ids.get(near, ()) for near in (at, at - 1, at + 1)):
            return False
        ids.setdefault(at, set()).add(key)
        return True

    def _note_session(self, session: bytes, dims: Dims, at: int) -> None:
        known = self._dims_of.get(session)
        if known is not None and known[1][1:] == dims[1:] and at - known[0] < LATE_SLICES // 2:
            return
        kept = ("", *dims[1:])
        self._dims_of[session] = at, kept
        self._sessions.setdefault(at, {}).setdefault(kept, set()).add(session)
        self.changed.add(at)

    def advance(self, top: int) -> None:
        """Let all windows end at slice `top`, and forget what is older than anybody asks for."""
        self._top = top
        longest = LATE_SLICES
        for known in self._known.values():
            known.series.advance(top)
            longest = max(longest, known.series.window)
        oldest = top - LATE_SLICES
        for at in [at for at in self._ids if at <= oldest]:
            del self._ids[at]
        for at in [at for at in self._sessions if at <= oldest]:
            for sessions in self._sessions.pop(at).values():
                for session in sessions:
                    if self._dims_of.get(session, (at,))[0] <= at:
                        self._dims_of.pop(session, None)
        self.changed.update(at for at in self.slices if at <= top - longest)

    def is_alive(self) -> bool:
        """Whether anything was seen in the 24 h before T."""
        return bool(self._alive.groups(self._top))

    def known_groups(self, rule: AlertRule) -> Iterable[Group]:
        """Groups that were seen in the 24 h before T."""
        return self._known[series_key(rule)].alive.groups(self._top)

    def pack_changed(self, encode: Callable[[Any], bytes]) -> dict[int, bytes | None]:
        """What is to be stored of the slices that changed; None of those that are forgotten."""
        longest = max((known.series.window for known in self._known.values()), default=LATE_SLICES)
        oldest = self._top - max(longest, LATE_SLICES)
        packed: dict[int, bytes | None] = {}
        for known in self._known.values():
            self.changed |= known.series.touched
            known.series.touched.clear()
        for at in sorted(self.changed):
            stored = self._stored(at) if at > oldest and not self.is_empty else None
            if stored is None:
                self.slices.discard(at)
                packed[at] = None
            else:
                self.slices.add(at)
                packed[at] = encode(stored)
        self.changed.clear()
        return packed

    def _stored(self, at: int) -> StoredSlice | None:
        cells = [
            (known.name, found)
            for known in self._known.values()
            if (found := known.series.dump(at))
        ]
        ids = sorted(self._ids.get(at, ()))
        sessions = [(dims, sorted(found)) for dims, found in self._sessions.get(at, {}).items()]
        return StoredSlice(ids, cells, sessions) if cells or ids or sessions else None

    def stored_alive(self) -> StoredAlive | None:
        """What is to be stored of who is alive; None if it is as it was."""
        alive = {"": self._alive, **{known.name: known.alive for known in self._known.values()}}
        if not any(one.is_changed for one in alive.values()):
            return None
        for one in alive.values():
            one.is_changed = False
        return StoredAlive([(name, list(one.seen.items())) for name, one in alive.items()])

    def load(self, at: int, stored: StoredSlice) -> None:
        """Take a stored slice; rules are in use already, and T not reached yet."""
        self.slices.add(at)
        self._ids[at] = set(stored.ids)
        by_name = {known.name: known.series for known in self._known.values()}
        for name, cells in stored.cells:
            if name in by_name:
                by_name[name].load(at, cells)
        for dims, sessions in stored.sessions:
            self._sessions.setdefault(at, {})[dims] = set(sessions)
            for session in sessions:
                if self._dims_of.get(session, (0,))[0] <= at:
                    self._dims_of[session] = at, dims

    def load_alive(self, stored: StoredAlive) -> None:
        """Take who was alive."""
        by_name = {known.name: known.alive for known in self._known.values()}
        for name, groups in stored.series:
            alive = by_name.get(name) if name else self._alive
            if alive is not None:
                alive.seen = {tuple(group): seen for group, seen in groups}
