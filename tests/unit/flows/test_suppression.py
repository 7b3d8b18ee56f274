"""What of erased visitors is left out: rows of events and batches of sessions say the same."""

from __future__ import annotations

import random
import uuid

import pytest
from prometheus_client import REGISTRY

from connectors.lookups import load_agent_parser, load_place_reader
from connectors.memory_kafka import Fetched
from flows.behaviour import session_items
from flows.core.event_rows import RowBuilder
from flows.core.session_batches import BatchReader
from flows.core.suppression import suppressed_rows, without_suppressed_events
from schemas.erasure import NOBODY, Erased, ErasedOfProject, anonymous_hash, session_hash, user_hash
from schemas.identifiers import session_uuid
from schemas.log import PolledBatch
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, raw_record

SALT = b"s" * 32
FIRST, SECOND = (str(uuid.UUID(int=number)) for number in (1, 2))
ERASED = Erased(
    visitors={
        PROJECT: ErasedOfProject(
            SALT,
            {user_hash(SALT, "ann"): NOW_MS, anonymous_hash(SALT, "phone"): NOW_MS},
            frozenset({session_hash(SALT, session_uuid(PROJECT, FIRST))}),
        )
    }
)
READER = BatchReader(load_agent_parser(), load_place_reader(None))
BUILDER = RowBuilder(load_agent_parser(), load_place_reader(None))


def event_of(user: str, browser: str, after_ms: int, session: str = SECOND) -> Event:
    """An event of somebody, so long after the erasure was asked for."""
    event = make_event(str(uuid.uuid4()), session, at_ms=NOW_MS + after_ms)
    event.user_id, event.anonymous_id = user, browser
    return event


def polled(*events: Event, session: str = SECOND, project_id: str = PROJECT) -> PolledBatch:
    """One record with these events."""
    raw = make_raw(events, session, project_id=project_id, received_at_ms=NOW_MS + 60_000)
    record = raw_record(raw)
    return PolledBatch.of(EVENTS_RAW.name, 0, [Fetched(7, record.value, record.key, 0, 1)])


def kept(batch: PolledBatch, erased: Erased) -> list[str]:
    """Ids of events that sessions and rules see; storage must see the same ones."""
    (value,) = batch.values
    read = READER.read_record(value)
    ids = [event.event_id for event in without_suppressed_events(read, erased).events]
    chunk = BUILDER.build(batch)
    left_out = suppressed_rows(chunk, erased)
    stored = [event.event_id for row, event in enumerate(read.events) if row not in left_out]
    assert ids == stored
    return ids


@pytest.mark.parametrize(
    ("session", "user", "browser", "after_ms", "is_kept"),
    [
        (SECOND, "ann", "tablet", -1, False),
        (SECOND, "ann", "tablet", 0, False),
        (SECOND, "ann", "tablet", 1, True),
        (SECOND, "", "phone", 0, False),
        (SECOND, "", "phone", 1, True),
        (SECOND, "bob", "phone", -1, True),  # A device may have several users.
        (SECOND, "", "desk", -1, True),
        (SECOND, "", "", -1, True),
        (FIRST, "ann", "phone", 1, False),  # The rest of a session that was erased.
        (FIRST, "", "desk", 1, False),
        (FIRST, "bob", "phone", 1, True),
    ],
)
def test_events_up_to_the_request_are_left_out(
    session: str, user: str, browser: str, after_ms: int, is_kept: bool
) -> None:
    """By visitor and moment, and by session."""
    event = event_of(user, browser, after_ms, session)
    assert kept(polled(event, session=session), ERASED) == [event.event_id] * is_kept
    assert kept(polled(event, session=session), NOBODY) == [event.event_id]


def test_what_rows_and_batches_leave_out_is_the_same() -> None:
    """Records of several visitors."""
    chance = random.Random(5)
    for session in (FIRST, SECOND):
        events = [
            event_of(
                chance.choice(("", "ann", "bob")),
                chance.choice(("", "phone", "desk")),
                chance.randint(-2, 2),
                session,
            )
            for _ in range(200)
        ]
        assert 0 < len(kept(polled(*events, session=session), ERASED)) < len(events)


def test_a_deleted_project_has_no_events() -> None:
    """And another one all of its own."""
    gone, other = str(uuid.uuid4()), str(uuid.uuid4())
    erased = Erased(frozenset({gone}))
    assert kept(polled(event_of("ann", "", 1), project_id=gone), erased) == []
    assert len(kept(polled(event_of("ann", "", 1), project_id=other), erased)) == 1


def test_no_session_begins_with_events_of_an_erased_visitor() -> None:
    """They are counted, and what else is in the record goes on."""
    labels = {"flow": "behaviour", "outcome": "dropped", "reason": "suppressed"}
    before = REGISTRY.get_sample_value("gosight_flow_events_total", labels) or 0.0
    to_items = session_items(READER, erased=lambda: ERASED)
    late = polled(event_of("ann", "phone", -5), event_of("ann", "phone", -3))
    assert (to_items(late).items, to_items(late).next_offset) == ([], 8)
    new = event_of("ann", "phone", 5)
    (batch,) = to_items(polled(event_of("ann", "phone", -5), new)).items
    assert [event.event_id for event in batch.events] == [new.event_id]
    assert REGISTRY.get_sample_value("gosight_flow_events_total", labels) == before + 5
