"""How far another consumer group is in partitions, asked again and again by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from connectors.errors import RetryableError
from connectors.kafka_log import Part, PositionStore

ASK_EVERY_S = 1.0


class Place(NamedTuple):
    """A group had done everything before `offset` at some moment before `asked_at_ms`.

    What it wrote by then could be read at `asked_at_ms` (wall clock).
    """

    offset: int
    asked_at_ms: int


class GroupProgress(Protocol):
    """How far a group is, as far as is known."""

    def known(self) -> Mapping[Part, Place]:
        """The last answers; never waits. A partition without a position is absent."""


class KafkaGroupProgress:
    """Asks for the positions of a group; `start` once."""

    def __init__(
        self,
        positions: PositionStore,
        parts: Callable[[], Iterable[Part]],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._positions = positions
        self._parts = parts
        self._clock_ms = clock_ms
        self._known: Mapping[Part, Place] = {}
        self._closing = threading.Event()

    def start(self) -> None:
        """Ask from now on."""
        threading.Thread(target=self._run, name="progress", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()

    def known(self) -> Mapping[Part, Place]:
        """See `GroupProgress.known`."""
        return self._known

    def refresh(self) -> None:
        """Ask once.

        Raises:
            RetryableError: no broker answers.
        """
        found = self._positions.load(sorted(self._parts()))
        asked_at_ms = self._clock_ms()
        self._known = {
            part: Place(position.next_offset, asked_at_ms) for part, position in found.items()
        }

    def _run(self) -> None:
        while not self._closing.wait(ASK_EVERY_S):
            try:
                self.refresh()
            except RetryableError:
                continue  # What was known stays true.
