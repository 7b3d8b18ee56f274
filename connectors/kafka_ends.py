"""Where partitions ended at a moment, asked again and again by a thread of its own.

Who has read up to such an end knows that what comes later was appended after the question was
asked. So a quiet partition's time goes on, and that of one with unread records does not, however
slow reading or the broker is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaException

from connectors.kafka_log import Part
from connectors.kafka_offsets import LATEST, KafkaOffsets

ASK_EVERY_S = 0.5
CALL_TIMEOUT_S = 4.0


class End(NamedTuple):
    """A partition ended before `offset` at some moment after `asked_at_ms` (wall clock)."""

    offset: int
    asked_at_ms: int


class PartEnds(Protocol):
    """Where partitions end, as far as is known."""

    def known(self) -> Mapping[Part, End]:
        """The last answers; never waits."""


class KafkaPartEnds:
    """Asks for the ends of the partitions that this process holds; `start` once."""

    def __init__(
        self,
        brokers: str,
        parts: Callable[[], Iterable[Part]],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._offsets = KafkaOffsets(brokers)
        self._parts = parts
        self._clock_ms = clock_ms
        self._known: Mapping[Part, End] = {}
        self._closing = threading.Event()

    def start(self) -> None:
        """Ask from now on."""
        threading.Thread(target=self._run, name="ends", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()

    def known(self) -> Mapping[Part, End]:
        """See `PartEnds.known`."""
        return self._known

    def refresh(self) -> None:
        """Ask once.

        Raises:
            KafkaException: no broker answers.
        """
        parts = list(self._parts())
        asked_at_ms = self._clock_ms()
        found = self._offsets.ask(parts, LATEST, CALL_TIMEOUT_S)
        self._known = {part: End(offset, asked_at_ms) for part, offset in found.items()}

    def _run(self) -> None:
        while not self._closing.wait(ASK_EVERY_S):
            try:
                self.refresh()
            except KafkaException:
                continue  # What was known stays true. The source says that the brokers are away.
