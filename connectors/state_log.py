"""States of a flow that follow its partitions: shared by Kafka's log of them and its twin.

What one step changes (states, progress, records to other topics) is written as a whole or not at
all. Guarantees, with one holder of each partition at a time (`connectors.claims`):

- A reader of committed records sees nothing of a step that was not finished.
- `begin` gives exactly what was committed; whoever wrote the partition before can write no more.
- `commit` may be called again with the same step after a `RetryableError`: it is written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.kafka_log import OutRecord
from schemas.kept_states import Kept, Progress


@dataclass(frozen=True, slots=True)
class PartChanges:
    """What a step changes in one partition; a state of None is forgotten."""

    partition: int
    progress: Progress
    states: Mapping[str, bytes | None]


class StateLog(Protocol):
    """Keeps the states of the partitions of one topic."""

    def begin(self, partitions: Sequence[int]) -> Mapping[int, Kept]:
        """Take partitions over from whoever held them, and read what is kept of them.

        Raises:
            RetryableError: a server does not answer, or a step of another is not at its end yet.
        """

    def ready(self) -> None:
        """Be able to write, after a failure too.

        The writer checks its claims after this and before `commit`: a writer that was shut out
        stays so until it calls this again.

        Raises:
            RetryableError: a server does not answer.
        """

    def commit(self, changes: Sequence[PartChanges], records: Sequence[OutRecord]) -> None:
        """Write a step as a whole, and wait until it is.

        Raises:
            RetryableError: it is not known to be written: call `ready`, then this again.
            FatalError: a record can never be written.
        """

    def tell(self, partitions: Sequence[int]) -> None:
        """Tell lag tools how far these partitions are; call it often, it never waits.

        They must be held for certain: the word of one who has lost them would stand against that of
        their holder.
        """

    def leave(self, partitions: Sequence[int]) -> None:
        """Let go of partitions in good order; nothing is written to them any more.

        Raises:
            RetryableError: a server does not answer; the next holder takes over all the same.
        """
