"""A tiny machine: counts the items of a key, tells the count when the key was quiet for a while.

Every third item is told at once, too; a key is forgotten when it was quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from flows.core.live_partition import Workings

QUIET_MS = 100


class Item(NamedTuple):
    """One item of a key, at a time in ms."""

    key: str
    time_ms: int


class Count(NamedTuple):
    """How many items of a key since when, and when the last came."""

    key: str
    count: int
    last_ms: int


class Told(NamedTuple):
    """What the machine says."""

    key: str
    count: int
    now_ms: int
    is_end: bool


@dataclass(frozen=True)
class CountingMachine:
    """See the module."""

    quiet_ms: int = QUIET_MS

    def on_event(
        self, state: Count | None, event: Item, now_ms: int
    ) -> tuple[Count | None, list[Told]]:
        """Count it."""
        count = (state.count if state is not None else 0) + 1
        told = [Told(event.key, count, now_ms, False)] if count % 3 == 0 else []
        return Count(event.key, count, now_ms), told

    def on_time(self, state: Count, now_ms: int) -> tuple[Count | None, list[Told]]:
        """Tell and forget."""
        if now_ms < state.last_ms + self.quiet_ms:
            return state, []
        return None, [Told(state.key, state.count, now_ms, True)]

    def wake_at_ms(self, state: Count) -> int | None:
        """When it was quiet for long enough."""
        return state.last_ms + self.quiet_ms


def counting(quiet_ms: int = QUIET_MS) -> Workings[Count, Item, Told]:
    """The machine and how its states are stored."""
    return Workings(
        machine=CountingMachine(quiet_ms),
        encode=msgspec.msgpack.encode,
        decode=msgspec.msgpack.Decoder(Count).decode,
        key_of=lambda item: item.key,
        time_of=lambda item: item.time_ms,
    )
