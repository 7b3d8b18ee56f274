"""The storage flow on in-memory twins: exactly once under every interruption."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import RetryableError
from connectors.kafka_log import OutRecord
from connectors.memory_kafka import (
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
)
from connectors.memory_store import MemoryEventStore, MemoryLiveCounters
from flows.block_writer import BlockWriter, RetryPolicy
from flows.core.blocks import BlockCutter
from flows.core.event_rows import RowBuilder
from flows.positions import CheckedPositions
from flows.storage import BlockSink, build_flow
from schemas.lookups import ParsedAgent, Place
from schemas.reasons import Outcome, RejectReason, Stage
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid, raw_record

BUILDER = RowBuilder(
    lambda text: ParsedAgent(text=text, browser="Chrome", system="Windows"),
    lambda address: Place("United Kingdom", "GB", "England", "London") if address else Place(),
)
Failure = tuple[Literal["before", "after"], str]


class World:
    """A broker, a store and a position store that outlive the flow's process."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryEventStore()
        self.positions = MemoryPositionStore()
        self.live = MemoryLiveCounters()

    def run(self, *, rows_max: int = 7, batch_records: int = 3, retry_s: float = 0.001) -> None:
        """One life of the flow, to the end of the log or to its death."""
        positions = CheckedPositions(self.positions, self.store)
        writer = BlockWriter(
            self.store,
            positions,
            MemoryRecordProducer(self.log),
            self.live,
            retry=RetryPolicy(seconds_max=retry_s, wait_s_max=0.001),
            is_stopping=lambda: retry_s < 1,
            clock_ms=lambda: NOW_MS,
        )
        flow = build_flow(
            MemorySource(
                self.log,
                [EVENTS_RAW, EVENTS_REJECTED],
                positions=positions,
                batch_records=batch_records,
            ),
            BlockSink(lambda: writer),
            BUILDER,
            BlockCutter(rows_max=rows_max, age_ms_max=60_000),
        )
        run_main(flow)

    def ledger(self) -> Counter[tuple[str, str]]:
        """Events by outcome and reason."""
        counts: Counter[tuple[str, str]] = Counter()
        for entry in self.store.ledger:
            counts[entry.outcome, entry.reason] += entry.events
        return counts


def test_events_become_rows_with_what_the_server_knows() -> None:
    """Ids, times and fields of the client, agent and place of the server."""
    world = World()
    event = make_event("e1", "s1", at_ms=NOW_MS - 5_000, path="/x?utm_source=News")
    world.log.append(raw_record(make_raw([event], "s1", client_ip="203.0.113.7")))
    world.run()
    (row,) = world.store.rows
    assert (row["project_id"], row["event_type"], row["city"]) == (PROJECT, "page_view", "London")
    assert (row["browser"], row["utm_source"], row["device_type"]) == ("Chrome", "news", "desktop")
    assert int(row["timestamp"].timestamp() * 1000) == NOW_MS - 5_000
    assert (row["source_offset"], row["source_index"], row["retain_days"]) == (0, 0, 90)


def test_a_repeated_event_is_stored_once_and_counted() -> None:
    """In the same record, in another record, and in another life of the process."""
    world = World()
    event = make_event("e1", "s1")
    world.log.append(raw_record(make_raw([event, event], "s1")))
    world.run()
    world.log.append(raw_record(make_raw([event, make_event("e2", "s1")], "s1")))
    world.run()
    assert len(world.store.rows) == 2
    assert world.ledger() == {
        (Outcome.RECEIVED, ""): 4,
        (Outcome.STORED, ""): 2,
        (Outcome.DUPLICATE, ""): 2,
    }


def test_equal_ids_of_two_projects_are_two_events() -> None:
    """Projects never meet, not even in their ids."""
    world = World()
    other = "1c8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f11"
    for project in (PROJECT, other):
        event = make_event("f47ac10b-58cc-4372-a567-0e02b2c3d479", "s1")
        world.log.append(raw_record(make_raw([event], "s1", project_id=project)))
    world.run()
    assert {row["project_id"] for row in world.store.rows} == {PROJECT, other}


def test_poison_goes_to_the_dead_letters_and_its_neighbours_are_stored() -> None:
    """The original bytes stay readable; the same poison always has the same id."""
    world = World()
    good = raw_record(make_raw([make_event("e1", "s1")], "s1"))
    world.log.append(good)
    world.log.append(replace(good, value=b"\xff\xff not a message", headers=(("events", b"4"),)))
    world.log.append(raw_record(make_raw([make_event("e2", "s1")], "s1")))
    world.run()
    assert len(world.store.rows) == 2
    (letter,) = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert letter.payload == b"\xff\xff not a message"
    assert (letter.stage, letter.reason) == (Stage.STORAGE, RejectReason.UNDECODABLE)
    assert (letter.project_id, letter.event_count, letter.origin_offset) == (PROJECT, 4, 1)
    assert world.ledger()[Outcome.REJECTED, RejectReason.UNDECODABLE] == 4
    assert world.ledger()[Outcome.RECEIVED, ""] == 6


def test_what_the_gateway_refused_is_in_the_ledger() -> None:
    """Received and rejected with its reason; refusals of other stages are not counted twice."""
    world = World()
    for stage in (Stage.GATEWAY, Stage.STORAGE):
        record = RejectedRecord(
            project_id=PROJECT,
            stage=stage,
            reason=RejectReason.TOO_OLD,
            received_at_ms=NOW_MS,
            event_count=1,
        )
        world.log.append(
            OutRecord(EVENTS_REJECTED.name, PROJECT.encode(), record.SerializeToString())
        )
    world.run()
    assert world.ledger() == {
        (Outcome.RECEIVED, ""): 1,
        (Outcome.REJECTED, RejectReason.TOO_OLD): 1,
    }


def test_effects_of_a_block_come_in_their_order() -> None:
    """Intent, dead letters, rows, ledger, position: one list."""
    world = World()
    effects: list[str] = []
    save = world.positions.save
    insert_events, insert_ledger = world.store.insert_events, world.store.insert_ledger

    def note(name: str, call: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            effects.append(name)
            return call(*args, **kwargs)

        return noted

    world.positions.save = note("position", save)  # type: ignore[method-assign]
    world.store.insert_events = note("rows", insert_events)  # type: ignore[method-assign]
    world.store.insert_ledger = note("ledger", insert_ledger)  # type: ignore[method-assign]
    append = world.log.append
    good = raw_record(make_raw([make_event("e1", "s1")], "s1"))
    append(good)
    append(replace(good, value=b"\xff"))
    world.log.append = note("dead letter", append)  # type: ignore[method-assign]
    world.run()
    assert effects[:5] == ["position", "dead letter", "rows", "ledger", "position"]


def test_a_passing_trouble_is_waited_out() -> None:
    """Failures inside the retry time change nothing and need no restart."""
    world = World()
    world.log.append(raw_record(make_raw([make_event("e1", "s1")], "s1")))
    world.store.failures = [("before", "events"), ("after", "events"), ("after", "ledger")]
    world.run(retry_s=5)
    assert len(world.store.rows) == 1
    assert world.ledger() == {(Outcome.RECEIVED, ""): 1, (Outcome.STORED, ""): 1}


def test_a_lasting_trouble_ends_the_process_with_its_cause() -> None:
    """Nobody pretends to have stored what is not stored."""
    world = World()
    world.log.append(raw_record(make_raw([make_event("e1", "s1")], "s1")))
    world.store.failures = [("before", "events")]
    with pytest.raises(BytewaxRuntimeError) as raised:
        world.run()
    causes, error = [], raised.value
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert RetryableError in causes
    assert world.store.rows == []


def test_offsets_lost_by_the_broker_are_found_in_the_store() -> None:
    """Deleting the group starts nothing from the beginning."""
    world = World()
    world.log.append(raw_record(make_raw([make_event("e1", "s1")], "s1")))
    world.run()
    world.positions.positions.clear()
    world.log.append(raw_record(make_raw([make_event("e2", "s1")], "s1")))
    world.run()
    assert len(world.store.rows) == 2
    assert world.ledger() == {(Outcome.RECEIVED, ""): 2, (Outcome.STORED, ""): 2}


def test_page_views_of_the_minute_are_absolute_over_restarts() -> None:
    """A second life goes on counting where the first stopped."""
    world = World()
    for number in range(2):
        event = make_event(f"e{number}", "s1", path="/cart")
        world.log.append(raw_record(make_raw([event, event], "s1")))
        world.run()
    (counts,) = world.live.page_views.values()
    assert list(counts.values()) == [2]


FAILURES: st.SearchStrategy[Failure] = st.tuples(
    st.sampled_from(["before", "after"]), st.sampled_from(["events", "ledger"])
)


@given(
    seed=st.integers(0, 2**32),
    failures=st.lists(FAILURES, max_size=6),
    rows_max=st.integers(1, 20),
    batch_records=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_any_crash_and_any_batching_store_each_event_once(
    seed: int, failures: list[Failure], rows_max: int, batch_records: int
) -> None:
    """Deaths before and after inserts, with other cuts in each life: the same rows and ledger."""
    chance = random.Random(seed)
    world = World()
    sessions = [make_uuid(chance) for _ in range(5)]
    events = [make_event(make_uuid(chance), chance.choice(sessions)) for _ in range(40)]
    sent = Counter(event.event_id for event in events)
    for _ in range(12):
        session = chance.choice(sessions)
        own = [event for event in events if event.session_id == session]
        world.log.append(raw_record(make_raw(chance.sample(own, min(len(own), 4)), session)))
    for event in events:
        world.log.append(raw_record(make_raw([event], event.session_id)))
    world.store.failures = list(failures)
    for _life in range(len(failures) + 1):
        try:
            world.run(
                rows_max=chance.randint(1, rows_max), batch_records=chance.randint(1, batch_records)
            )
        except BytewaxRuntimeError:
            continue
        break
    world.store.failures = []
    world.run(rows_max=rows_max, batch_records=batch_records)
    assert Counter(row["event_id"] for row in world.store.rows) == Counter(sent.keys())
    ledger = world.ledger()
    assert ledger[Outcome.STORED, ""] == len(sent)
    assert ledger[Outcome.RECEIVED, ""] == (
        ledger[Outcome.STORED, ""] + ledger[Outcome.DUPLICATE, ""]
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"retain_days": -1},
        {"retain_days": 70_000},
        {"received_at_ms": 2**62},
        {"received_at_ms": -5},
        {"event_count": -1},
    ],
)
def test_facts_out_of_their_bounds_are_poison(facts: dict[str, int]) -> None:
    """A foreign producer's nonsense is a dead letter, and its neighbours are stored."""
    world = World()
    good = make_raw([make_event("e1", "s1")], "s1")
    bad = make_raw([make_event("e2", "s1")], "s1")
    for name, value in facts.items():
        setattr(bad, name, value)
    world.log.append(raw_record(good))
    world.log.append(replace(raw_record(bad), headers=(("events", b"1"),)))
    world.run()
    assert len(world.store.rows) == 1
    (letter,) = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert letter.reason == RejectReason.UNDECODABLE


def test_times_that_no_calendar_has_become_the_time_of_receipt() -> None:
    """A time far outside is the client's error; the event is kept."""
    world = World()
    events = [make_event(f"e{at_ms}", "s1", at_ms=at_ms) for at_ms in (-(2**62), 2**62, -1)]
    world.log.append(raw_record(make_raw(events, "s1", sent_at_ms=1)))
    world.run()
    times = {int(row["timestamp"].timestamp() * 1000) for row in world.store.rows}
    assert len(world.store.rows) == 3
    assert all(0 <= at_ms <= NOW_MS for at_ms in times)


def test_a_poison_that_fits_into_no_letter_is_told_without_its_bytes() -> None:
    """The flow goes on; the letter says how large it was."""
    world = World()
    good = raw_record(make_raw([make_event("e1", "s1")], "s1"))
    world.log.append(replace(good, value=b"\xff" * EVENTS_RAW.max_message_bytes))
    world.run()
    (letter,) = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert (letter.payload, letter.payload_withheld) == (b"", True)
    assert letter.payload_bytes == EVENTS_RAW.max_message_bytes
