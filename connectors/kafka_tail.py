"""The newest records of topics, for a process that only shows them.

In: topics. Out: batches of `TailRecord`s, called out from a thread of its own. No consumer group,
no commits: each process reads all partitions, first what was written in the last `history_ms`, then
what comes. Guarantees:

- The brokers may be away at the start and at any time; it goes on where it was.
- What is read is bounded: a listener that is slow holds the thread up, and nothing piles up.
- Where records are lost to this process (they left retention, a topic was made anew), the listener
  is told before it gets later ones.
- A topic on demand is read from its end while somebody wants some of its keys, and only records
  with these keys are handed out: others cost a comparison.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import ConnectorError, RetryableError
from connectors.kafka_admin import read_topics
from connectors.kafka_log import Part
from connectors.telemetry import get_logger

T = TypeVar("T")

POLL_S = 0.2
POLL_RECORDS = 500
CALL_TIMEOUT_S = 2.0
PROBE_EVERY_S = 0.5
PROBE_TIMEOUT_S = 1.0
PROBES_FAILED_MAX = 3  # Then the client is replaced: it may hold on to what was.
RETRY_S = 0.5
BATCHES_AT_ONCE = 4
QUEUED_KBYTES_MAX = 1024  # Of each partition.


class TailRecord(NamedTuple):
    """One record; `created_ms` is the time that its producer gave it."""

    topic: str
    partition: int
    offset: int
    created_ms: int
    key: bytes
    value: bytes
    is_history: bool  # It was there before this process began to read.


class TailListener(Protocol):
    """Who gets the records. All is called from the thread of the tail."""

    def on_start(self, topic: str, since_ms: int) -> None:
        """From here on all records of the topic follow that were written since then.

        Called at the start and again when records were lost in between.
        """

    def on_records(self, records: Sequence[TailRecord], done: Callable[[], None]) -> None:
        """Records in the order of each partition; call `done` when they are dealt with."""

    def on_current(self, topic: str) -> None:
        """Its history is handed out; from now on it is live."""

    def on_stop(self, topic: str) -> None:
        """Nobody wants the topic on demand any more: nothing of it comes until `on_start`."""

    def on_state(self, fault: str | None) -> None:
        """None: the brokers answer, else one sentence why they do not."""


class KafkaTail:
    """Reads `topics`, and `on_demand` while `want` names keys of it; `start` once, then `close`.

    The first `key_chars` bytes of a record's key are what `want` is about.
    """

    def __init__(
        self,
        brokers: str,
        topics: Sequence[str],
        on_demand: str,
        *,
        history_ms: int,
        key_chars: int,
        clock_ms: Callable[[], int],
    ) -> None:
        self._brokers = brokers
        self._topics = tuple(topics)
        self._on_demand = on_demand
        self._history_ms = history_ms
        self._key_chars = key_chars
        self._clock_ms = clock_ms
        self._wanted: frozenset[bytes] = frozenset()
        self._closing = threading.Event()
        self._room = threading.Semaphore(BATCHES_AT_ONCE)
        self._thread: threading.Thread | None = None
        self._topic_ids: dict[str, str] = {}
        self._parts: dict[str, tuple[int, ...]] = {}
        self._next: dict[Part, int] = {}  # Where to go on.
        self._catching_up: set[Part] = set()
        self._is_demanded = False
        self._fault: str | None = None
        self._was_told = False

    def start(self, listener: TailListener) -> None:
        """Read from now on."""
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="kafka-tail", daemon=True
        )
        self._thread.start()

    def want(self, keys: frozenset[bytes]) -> None:
        """Which keys of the topic on demand are looked at; may be called from any thread."""
        self._wanted = keys

    def close(self) -> None:
        """Read no more; returns when the thread has ended."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CALL_TIMEOUT_S * 4)

    def _run(self, listener: TailListener) -> None:
        while not self._closing.is_set():
            try:
                self._read(listener)
            except (KafkaException, ConnectorError, TimeoutError) as error:
                self._tell(listener, _reason(error))
            self._closing.wait(RETRY_S)

    def _tell(self, listener: TailListener, fault: str | None) -> None:
        if self._was_told and (fault is None) == (self._fault is None):
            return
        self._was_told, self._fault = True, fault
        if fault is None:
            get_logger().info("kafka_tail_reads")
        else:
            get_logger().warning("kafka_tail_away", reason=fault)
        listener.on_state(fault)

    def _read(self, listener: TailListener) -> None:
        """Read with one consumer until something is wrong with it."""
        names = (*self._topics, self._on_demand)
        for name, topic in read_topics(self._brokers, names, CALL_TIMEOUT_S).items():
            if self._topic_ids.get(name) != topic.topic_id:
                self._topic_ids[name], self._parts[name] = topic.topic_id, topic.partitions
                self._forget(name)
        consumer = Consumer(self._config())
        try:
            for name in self._topics:
                self._assign(consumer, listener, name, self._history_ms)
            if self._is_demanded:
                self._assign(consumer, listener, self._on_demand, 0)
            self._tell(listener, None)
            self._follow(consumer, listener)
        finally:
            consumer.close()

    def _config(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._brokers,
            "log_level": 2,  # What goes wrong is told or logged by us, as JSON.
            "group.id": "gosight-api-tail",  # The library asks for one; nothing is committed.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": QUEUED_KBYTES_MAX,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1_000,
        }

    def _assign(
        self, consumer: Consumer, listener: TailListener, topic: str, history_ms: int
    ) -> None:
        """Go on where it was, or begin as far back as is asked for."""
        parts = [(topic, number) for number in self._parts[topic]]
        if not all(part in self._next for part in parts):
            since_ms = self._clock_ms() - history_ms
            self._next.update(_offsets_since(consumer, parts, since_ms))
            self._catching_up.update(parts)
            listener.on_start(topic, since_ms)
        consumer.incremental_assign([TopicPartition(*part, self._next[part]) for part in parts])

    def _forget(self, topic: str) -> None:
        for part in [part for part in self._next if part[0] == topic]:
            del self._next[part]
            self._catching_up.discard(part)

    def _follow(self, consumer: Consumer, listener: TailListener) -> None:
        probed_s, probes, failed = time.monotonic(), 0, 0
        while not self._closing.is_set():
            self._follow_demand(consumer, listener)
            records = self._poll(consumer, listener)
            now_s = time.monotonic()
            if records:
                probed_s, failed = now_s, 0
                self._tell(listener, None)
                self._hand_out(listener, records)
            elif now_s - probed_s >= PROBE_EVERY_S:
                # A broker that stands still looks like one without news: ask it for something.
                is_there = self._is_there(consumer, probes)
                failed = 0 if is_there else failed + 1
                self._tell(listener, None if is_there else "no broker answers")
                if failed >= PROBES_FAILED_MAX:
                    raise RetryableError("no broker answers")
                probed_s, probes = time.monotonic(), probes + 1

    def _is_there(self, consumer: Consumer, number: int) -> bool:
        """Whether the leader of some partition answers; another one each time."""
        topic = self._topics[number % len(self._topics)]
        parts = self._parts[topic]
        part = TopicPartition(topic, parts[number // len(self._topics) % len(parts)])
        try:
            found = consumer.get_watermark_offsets(part, timeout=PROBE_TIMEOUT_S, cached=False)
        except KafkaException:
            return False
        return found is not None

    def _follow_demand(self, consumer: Consumer, listener: TailListener) -> None:
        is_demanded = bool(self._wanted)
        if is_demanded == self._is_demanded:
            return
        if is_demanded:
            self._assign(consumer, listener, self._on_demand, 0)
        else:
            parts = [TopicPartition(self._on_demand, part) for part in self._parts[self._on_demand]]
            consumer.incremental_unassign(parts)
            self._forget(self._on_demand)
            listener.on_stop(self._on_demand)
        self._is_demanded = is_demanded

    def _poll(self, consumer: Consumer, listener: TailListener) -> list[TailRecord]:
        """The next records; those that are wanted."""
        first = consumer.poll(POLL_S)
        if first is None:
            return []
        found: list[TailRecord] = []
        for message in (first, *consumer.consume(POLL_RECORDS - 1, timeout=0)):
            error = message.error()
            if error is not None:
                # What came before it counts as read, whatever the error is.
                self._hand_out(listener, found)
                found.clear()
                self._note_error(listener, message, error)
                continue
            topic, part = _known(message.topic()), _known(message.partition())
            offset = _known(message.offset())
            if (topic, part) not in self._next:
                continue  # It was fetched before its topic was given up.
            self._next[topic, part] = offset + 1
            key = message.key() or b""
            if topic == self._on_demand and key[: self._key_chars] not in self._wanted:
                continue
            is_history = (topic, part) in self._catching_up
            found.append(
                TailRecord(
                    topic,
                    part,
                    offset,
                    message.timestamp()[1],
                    key,
                    message.value() or b"",
                    is_history,
                )
            )
        return found

    def _note_error(self, listener: TailListener, message: Message, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            part = (_known(message.topic()), _known(message.partition()))
            if part in self._catching_up:
                self._catching_up.discard(part)
                if not any(one[0] == part[0] for one in self._catching_up):
                    listener.on_current(part[0])
        elif code == KafkaError._AUTO_OFFSET_RESET:
            topic = message.topic()
            get_logger().warning("kafka_tail_lost_its_place", topic=topic)
            self._forget(_known(topic))
            raise RetryableError("a position has left the topic's retention")
        elif code != KafkaError._MAX_POLL_EXCEEDED:
            raise KafkaException(error)

    def _hand_out(self, listener: TailListener, records: list[TailRecord]) -> None:
        if not records:
            return
        while not self._room.acquire(timeout=POLL_S):
            if self._closing.is_set():
                return
        listener.on_records(list(records), self._room.release)


def _offsets_since(consumer: Consumer, parts: Sequence[Part], since_ms: int) -> dict[Part, int]:
    """Of each partition the first offset written since then, or its end if there is none."""
    # The ends first: what comes in between is then behind one of the two.
    ends = {
        part: _known(
            consumer.get_watermark_offsets(
                TopicPartition(*part), timeout=CALL_TIMEOUT_S, cached=False
            )
        )[1]
        for part in parts
    }
    found = consumer.offsets_for_times(
        [TopicPartition(*part, since_ms) for part in parts], timeout=CALL_TIMEOUT_S
    )
    offsets = {}
    for entry in found:
        if entry.error is not None:
            raise KafkaException(entry.error)
        part = (entry.topic, entry.partition)
        offsets[part] = min(entry.offset, ends[part]) if entry.offset >= 0 else ends[part]
    return offsets


def _reason(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return f"Kafka cannot be read: {error.args[0].name()}"
    return str(error) or "no broker answers in time"


def _known(value: T | None) -> T:
    """A field that is always there."""
    if value is None:
        raise RetryableError("the client library did not answer in time")
    return value
