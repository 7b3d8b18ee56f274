"""What rules count, and the records in which it travels from readers to evaluators.

A signal is one thing that a metric counts: a page view, an error, an insight. Readers of the source
topics make them of the projects that have rules (`flows.core.alerts.signal_makers`) and write them
to gosight.alerts.signals, whose partitions hold projects. Each record there is a `Report`: all that
one source partition had for one signals partition in a span of offsets, and up to when that is all
(its clock). A `Control` carries changed rules and the wall clock. Evaluators are functions of these
records and nothing else, so that reading them again decides the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from uuid import UUID

import msgspec

from flows.core.alerts.metrics import Kind
from schemas.alert_rules import AlertRule

SLICE_MS = 10_000
# kind, at_ms, index into the batch's dims, value, id (8 bytes; of an insight its 16; or none)
Signal = tuple[int, int, int, int, bytes]
# path, browser, country, device_type, os: schemas.alert_rules.DIMENSIONS
Dims = tuple[str, str, str, str, str]
UNKNOWN_DIMS: Dims = ("", "", "", "", "")


class SignalBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Signals of one session that came together; `session_id` are its 16 bytes."""

    offset: int
    project_id: str
    session_id: bytes
    arrived_ms: int
    dims: tuple[Dims, ...]
    signals: tuple[Signal, ...]


class Report(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """What a source partition had from `first_offset` to before `next_offset`.

    `clock_ms`: nothing older comes any more, but for records that were late by their own time.
    `results_ms`: the clock up to which the behaviour flow had done it, by `results_at_ms` on the
    wall clock; 0 if that is not known.
    `is_first`: its reader has just begun.
    """

    source: str
    first_offset: int
    next_offset: int
    clock_ms: int
    results_ms: int
    wall_ms: int
    is_first: bool
    batches: tuple[SignalBatch, ...]
    results_at_ms: int = 0
    topic_id: str = ""  # Offsets of a topic that was made anew mean other records.


class Control(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The wall clock, rules that are new or changed, ids of rules that are gone."""

    wall_ms: int
    rules: tuple[AlertRule, ...] = ()
    removed: tuple[str, ...] = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Report | Control)


def encode_record(record: Report | Control) -> bytes:
    """The value of a record of gosight.alerts.signals."""
    return _ENCODER.encode(record)


def decode_record(value: bytes) -> Report | Control:
    """What `encode_record` was given.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    record: Report | Control = _DECODER.decode(value)
    return record


def signals_partition(project_id: str, partitions: int) -> int:
    """Where a project's signals and rules are. Part of stored data: never changed."""
    return zlib.crc32(project_id.encode()) % partitions


def slice_of(at_ms: int) -> int:
    """The slice that a moment is in; slice n is (n - 1, n] times `SLICE_MS`."""
    return -(-at_ms // SLICE_MS)


def short_id(event_id: str) -> bytes:
    """Eight bytes of a canonical UUID that differ within a session: its last ones are by chance."""
    return bytes.fromhex(event_id[19:23] + event_id[24:])


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a canonical UUID."""
    return bytes.fromhex(text.replace("-", ""))


def uuid_text(value: bytes) -> str:
    """The UUID of 16 bytes."""
    return str(UUID(bytes=value))


Wanted = Mapping[str, frozenset[Kind]]  # By project.
