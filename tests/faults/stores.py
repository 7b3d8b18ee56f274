"""What the auditor reads: ClickHouse by plain HTTP, Kafka by its own consumer.

In: the servers' own addresses, not those of the relays. Out: rows as dictionaries, offsets, dead
letters. Nothing of the platform's code is used.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.faults.wire import number_at, read_fields, text_at

RAW_TOPIC = "gosight.events.raw"
REJECTED_TOPIC = "gosight.events.rejected"
TOPICS = {RAW_TOPIC: 12, REJECTED_TOPIC: 3}
RAW_AND_REJECTED = [(topic, number) for topic, count in TOPICS.items() for number in range(count)]
Offsets = dict[tuple[str, int], int]
_CALL_S = 20.0
DETAIL_CHARS = 300


class ClickHouse:
    """Queries by HTTP."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        login = f"{urllib.parse.unquote(parts.username or '')}:"
        login += urllib.parse.unquote(parts.password or "")
        self.database = parts.path.strip("/")
        self._url = f"http://{parts.hostname}:{parts.port}/"
        self._headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}

    def rows(self, sql: str, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """All rows of a SELECT."""
        text = self.run(f"{sql} FORMAT JSONEachRow", timeout_s)
        return [json.loads(line) for line in text.splitlines()]

    def run(self, sql: str, timeout_s: float = 60.0, *, database: str | None = None) -> str:
        """Any statement; the answer's text."""
        settings = {
            "database": self.database if database is None else database,
            "output_format_json_quote_64bit_integers": "0",
        }
        request = urllib.request.Request(
            f"{self._url}?{urllib.parse.urlencode(settings)}",
            data=sql.encode(),
            headers=self._headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")[:DETAIL_CHARS]
            raise RuntimeError(f"ClickHouse: {detail}; asked for {sql[:DETAIL_CHARS]}") from error
        return content.decode()


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    rejection_id: str
    project_id: str
    stage: str
    reason: str
    event_id: str
    event_count: int
    payload_bytes: int


class Record(NamedTuple):
    """One record; `at_ms` is the topic's time of it: of its making or of its appending."""

    part: tuple[str, int]
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes


class Kafka:
    """Offsets, records and dead letters."""

    def __init__(self, brokers: str, group: str) -> None:
        self._brokers = brokers
        self._group = group

    def ends(self) -> Offsets:
        """The end of each partition of the two topics that storage reads."""
        with self._consumer() as consumer:
            return {
                (topic, number): self._ends(consumer, topic, number)[1]
                for topic, count in TOPICS.items()
                for number in range(count)
            }

    def committed(
        self, parts: Iterable[tuple[str, int]] = RAW_AND_REJECTED, group: str = ""
    ) -> dict[tuple[str, int], tuple[int, str]]:
        """A group's offset and its note, for those of the partitions that have one.

        The group is storage's if none is named.
        """
        wanted = [TopicPartition(*part) for part in parts]
        with self._consumer(group=group) as consumer:
            found = consumer.committed(wanted, timeout=_CALL_S)
        return {
            (entry.topic, entry.partition): (entry.offset, entry.metadata or "")
            for entry in found
            if entry.offset >= 0
        }

    def letters(self, since: Mapping[tuple[str, int], int]) -> list[Letter]:
        """Dead letters from these offsets to the end."""
        parts = [(REJECTED_TOPIC, number) for number in range(TOPICS[REJECTED_TOPIC])]
        found = self.records(since, self.ends_of(parts))
        return [_letter(key, value) for _part, _offset, _at_ms, key, value in found]

    def ends_of(self, parts: Iterable[tuple[str, int]]) -> Offsets:
        """The end of each of these partitions."""
        with self._consumer() as consumer:
            return {part: self._ends(consumer, *part)[1] for part in parts}

    def records(
        self, since: Mapping[tuple[str, int], int], ends: Offsets, *, is_committed: bool = False
    ) -> Iterator[Record]:
        """The records of these partitions that are there from `since` to `ends`.

        Of each partition they come in order. With `is_committed`, only those of transactions that
        were committed.
        """
        with self._consumer(is_committed=is_committed) as consumer:
            left: Offsets = {}
            starts = []
            for part, end in ends.items():
                begin = max(self._ends(consumer, *part)[0], since.get(part, 0))
                if begin < end:
                    left[part] = end
                    starts.append(TopicPartition(*part, begin))
            if starts:
                consumer.assign(starts)
            deadline = time.monotonic() + 60
            while left:
                assert time.monotonic() < deadline, f"cannot be read to the end: {left}"
                for message in consumer.consume(500, timeout=0.05):
                    fault = message.error()
                    part = (str(message.topic()), int(message.partition() or 0))
                    at_end = fault is not None and fault.code() == KafkaError._PARTITION_EOF
                    assert fault is None or at_end, fault
                    offset = int(message.offset() or 0)
                    if not at_end and offset < ends[part]:
                        _kind, at_ms = message.timestamp()
                        yield Record(part, offset, at_ms, message.key(), message.value() or b"")
                    # Markers of transactions are records, too, and are not delivered.
                    if part in left and offset + (0 if at_end else 1) >= left[part]:
                        del left[part]

    def _ends(self, consumer: Consumer, topic: str, number: int) -> tuple[int, int]:
        deadline = time.monotonic() + 60
        while True:
            try:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=5)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return int(low), int(high)

    def _consumer(self, *, is_committed: bool = False, group: str = "") -> Any:
        return _Closing(
            {
                "bootstrap.servers": self._brokers,
                "group.id": group or self._group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "isolation.level": "read_committed" if is_committed else "read_uncommitted",
                "auto.offset.reset": "error",
                "log_level": 0,
            }
        )


class _Closing:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._consumer = Consumer(settings)

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _letter(key: bytes | None, value: bytes) -> Letter:
    try:
        fields = read_fields(value)
    except ValueError:
        project_id = (key or b"").decode("utf-8", "replace")
        return Letter("", project_id, "unreadable", "undecodable", "", 1, len(value))
    return Letter(
        rejection_id=text_at(fields, 1),
        project_id=text_at(fields, 2),
        stage=text_at(fields, 3),
        reason=text_at(fields, 4),
        event_id=text_at(fields, 6),
        event_count=max(1, number_at(fields, 14)),
        payload_bytes=len(text_at(fields, 11)),
    )
