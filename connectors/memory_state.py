"""In-memory twin of `connectors.kafka_state`, for tests and dry runs; same contract tests.

It can be told to fail before or after a step is stored, or to be killed in the middle of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from connectors.errors import RetryableError
from connectors.kafka_ends import End
from connectors.kafka_log import OutRecord, Part
from connectors.memory_kafka import MemoryLog
from connectors.state_log import PartChanges
from schemas.kept_states import NOT_BEGUN, Kept, Progress


class MemoryStates:
    """What outlives the processes: states, progress, and who may write."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log or MemoryLog()
        self.progress: dict[int, Progress] = {}
        self.states: dict[int, dict[str, bytes]] = defaultdict(dict)
        self.writers: dict[int, MemoryStateLog] = {}


class MemoryStateLog:
    """Twin of `KafkaStateLog`; one object is one writer."""

    def __init__(self, kept: MemoryStates) -> None:
        self._kept = kept
        self.failures: list[Literal["before", "after"]] = []
        self.is_ready = False
        self.effects: list[str] = []
        self.told: list[list[int]] = []
        self._is_unsure = False

    def begin(self, partitions: Sequence[int]) -> Mapping[int, Kept]:
        """See `StateLog.begin`."""
        self.ready()
        for number in partitions:
            before = self._kept.writers.get(number)
            if before is not None and before is not self:
                before.is_ready = False
            self._kept.writers[number] = self
        self.effects.append(f"begin {len(partitions)}")
        return {
            number: Kept(
                self._kept.progress.get(number, NOT_BEGUN), dict(self._kept.states[number])
            )
            for number in partitions
        }

    def ready(self) -> None:
        """See `StateLog.ready`."""
        self.is_ready = True

    def commit(self, changes: Sequence[PartChanges], records: Sequence[OutRecord]) -> None:
        """See `StateLog.commit`."""
        if not self.is_ready:
            raise RetryableError("the memory states have shut this writer out")
        self._fail_if_told("before")
        if not (self._is_unsure and changes and self._is_stored(changes[0])):
            for change in changes:
                self._kept.progress[change.partition] = change.progress
                states = self._kept.states[change.partition]
                for key, value in change.states.items():
                    if value is None:
                        states.pop(key, None)
                    else:
                        states[key] = value
            for record in records:
                self._kept.log.append(record)
            self.effects.append(f"step {len(records)}")
        self._is_unsure = False
        self._fail_if_told("after")

    def tell(self, partitions: Sequence[int]) -> None:
        """See `StateLog.tell`."""
        self.told.append(list(partitions))

    def leave(self, partitions: Sequence[int]) -> None:
        """See `StateLog.leave`."""
        self.effects.append(f"leave {len(partitions)}")
        for number in partitions:
            if self._kept.writers.get(number) is self:
                del self._kept.writers[number]

    def _is_stored(self, change: PartChanges) -> bool:
        return self._kept.progress.get(change.partition, NOT_BEGUN).step >= change.progress.step

    def _fail_if_told(self, when: Literal["before", "after"]) -> None:
        if self.failures and self.failures[0] == when:
            self.failures.pop(0)
            self.is_ready = False
            self._is_unsure = True
            raise RetryableError(f"the memory states were told to fail {when} a step")


class MemoryPartEnds:
    """Twin of `KafkaPartEnds`: the test says where partitions ended, and when."""

    def __init__(self) -> None:
        self.ends: dict[Part, End] = {}

    def known(self) -> Mapping[Part, End]:
        """See `PartEnds.known`."""
        return self.ends
