"""The newest records of one topic, by project, for clients that come back.

In: records as they come. Out: those of one project since a message. Records are kept as they are
and read only if somebody asks: most never are. Bounded by age, number and bytes over all projects:
the oldest go first, and it is known up to when they are gone. Pure.
"""

from __future__ import annotations

from collections import deque

from api.realtime.messages import MessageId
from api.realtime.records import project_of
from connectors.kafka_tail import TailRecord

# A record can be read only when its transaction is committed, which takes at most 9 s, and clocks
# of producers differ: what others wrote up to this long before a message may have come after it.
OVERLAP_MS = 15_000
_OVERHEAD_BYTES = 300


class History:
    """Records of one topic that are at most `keep_ms` old."""

    def __init__(self, keep_ms: int, records_max: int, bytes_max: int) -> None:
        self._keep_ms = keep_ms
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._since_ms: int | None = None
        self._owners: deque[bytes] = deque()  # In the order of their records.
        self._records: dict[bytes, deque[TailRecord]] = {}
        self._bytes = 0

    def start(self, since_ms: int) -> None:
        """Forget all: from now on everything comes that was written since then."""
        self._since_ms = since_ms
        self._owners.clear()
        self._records.clear()
        self._bytes = 0

    def add(self, record: TailRecord, now_ms: int) -> None:
        """Keep one more; older ones may have to go."""
        owner = project_of(record)
        self._owners.append(owner)
        self._records.setdefault(owner, deque()).append(record)
        self._bytes += _size(record)
        while self._owners and self._is_too_much(now_ms):
            self._drop_oldest()

    def _is_too_much(self, now_ms: int) -> bool:
        oldest = self._records[self._owners[0]][0]
        return (
            len(self._owners) > self._records_max
            or self._bytes > self._bytes_max
            or oldest.created_ms < now_ms - self._keep_ms
        )

    def _drop_oldest(self) -> None:
        owner = self._owners.popleft()
        records = self._records[owner]
        record = records.popleft()
        if not records:
            del self._records[owner]
        self._bytes -= _size(record)
        if self._since_ms is not None:
            self._since_ms = max(self._since_ms, record.created_ms + 1)

    def since(self, owner: bytes, last: MessageId) -> list[TailRecord] | None:
        """A project's records that may not have been seen by who saw this message last.

        All of them and maybe a few more, in the order in which they came; None if some are gone.
        """
        from_ms = last.created_ms - OVERLAP_MS
        if self._since_ms is None or from_ms < self._since_ms:
            return None
        return [record for record in self._records.get(owner, ()) if record.created_ms >= from_ms]


def _size(record: TailRecord) -> int:
    return len(record.value) + len(record.key) + _OVERHEAD_BYTES
