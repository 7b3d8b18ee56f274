"""Records that cannot be read, for the dead-letter topic. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.log import PolledBatch
from schemas.reasons import RejectReason


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be read: where it was, what it held, and why."""

    offset: int
    value: bytes
    reason: RejectReason
    detail: str
    event_count: int
    project_id: str  # As the record's key says; empty if it does not.
    created_ms: int


def poison_of(polled: PolledBatch, place: int, reason: RejectReason, detail: str) -> Poison:
    """The record at this place of the batch, as a poison."""
    project_id = polled.keys[place].partition(b":")[0].decode("utf-8", "replace")
    return Poison(
        polled.offsets[place],
        polled.values[place],
        reason,
        detail,
        polled.event_counts[place],
        project_id,
        polled.created_ms[place],
    )
