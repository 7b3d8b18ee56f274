"""Where partitions begin and end, asked of the brokers, through their restarts.

In: partitions. Out: offsets. A client that asked while the brokers were away holds on to the epoch
that a partition's leader had before (FENCED_LEADER_EPOCH), until it reads the topics again by
itself, minutes later. So what fails is asked again with a new client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from connectors.kafka_log import Part

LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]


class KafkaOffsets:
    """Asks; for one thread."""

    def __init__(self, brokers: str) -> None:
        self._common: dict[str, Any] = {"bootstrap.servers": brokers, "log_level": 2}
        self._admin: AdminClient | None = None

    def ask(self, parts: Iterable[Part], spec: Any, timeout_s: float) -> dict[Part, int]:
        """The offset of each partition, those of open transactions included.

        Raises:
            KafkaException: no broker answers, or not for all of them.
        """
        wanted = {TopicPartition(*part): spec for part in parts}
        if not wanted:
            return {}
        admin = self._admin or AdminClient(self._common)
        self._admin = None
        futures = admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_s
        )
        try:
            found = {
                (entry.topic, entry.partition): int(future.result().offset)
                for entry, future in futures.items()
            }
        except KafkaException:
            # Answers that are still to come need their client.
            for future in futures.values():
                future.exception()
            raise
        self._admin = admin
        return found
