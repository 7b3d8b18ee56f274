"""Reading the topic of refused events from its start, or from a moment, to its end of now.

In: brokers and filters. Out: `DeadLetter`s in the order of their refusal. No consumer group is
joined and nothing is committed: reading leaves no trace.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from google.protobuf.message import DecodeError

from connectors.errors import FatalError, RetryableError
from schemas.topics import EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord

CALL_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused event or record, and where it lies."""

    partition: int
    offset: int
    record: RejectedRecord


@dataclass(frozen=True, slots=True)
class Filters:
    """Which ones; empty means all. `since_ms` is compared with the time of refusal."""

    project_id: str = ""
    reason: str = ""
    since_ms: int = 0

    def match(self, record: RejectedRecord) -> bool:
        """Does the record pass all filters?"""
        return (
            (not self.project_id or record.project_id == self.project_id)
            and (not self.reason or record.reason == self.reason)
            and record.rejected_at_ms >= self.since_ms
        )


def read_dead_letters(brokers: str, filters: Filters) -> list[DeadLetter]:
    """All that match, oldest first.

    Raises:
        RetryableError: no broker answers, or reading stops half-way.
        FatalError: the topic does not exist.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "gosight-dlq",  # Asked for by the client; nothing is committed under it.
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    try:
        letters = [
            letter
            for letter in _read_all(consumer, filters.since_ms)
            if filters.match(letter.record)
        ]
    except KafkaException as error:
        raise RetryableError(f"Kafka does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return sorted(letters, key=lambda letter: letter.record.rejected_at_ms)


def _read_all(consumer: Consumer, since_ms: int) -> Iterator[DeadLetter]:
    starts = _starts(consumer, since_ms)
    left = {
        part.partition: end
        for part in starts
        if (end := _end_of(consumer, part)) > part.offset >= 0
    }
    consumer.assign([part for part in starts if part.partition in left])
    heard_at = time.monotonic()
    while left:
        messages = consumer.consume(num_messages=500, timeout=0.5)
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > IDLE_TIMEOUT_S:
            raise RetryableError("Kafka stopped answering while the topic was read")
        for message in messages:
            partition, offset = _place(message)
            # A record that came after the start is of the next reading.
            if offset < left.get(partition, 0):
                letter = _letter(message, partition, offset)
                if letter is not None:
                    yield letter
            if offset + 1 >= left.get(partition, 0):
                left.pop(partition, None)


def _starts(consumer: Consumer, since_ms: int) -> list[TopicPartition]:
    """Where to begin in each partition; a negative offset says that there is nothing."""
    topic = consumer.list_topics(EVENTS_REJECTED.name, timeout=CALL_TIMEOUT_S).topics[
        EVENTS_REJECTED.name
    ]
    if topic.error is not None:
        raise FatalError(f"{EVENTS_REJECTED.name}: {topic.error.str()}; gosight topics create")
    if since_ms:
        asked = [
            TopicPartition(EVENTS_REJECTED.name, number, since_ms) for number in topic.partitions
        ]
        return consumer.offsets_for_times(asked, timeout=CALL_TIMEOUT_S)
    starts = []
    for number in topic.partitions:
        part = TopicPartition(EVENTS_REJECTED.name, number)
        low, _ = consumer.get_watermark_offsets(part, timeout=CALL_TIMEOUT_S)
        starts.append(TopicPartition(EVENTS_REJECTED.name, number, low))
    return starts


def _end_of(consumer: Consumer, part: TopicPartition) -> int:
    _, high = consumer.get_watermark_offsets(
        TopicPartition(part.topic, part.partition), timeout=CALL_TIMEOUT_S
    )
    return int(high)


def _place(message: Message) -> tuple[int, int]:
    error = message.error()
    if error is not None:
        kind = FatalError if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART else RetryableError
        raise kind(f"{EVENTS_REJECTED.name}: {error.str()}")
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _letter(message: Message, partition: int, offset: int) -> DeadLetter | None:
    try:
        record = RejectedRecord.FromString(message.value() or b"")
    except DecodeError:  # Counted in the ledger as undecodable; there is nothing to show.
        return None
    return DeadLetter(partition, offset, record)
