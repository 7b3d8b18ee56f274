"""Sliding windows over slices of 10 s: one series is a metric with its filters, groups and window.

In: signals with their slice, in any order; then `advance` to the next slice T. Out: the value of
each group over (T - window, T]. A signal costs the same whatever the window: totals are kept, a
slice is added when T reaches it and taken away when it leaves. Values depend on the set of signals
only, not on their order, and whole numbers are added, so that nothing drifts. Mutable, for one
thread; what is stored of a series are its slices (`dump`, `load`).

Shapes of cells are those of msgpack: lists and dicts, so that a slice is stored as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from flows.core.alerts.metrics import Metric

Group = tuple[str, ...]
Cell = Any  # Of its shape: see each series.

# Groups of a series that have anything in the window or ahead of it; further ones are not counted.
GROUPS_MAX = 1_000
PARTS = 12


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a message shows: most frequent paths first; sessions and insights by their bytes."""

    top_paths: Sequence[tuple[str, int]] = ()
    sessions: Sequence[bytes] = ()
    session_count: int = 0
    insights: Sequence[bytes] = ()


NO_EVIDENCE = Evidence()


class Series(Protocol):
    """What a rule sees of its series."""

    window: int
    top: int
    touched: set[int]

    def add(
        self, at: int, group: Group, kind: int, value: int, session: bytes, path: str, ident: bytes
    ) -> bool:
        """Take a signal into slice `at`; False if it is of no use (too old, too many groups)."""

    def advance(self, top: int) -> None:
        """Let the window end at slice `top`."""

    def groups(self) -> Iterable[Group]:
        """Groups that have anything in the window."""

    def measure(self, group: Group) -> tuple[float | None, int]:
        """Value, None if there is none, and of how many it is made."""

    def parts(self, group: Group) -> list[float]:
        """Values of equal parts of the window, oldest first; parts without a value are 0."""

    def evidence(self, group: Group) -> Evidence:
        """For the message."""

    def dump(self, at: int) -> list[tuple[Group, Cell]]:
        """The cells of a slice."""

    def load(self, at: int, cells: Iterable[tuple[Group, Cell]]) -> None:
        """Cells that `dump` gave, before the first `advance` or `add`."""


class Sliced:
    """Slices of cells by group, and which of them are in the window."""

    def __init__(self, metric: Metric, window: int) -> None:
        self.metric = metric
        self.window = window
        self.top = 0
        self.touched: set[int] = set()  # Slices that a signal of another one has changed.
        self._slices: dict[int, dict[Group, Cell]] = {}
        self._present: Counter[Group] = Counter()  # Cells in the window.
        self._kept: Counter[Group] = Counter()  # And those that T has not reached yet.

    def advance(self, top: int) -> None:
        """See `Series.advance`."""
        slices = self._slices
        for new_top in range(self.top + 1, top + 1) if self.top else (top,):
            for at in self._entering(new_top):
                for group, cell in slices[at].items():
                    self._enter(at, group, cell)
            self.top = new_top
            leaving = slices.pop(new_top - self.window, None)
            if leaving is not None:
                self._kept -= Counter(leaving.keys())
                for group, cell in leaving.items():
                    self._leave(group, cell)
                    self._forget(new_top - self.window, group, cell)

    def _entering(self, new_top: int) -> Sequence[int]:
        if self.top:
            return (new_top,) if new_top in self._slices else ()
        for at in [at for at in self._slices if at <= new_top - self.window]:
            gone = self._slices.pop(at)
            self._kept -= Counter(gone.keys())
            for group, cell in gone.items():
                self._forget(at, group, cell)
        return sorted(at for at in self._slices if at <= new_top)

    def _is_in_window(self, at: int) -> bool:
        return self.top - self.window < at <= self.top

    def _cell(self, at: int, group: Group) -> Cell | None:
        """The cell to add to; None where there is none to be."""
        if at <= self.top - self.window:
            return None
        cells = self._slices.get(at)
        if cells is None:
            cells = self._slices[at] = {}
        cell = cells.get(group)
        if cell is None:
            if group not in self._kept and len(self._kept) >= GROUPS_MAX:
                return None
            cell = cells[group] = self._new()
            self._kept[group] += 1
            if self._is_in_window(at):
                self._enter(at, group, cell)
        return cell

    def _new(self) -> Cell:
        raise NotImplementedError

    def _enter(self, at: int, group: Group, cell: Cell) -> None:
        self._present[group] += 1

    def _leave(self, group: Group, cell: Cell) -> None:
        self._present[group] -= 1
        if not self._present[group]:
            del self._present[group]

    def _forget(self, at: int, group: Group, cell: Cell) -> None:
        """The cell is gone for good."""

    def groups(self) -> Iterable[Group]:
        """See `Series.groups`."""
        return self._present

    def dump(self, at: int) -> list[tuple[Group, Cell]]:
        """See `Series.dump`."""
        return list(self._slices.get(at, {}).items())

    def load(self, at: int, cells: Iterable[tuple[Group, Cell]]) -> None:
        """See `Series.load`."""
        self._slices[at] = {tuple(group): cell for group, cell in cells}
        self._kept.update(self._slices[at].keys())

    def _window_cells(self, group: Group, first: int, last: int) -> Iterable[Cell]:
        """Cells of slices `first` to `last`, in order."""
        for at in range(first, last + 1):
            cell = self._slices.get(at, {}).get(group)
            if cell is not None:
                yield cell

    def _all_cells(self, group: Group) -> Iterable[Cell]:
        return self._window_cells(group, self.top - self.window + 1, self.top)

    def parts(self, group: Group) -> list[float]:
        """See `Series.parts`."""
        count = min(PARTS, self.window)
        ends = [self.top - self.window + self.window * n // count for n in range(count + 1)]
        return [
            self._part(list(self._window_cells(group, start + 1, end)))
            for start, end in pairwise(ends)
        ]

    def _part(self, cells: Sequence[Cell]) -> float:
        raise NotImplementedError
