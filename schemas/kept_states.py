"""What a stateful flow keeps of one partition in its compacted topic.

A record's key is the key of a state and its value the state, or nothing once it is forgotten. One
key, which no state can have, holds how far the partition is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

FROM_EARLIEST = -2  # As an offset: the first record that there is.
PROGRESS_KEY = b"progress"  # States of sessions are kept by keys with a colon.


class Progress(NamedTuple):
    """How far a partition is: the next record to read, its clock in ms, and steps made so far."""

    next_offset: int = FROM_EARLIEST
    clock_ms: int = 0
    step: int = 0


NOT_BEGUN = Progress()


@dataclass(frozen=True, slots=True)
class Kept:
    """States by key, as they were stored, and how far the partition is."""

    progress: Progress = NOT_BEGUN
    states: Mapping[str, bytes] = field(default_factory=dict)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Progress, str])


def encode_progress(progress: Progress, source_id: str) -> bytes:
    """With the id of the topic whose offsets are meant."""
    return _ENCODER.encode((progress, source_id))


def decode_progress(value: bytes, source_id: str) -> Progress:
    """The progress; offsets of a topic that was deleted and made anew mean nothing in the new one.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    progress, found_id = _DECODER.decode(value)
    return progress if found_id == source_id else progress._replace(next_offset=FROM_EARLIEST)
