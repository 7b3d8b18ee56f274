"""An hour of recorded sessions as records of the raw topic, delivered as browsers and networks do.

The scenes are played many times over, each time with ids of its own and somewhere in the hour.
Batches take their time, some events wait far too long; much is sent twice, all of it a little out
of order. Time is in the data, days ahead of the wall clock: a quiet moment closes nothing.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

from connectors.kafka_log import OutRecord
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.scene_files import read_scene, scene_names
from tests.session_records import raw_values

HOUR_MS = 3_600_000
COPIES = 8
# What a batch takes on top of the recorded way: mostly less than the detectors hold events back.
DELAY_MS_MAX = 1_500
LATE_SHARE = 0.03
LATE_MS = (8_000, 90_000)
AGAIN_SHARE = 0.4
AGAIN_MS = (1_500, 4_000)
SHUFFLED_MS = 500  # How far a record is appended from where its receipt belongs.


class RecordedHour:
    """`records` in the order in which they are appended; `closing` ends all sessions."""

    def __init__(self, project_id: str, first_ms: int, chance: random.Random) -> None:
        self._project_id = project_id
        self._chance = chance
        self.session_ids: set[str] = set()
        dated = [
            entry
            for name in scene_names()
            for copy in range(COPIES)
            for entry in self._play(name, copy, first_ms)
        ]
        dated.sort(key=lambda entry: entry[0])
        self.records = [record for _, record in dated]
        self._over_ms = dated[-1][0] + 3 * HOUR_MS

    def closing(self) -> list[tuple[int, OutRecord]]:
        """For each partition, by its number, a record from when all sessions are forgotten."""
        made = []
        for number in range(EVENTS_RAW.partitions):
            session_id = make_uuid(self._chance)
            event = make_event(make_uuid(self._chance), session_id, at_ms=self._over_ms)
            made.append((number, self._record([event], session_id, self._over_ms)))
        return made

    def _play(self, name: str, copy: int, first_ms: int) -> Iterator[tuple[int, OutRecord]]:
        """One session or two: records, each with when it is appended."""
        chance = self._chance
        requests = read_scene(name, ends_at_ms=0)
        events = [event for request in requests for event in request["batch"]["events"]]
        assert all(event["timestamp"] < 0 for event in events), "the end is not a receipt"
        last_ms = max(request["received_at_ms"] for request in requests)
        length_ms = last_ms - min(request["received_at_ms"] for request in requests)
        ends_ms = first_ms + length_ms + chance.randrange(HOUR_MS - length_ms)
        for request in requests:
            sent_at_ms = request["batch"].get("sent_at", 0)
            if sent_at_ms:
                request["batch"]["sent_at"] = sent_at_ms + ends_ms - last_ms
            request["received_at_ms"] += ends_ms - last_ms
        for event in events:
            event["timestamp"] += ends_ms
        for value in raw_values(requests):
            yield from self._deliver(_renamed(RawBatch.FromString(value), f"{name} {copy}"))

    def _deliver(self, raw: RawBatch) -> Iterator[tuple[int, OutRecord]]:
        chance = self._chance
        self.session_ids.add(raw.session_id)
        events = list(raw.events)
        chance.shuffle(events)
        least_ms, most_ms = LATE_MS if chance.random() < LATE_SHARE else (0, DELAY_MS_MAX)
        delays_ms = [chance.randint(least_ms, most_ms)]
        if chance.random() < AGAIN_SHARE:
            delays_ms.append(chance.randint(*AGAIN_MS))
        for delay_ms in delays_ms:
            at_ms = raw.received_at_ms + delay_ms
            # A skewed clock stays as skewed: it is found by when the batch was sent.
            sent_at_ms = raw.sent_at + delay_ms if raw.sent_at else 0
            record = self._record(events, raw.session_id, at_ms, sent_at_ms)
            yield at_ms + chance.randint(-SHUFFLED_MS, SHUFFLED_MS), record
            events = events[chance.randrange(len(events)) :]

    def _record(
        self, events: list[Event], session_id: str, at_ms: int, sent_at_ms: int = 0
    ) -> OutRecord:
        return raw_record(
            make_raw(
                events,
                session_id,
                project_id=self._project_id,
                received_at_ms=at_ms,
                sent_at_ms=sent_at_ms,
                client_ip=f"203.0.113.{self._chance.randrange(255)}",
            )
        )


def _renamed(raw: RawBatch, name: str) -> RawBatch:
    """The batch with all its ids changed in one way."""

    def renamed(text: str) -> str:
        # Of version 4, as browsers make them.
        return str(uuid.UUID(bytes=uuid.uuid5(uuid.NAMESPACE_OID, name + text).bytes, version=4))

    raw.session_id = renamed(raw.session_id)
    for event in raw.events:
        event.event_id = renamed(event.event_id)
        event.session_id = raw.session_id
        if event.dom_mutation.click_event_id:
            event.dom_mutation.click_event_id = renamed(event.dom_mutation.click_event_id)
    return raw
