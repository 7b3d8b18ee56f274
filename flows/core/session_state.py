"""What is remembered of one session, and its form in bytes.

All of it is plain values, but for what keeps its stored form: events that wait, and what detectors
remember. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flows.core.detector_memory import NOTHING, DetectorMemory
from flows.core.experience import InsightCounts
from flows.core.held_events import HeldBatch
from flows.core.session_totals import SessionTotals


class SessionState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One session.

    `held` are events that wait to be shown to the detectors, by batch. `mark_ms` is where the
    visitor's time stands: what is not after it is late. `paced_at_ms`
    and `paced_received_at_ms` are those of the last event shown: from there the visitor's time goes
    on at the pace of the processing clock. `row_at_ms` is when the last row was written.
    `late_count`, `repeated_count` and `failure_count` only grow: what a step added is the
    difference of the states before and after it.
    """

    totals: SessionTotals
    seen: bytes
    received_at_ms: int  # The last receipt.
    revision: int  # Rows written so far, but for those of a fragment.
    row_at_ms: int
    is_changed: bool  # Since the last row.
    is_closed: bool
    retain_days: int
    wake_at_ms: int
    found: InsightCounts = InsightCounts()
    held: tuple[HeldBatch, ...] = ()
    mark_ms: int = 0
    paced_at_ms: int = 0
    paced_received_at_ms: int = 0
    memory: DetectorMemory = NOTHING
    late_count: int = 0
    repeated_count: int = 0
    failure_count: int = 0
    previewed: tuple[str, ...] = ()  # Insight ids announced lately.
    is_fragment: bool = False  # Its rows give way to those of a state before.


def _stored(value: Any) -> Any:
    assert isinstance(value, HeldBatch | DetectorMemory), f"a state holds no {type(value).__name__}"
    return value.stored


def _restored(kind: Any, value: Any) -> Any:
    return kind.restored(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_stored)
_decoder = msgspec.msgpack.Decoder(SessionState, dec_hook=_restored)


def encode_state(state: SessionState) -> bytes:
    """The state as MessagePack."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> SessionState:
    """The state of these bytes.

    Raises:
        msgspec.MsgspecError: they are no state.
    """
    return _decoder.decode(data)
