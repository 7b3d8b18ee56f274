"""The series of each kind of metric: counts and sums, shares of sessions, means, bounces.

What they have in common, and what they promise, is in `flows.core.alerts.windows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from flows.core.alerts.metrics import METRIC_BY_NAME, Metric, Shape
from flows.core.alerts.signal_makers import BOUNCED, CLOSED
from flows.core.alerts.signals import SLICE_MS
from flows.core.alerts.windows import NO_EVIDENCE, Cell, Evidence, Group, Series, Sliced

# Of a cell.
PATHS_MAX = 20
SESSIONS_MAX = 100
INSIGHTS_MAX = 10
SUM_MAX = 2**62
# Open sessions older than this are judged, too. Source: alerting.md, section 2.
BOUNCE_AGE_SLICES = 30 * 60_000 // SLICE_MS


class CountSeries(Sliced):
    """Counts and sums. A cell is [amount, paths, sessions, insights]."""

    def __init__(self, metric: Metric, window: int) -> None:
        super().__init__(metric, window)
        self._totals: Counter[Group] = Counter()
        self._is_sum = metric.shape is Shape.SUM

    def _new(self) -> Cell:
        return [0, {}, {}, []]

    def add(
        self, at: int, group: Group, kind: int, value: int, session: bytes, path: str, ident: bytes
    ) -> bool:
        """See `Series.add`."""
        cell = self._cell(at, group)
        if cell is None:
            return False
        amount = value if self._is_sum else 1
        # What purchases made up come to must still fit into 64 bits.
        amount = min(max(cell[0] + amount, -SUM_MAX), SUM_MAX) - cell[0]
        cell[0] += amount
        if self._is_in_window(at):
            self._totals[group] += amount
        if self.metric.has_evidence:
            paths, sessions, insights = cell[1], cell[2], cell[3]
            if path in paths or len(paths) < PATHS_MAX:
                paths[path] = paths.get(path, 0) + 1
            if session in sessions or len(sessions) < SESSIONS_MAX:
                sessions[session] = 1
            if len(ident) == 16 and len(insights) < INSIGHTS_MAX:
                insights.append(ident)
        return True

    def _enter(self, at: int, group: Group, cell: Cell) -> None:
        super()._enter(at, group, cell)
        self._totals[group] += cell[0]

    def _leave(self, group: Group, cell: Cell) -> None:
        super()._leave(group, cell)
        self._totals[group] -= cell[0]
        if group not in self._present:
            del self._totals[group]

    def measure(self, group: Group) -> tuple[float | None, int]:
        """See `Series.measure`; money is in whole units."""
        total = self._totals.get(group, 0)
        return (total / 100 if self._is_sum else total), self._present.get(group, 0)

    def _part(self, cells: Sequence[Cell]) -> float:
        total: int = sum(cell[0] for cell in cells)
        return total / 100 if self._is_sum else total

    def evidence(self, group: Group) -> Evidence:
        """See `Series.evidence`."""
        if not self.metric.has_evidence:
            return NO_EVIDENCE
        paths: Counter[str] = Counter()
        sessions: dict[bytes, int] = {}
        insights: list[bytes] = []
        for cell in self._all_cells(group):
            paths.update(cell[1])
            sessions.update(dict.fromkeys(sorted(cell[2]), 1))
            insights.extend(sorted(cell[3]))
        return Evidence(_top(paths), list(sessions), len(sessions), insights)


class ShareSeries(Sliced):
    """Sessions, and the share of them that did something. A cell is [flags by session, paths].

    A session counts once, in however many slices it is: how many there are in the window is kept.
    """

    _SEEN, _HIT = 1, 2

    def __init__(self, metric: Metric, window: int) -> None:
        super().__init__(metric, window)
        self._seen: dict[Group, Counter[bytes]] = {}
        self._hit: dict[Group, Counter[bytes]] = {}

    def _new(self) -> Cell:
        return [{}, {}]

    def add(
        self, at: int, group: Group, kind: int, value: int, session: bytes, path: str, ident: bytes
    ) -> bool:
        """See `Series.add`."""
        cell = self._cell(at, group)
        if cell is None:
            return False
        is_hit = kind in self.metric.kinds
        flags = self._SEEN | (self._HIT if is_hit else 0)
        before = cell[0].get(session, 0)
        if is_hit and (path in cell[1] or len(cell[1]) < PATHS_MAX):
            cell[1][path] = cell[1].get(path, 0) + 1
        if before | flags != before:
            cell[0][session] = before | flags
            if self._is_in_window(at):
                self._count(group, session, flags & ~before, 1)
        return True

    def _count(self, group: Group, session: bytes, flags: int, change: int) -> None:
        for flag, counts in ((self._SEEN, self._seen), (self._HIT, self._hit)):
            if flags & flag:
                of_group = counts.setdefault(group, Counter())
                of_group[session] += change
                if not of_group[session]:
                    del of_group[session]

    def _enter(self, at: int, group: Group, cell: Cell) -> None:
        super()._enter(at, group, cell)
        for session, flags in cell[0].items():
            self._count(group, session, flags, 1)

    def _leave(self, group: Group, cell: Cell) -> None:
        super()._leave(group, cell)
        for session, flags in cell[0].items():
            self._count(group, session, flags, -1)
        if group not in self._present:
            self._seen.pop(group, None)
            self._hit.pop(group, None)

    def measure(self, group: Group) -> tuple[float | None, int]:
        """See `Series.measure`."""
        seen = len(self._seen.get(group, ()))
        if self.metric.shape is Shape.DISTINCT:
            return seen, seen
        return (100 * len(self._hit.get(group, ())) / seen if seen else None), seen

    def _part(self, cells: Sequence[Cell]) -> float:
        flags: dict[bytes, int] = {}
        for cell in cells:
            for session, found in cell[0].items():
                flags[session] = flags.get(session, 0) | found
        if self.metric.shape is Shape.DISTINCT:
            return len(flags)
        hits = sum(1 for found in flags.values() if found & self._HIT)
        return 100 * hits / len(flags) if flags else 0.0

    def evidence(self, group: Group) -> Evidence:
        """See `Series.evidence`."""
        if self.metric.shape is Shape.DISTINCT:
            return Evidence(session_count=len(self._seen.get(group, ())))
        paths: Counter[str] = Counter()
        sessions: dict[bytes, int] = {}
        for cell in self._all_cells(group):
            paths.update(cell[1])
            hits = sorted(name for name, found in cell[0].items() if found & self._HIT)
            sessions.update(dict.fromkeys(hits, 1))
        return Evidence(_top(paths), list(sessions), len(sessions))


class MeanSeries(Sliced):
    """The mean over page views of the largest value reported. A cell is values by page view.

    A page view is in the slice of its first report. What T has not reached is in a slice of its own
    until then, so that no report counts before its time, however soon it came.
    """

    def __init__(self, metric: Metric, window: int) -> None:
        super().__init__(metric, window)
        self._totals: dict[Group, list[int]] = {}
        self._slice_of: dict[tuple[Group, bytes], int] = {}

    def _new(self) -> Cell:
        return {}

    def add(
        self, at: int, group: Group, kind: int, value: int, session: bytes, path: str, ident: bytes
    ) -> bool:
        """See `Series.add`."""
        if at > self.top:
            cell = self._cell(at, group)
            if cell is None:
                return False
            cell[ident] = max(value, cell.get(ident, 0))
            return True
        key = group, ident
        known_at = self._slice_of.get(key)
        if known_at is not None:
            before = self._slices[known_at][group].pop(ident)
            self._total(group, known_at, -before, -1)
            self.touched |= {known_at, min(at, known_at)}
            value, at = max(value, before), min(at, known_at)
        cell = self._cell(at, group)
        if cell is None:
            self._slice_of.pop(key, None)
            return False
        cell[ident] = value
        self._slice_of[key] = at
        self._total(group, at, value, 1)
        return True

    def _total(self, group: Group, at: int, value: int, count: int) -> None:
        if self._is_in_window(at):
            total = self._totals.setdefault(group, [0, 0])
            total[0] += value
            total[1] += count

    def _enter(self, at: int, group: Group, cell: Cell) -> None:
        super()._enter(at, group, cell)
        total = self._totals.setdefault(group, [0, 0])
        for ident, value in list(cell.items()):
            known_at = self._slice_of.setdefault((group, ident), at)
            if known_at == at:
                total[0] += value
                total[1] += 1
                continue
            first = self._slices[known_at][group]
            if value > first[ident]:
                total[0] += value - first[ident]
                first[ident] = value
            del cell[ident]
            self.touched |= {known_at, at}

    def _leave(self, group: Group, cell: Cell) -> None:
        super()._leave(group, cell)
        total = self._totals[group]
        total[0] -= sum(cell.values())
        total[1] -= len(cell)
        if group not in self._present:
            del self._totals[group]

    def _forget(self, at: int, group: Group, cell: Cell) -> None:
        for ident in cell:
            # What was stored may be there again in a later slice.
            if self._slice_of.get((group, ident)) == at:
                del self._slice_of[group, ident]

    def measure(self, group: Group) -> tuple[float | None, int]:
        """See `Series.measure`."""
        total, count = self._totals.get(group, (0, 0))
        return (total / count if count else None), count

    def _part(self, cells: Sequence[Cell]) -> float:
        values = [value for cell in cells for value in cell.values()]
        return sum(values) / len(values) if values else 0.0

    def evidence(self, group: Group) -> Evidence:
        """See `Series.evidence`."""
        return NO_EVIDENCE


class BounceSeries(Sliced):
    """Bounces among sessions that began in the window and are over, or 30 minutes old.

    A cell is the newest revision by session, as `signal_makers` packs it.
    """

    def __init__(self, metric: Metric, window: int) -> None:
        super().__init__(metric, window)
        self._place_of: dict[bytes, tuple[int, Group]] = {}

    def _new(self) -> Cell:
        return {}

    def add(
        self, at: int, group: Group, kind: int, value: int, session: bytes, path: str, ident: bytes
    ) -> bool:
        """See `Series.add`."""
        known = self._place_of.get(session)
        if known is not None:
            if self._slices[known[0]][known[1]][session] >= value:
                return True  # It is known already.
            self.touched.add(known[0])
            del self._slices[known[0]][known[1]][session]
            del self._place_of[session]
        cell = self._cell(at, group)
        if cell is None:
            return False
        cell[session] = value
        self._place_of[session] = at, group
        return True

    def _forget(self, at: int, group: Group, cell: Cell) -> None:
        for session in cell:
            if self._place_of.get(session) == (at, group):
                del self._place_of[session]

    def load(self, at: int, cells: Iterable[tuple[Group, Cell]]) -> None:
        """See `Series.load`."""
        super().load(at, cells)
        for group, cell in self._slices[at].items():
            for session in cell:
                self._place_of[session] = max((at, group), self._place_of.get(session, (at, group)))

    def _judged(self, group: Group) -> Mapping[bytes, bool]:
        """Sessions that count, and whether each was a bounce."""
        found: dict[bytes, bool] = {}
        for at in range(self.top - self.window + 1, self.top + 1):
            for session, value in self._slices.get(at, {}).get(group, {}).items():
                if value & CLOSED or at <= self.top - BOUNCE_AGE_SLICES:
                    found[session] = bool(value & BOUNCED)
        return found

    def measure(self, group: Group) -> tuple[float | None, int]:
        """See `Series.measure`."""
        judged = self._judged(group)
        return (100 * sum(judged.values()) / len(judged) if judged else None), len(judged)

    def _part(self, cells: Sequence[Cell]) -> float:
        values = [value for cell in cells for value in cell.values() if value & CLOSED]
        return 100 * sum(value & BOUNCED for value in values) / len(values) if values else 0.0

    def evidence(self, group: Group) -> Evidence:
        """See `Series.evidence`."""
        sessions = sorted(name for name, bounced in self._judged(group).items() if bounced)
        return Evidence(sessions=sessions, session_count=len(sessions))


def _top(paths: Counter[str]) -> list[tuple[str, int]]:
    return sorted(paths.items(), key=lambda item: (-item[1], item[0]))


def new_series(metric_name: str, window: int) -> Series:
    """The series of a metric; `window` is in slices."""
    metric = METRIC_BY_NAME[metric_name]
    if metric.shape in (Shape.COUNT, Shape.SUM):
        return CountSeries(metric, window)
    if metric.shape is Shape.MEAN:
        return MeanSeries(metric, window)
    if metric.shape is Shape.BOUNCES:
        return BounceSeries(metric, window)
    return ShareSeries(metric, window)
