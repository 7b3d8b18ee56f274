"""Signals of polled records, for projects that have rules; of all others only when they came.

In: `PolledBatch`es of raw events, insights or sessions, what rules need, and what was erased. Out:
signals, and how far the records' own clock is. What other flows do not store, because its visitor
was erased, makes no signals and is counted. Records that cannot be read are counted: other flows
write the letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from flows.core.alerts.metrics import Kind
from flows.core.alerts.signal_makers import (
    signals_of_batch,
    signals_of_insight,
    signals_of_session,
)
from flows.core.alerts.signals import SignalBatch, Wanted
from flows.core.session_batches import BatchReader
from flows.core.session_event import received_at
from flows.core.session_row import insight_of_message, row_of_message
from flows.core.suppression import (
    is_erased_insight,
    is_erased_session,
    without_suppressed_events,
)
from flows.streams import count_outcome
from schemas.codec import CodecError
from schemas.erasure import NOBODY, Erased
from schemas.log import PolledBatch
from schemas.reasons import DropReason, RejectReason
from schemas.topics import EVENTS_RAW, INSIGHTS, SESSIONS
from schemas.v1 import pipeline_pb2
from schemas.v1.alerts_pb2 import RawReceipt

FLOW = "alerts"
# Records of results are stamped before their transaction is written.
RESULTS_BEHIND_MS = 1_000


@dataclass
class ReadSignals:
    """Signals in order of the log; `clock_ms` is the largest time of the records, 0 for none.

    `suppressed` counts events, sessions and insights of erased visitors.
    """

    batches: list[SignalBatch] = field(default_factory=list)
    clock_ms: int = 0
    suppressed: int = 0


class SignalReader:
    """Reads one polled batch after the other; not for several threads."""

    def __init__(
        self,
        reader: BatchReader,
        ahead_ms_max: int | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        erased: Callable[[], Erased] = lambda: NOBODY,
    ) -> None:
        """What was received more than `ahead_ms_max` from now was received now."""
        self._reader = reader
        self._erased = erased
        self._ahead_ms_max = ahead_ms_max
        self._clock_ms = clock_ms

    def read(self, polled: PolledBatch, wanted: Wanted) -> ReadSignals:
        """All signals of the records; never raises for what a record holds."""
        found = ReadSignals()
        erased = self._erased()
        latest_ms = None
        if self._ahead_ms_max is not None:
            latest_ms = self._clock_ms() + self._ahead_ms_max
        for offset, key, value in zip(polled.offsets, polled.keys, polled.values, strict=True):
            kinds = wanted.get(key.partition(b":")[0].decode("utf-8", "replace"))
            try:
                if polled.topic == EVENTS_RAW.name:
                    self._read_raw(found, offset, value, kinds, latest_ms, erased)
                elif kinds:
                    _read_result(found, polled.topic, offset, value, kinds, erased)
            except (CodecError, DecodeError):
                count_outcome(FLOW, "rejected", RejectReason.UNDECODABLE, 1)
            except Exception:  # One bad record must not stop the flow.
                count_outcome(FLOW, "rejected", RejectReason.POISON, 1)
        if polled.topic != EVENTS_RAW.name:
            found.clock_ms = max(0, max(polled.created_ms) - RESULTS_BEHIND_MS)
        count_outcome(FLOW, "read", "", sum(polled.event_counts))
        count_outcome(FLOW, "dropped", DropReason.SUPPRESSED, found.suppressed)
        return found

    def _read_raw(
        self,
        found: ReadSignals,
        offset: int,
        value: bytes,
        kinds: frozenset[Kind] | None,
        latest_ms: int | None,
        erased: Erased,
    ) -> None:
        if kinds is None:
            received_ms = RawReceipt.FromString(value).received_at_ms
            if latest_ms is None or received_ms <= latest_ms:
                found.clock_ms = max(found.clock_ms, received_ms)
            return
        batch = self._reader.read_record(value)
        if latest_ms is not None and batch.received_at_ms > latest_ms:
            batch = received_at(batch, self._clock_ms())
        found.clock_ms = max(found.clock_ms, batch.received_at_ms)
        kept = without_suppressed_events(batch, erased)
        found.suppressed += len(batch.events) - len(kept.events)
        made = signals_of_batch(kept, offset, kinds)
        if made is not None:
            found.batches.append(made)


def _read_result(
    found: ReadSignals,
    topic: str,
    offset: int,
    value: bytes,
    kinds: frozenset[Kind],
    erased: Erased,
) -> None:
    if topic == INSIGHTS.name:
        insight = insight_of_message(pipeline_pb2.Insight.FromString(value))
        is_erased = is_erased_insight(insight, erased)
        made = signals_of_insight(insight, offset, kinds)
    else:
        assert topic == SESSIONS.name
        if Kind.SESSION not in kinds:
            return
        row = row_of_message(pipeline_pb2.SessionRevision.FromString(value))
        is_erased = is_erased_session(row, erased)
        made = signals_of_session(row, offset, kinds)
    if is_erased:
        found.suppressed += 1
    elif made is not None:
        found.batches.append(made)
