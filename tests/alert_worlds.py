"""Signals, reports and rules for tests of alerts, and a world that evaluates them.

Times are given in seconds after `START_MS`, a multiple of every window that tests use.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from flows.core.alerts.metrics import Kind
from flows.core.alerts.partition import AlertPartition, SignalRecord
from flows.core.alerts.signals import Control, Dims, Report, SignalBatch, encode_record
from flows.core.alerts.source_clocks import RESULT_SOURCES, USUAL_SOURCES, SourceNames
from flows.core.alerts.transitions import Transition
from schemas.alert_rules import AlertRule, read_rule
from schemas.kept_states import Kept

START_MS = 1_767_225_600_000  # 2026-01-01, midnight.
PROJECT = "1f0a7f6e-0000-4000-8000-000000000002"
DELAY_S = 15


def rule(condition: dict[str, Any] | None = None, **fields: Any) -> AlertRule:
    """A rule: more than 10 rage clicks in 5 minutes, unless told otherwise."""
    base = {"metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m"}
    document = {
        "id": str(uuid.UUID(int=1)),
        "project_id": PROJECT,
        "name": "A rule",
        "condition": base | (condition or {}),
    }
    return read_rule(document | fields)


def at(seconds: float) -> int:
    """The moment, in ms."""
    return START_MS + round(seconds * 1000)


def clock(text: str) -> float:
    """Seconds after START of a time of the day (`10:09:50`)."""
    hours, minutes, *seconds = (int(part) for part in text.split(":"))
    return hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)


def session(number: int) -> bytes:
    """The bytes of a session's id."""
    return uuid.UUID(int=number + 1).bytes


class World:
    """One signals partition with all its sources; what is told is gathered in `told`.

    `raw` and `results` say something in sources of their own; `pass_to` lets all clocks go on.
    """

    def __init__(
        self,
        *rules: AlertRule,
        in_force_s: float = -100_000,
        project_id: str = PROJECT,
        sources: SourceNames = USUAL_SOURCES,
    ) -> None:
        self.project_id = project_id
        self.records: list[bytes] = []
        self.kept: dict[str, bytes] = {}
        self.offsets = dict.fromkeys((*sources.raw, *sources.results), 0)
        self.sources = sources
        self.partition = AlertPartition(Kept(), sources=sources)
        self.told: list[Transition] = []
        self._ids = 0
        self.wall_s = 0.0
        if rules:
            self.control(*rules, wall_s=in_force_s)

    def control(self, *rules: AlertRule, wall_s: float, removed: Sequence[str] = ()) -> None:
        """Rules that are new or changed."""
        self.put(Control(at(wall_s), rules, tuple(removed)))

    def signal(
        self,
        kind: Kind,
        at_s: float,
        *,
        session_number: int = 0,
        path: str = "/",
        dims: Dims | None = None,
        value: int = 0,
        ident: bytes | None = None,
        arrived_s: float | None = None,
    ) -> SignalBatch:
        """One signal in a batch of its own."""
        self._ids += 1
        width = 16 if kind >= Kind.RAGE_CLICK else 8
        return SignalBatch(
            0,
            self.project_id,
            session(session_number),
            at(at_s if arrived_s is None else arrived_s),
            (dims or (path, "Firefox", "Norway", "desktop", "Linux"),),
            ((kind, at(at_s), 0, value, ident or self._ids.to_bytes(width, "big")),),
        )

    def report(
        self,
        source: str,
        batches: Iterable[SignalBatch],
        clock_s: float,
        wall_s: float | None = None,
    ) -> Report:
        """The next report of a source; one record for each batch."""
        first = self.offsets[source]
        placed = [
            SignalBatch(first + n, b.project_id, b.session_id, b.arrived_ms, b.dims, b.signals)
            for n, b in enumerate(batches)
        ]
        self.offsets[source] = first + len(placed)
        return Report(
            source,
            first,
            first + len(placed),
            at(clock_s),
            at(clock_s) if source in self.sources.raw else 0,
            at(clock_s if wall_s is None else wall_s),
            False,
            tuple(placed),
            at(clock_s if wall_s is None else wall_s),
        )

    def put(self, record: Report | Control) -> None:
        """Append a record, and evaluate it."""
        self.records.append(encode_record(record))
        offset = len(self.records) - 1
        self.partition.take([SignalRecord(offset, self.records[offset])], offset + 1)
        self.step()

    def raw(self, batches: Iterable[SignalBatch], clock_s: float, source: int = 0) -> None:
        """Events that arrived in a raw partition."""
        self.put(self.report(self.sources.raw[source], batches, clock_s, self.wall_s))

    def results(self, batches: Iterable[SignalBatch], clock_s: float) -> None:
        """Insights, or revisions of sessions."""
        self.put(self.report(RESULT_SOURCES[0], batches, clock_s, self.wall_s))

    def pass_to(self, seconds: float, wall_s: float | None = None) -> None:
        """All sources are read up to then; the wall clock is there, too, unless told otherwise."""
        for source in (*RESULT_SOURCES, *self.sources.raw):
            self.put(self.report(source, (), seconds, self.wall_s))
        self.wall_s = seconds if wall_s is None else wall_s
        self.put(self.report(RESULT_SOURCES[0], (), seconds, self.wall_s))

    def evaluate(self, seconds: float) -> None:
        """Let T be reached."""
        self.pass_to(seconds + DELAY_S + 0.001)

    def step(self) -> None:
        """Store what has changed."""
        if not self.partition.is_changed:
            return
        step = self.partition.step()
        for key, value in step.states.items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        self.progress = step.progress
        self.told += step.outputs

    def restart(self) -> None:
        """Lose all that is not stored, and read on from where it says."""
        if not hasattr(self, "progress"):
            return
        self.partition = AlertPartition(Kept(self.progress, dict(self.kept)), sources=self.sources)
        for offset in range(self.progress.next_offset, len(self.records)):
            self.partition.take([SignalRecord(offset, self.records[offset])], offset + 1)

    def kinds(self) -> list[tuple[str, float]]:
        """What was told, as (kind, seconds)."""
        return [(told.kind, (told.at_ms - START_MS) / 1000) for told in self.told]
