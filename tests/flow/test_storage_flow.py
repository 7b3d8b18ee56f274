"""The storage flow on in-memory twins: exactly once under every interruption."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import RetryableError
from connectors.kafka_log import OutRecord
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
    MemorySpanReader,
    all_parts,
)
from connectors.memory_store import MemoryEventStore, MemoryLiveCounters, When
from flows.block_writer import BlockWriter
from flows.core.blocks import BlockCutter
from flows.core.event_blocks import BlockBuilder
from flows.each_sink import EachSink
from flows.part_starts import PartStarts
from flows.retries import RetryPolicy
from flows.storage import build_flow, chunk_maker
from schemas.log import PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.reasons import Outcome, RejectReason, Stage
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid, raw_record

BUILDER = BlockBuilder(
    lambda text: ParsedAgent(text=text, browser="Chrome", system="Windows"),
    lambda address: Place("United Kingdom", "GB", "England", "London") if address else Place(),
    records_min=2,
)
PARTS = all_parts([EVENTS_RAW, EVENTS_REJECTED])
Failure = tuple[When, str]


class World:
    """A broker, a store and a position store that outlive the flow's process."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryEventStore()
        self.positions = MemoryPositionStore()
        self.live = MemoryLiveCounters()

    def run(
        self,
        *,
        rows_max: int = 7,
        batch_records: int = 3,
        retry_s: float = 0.001,
        claims: MemoryClaims | None = None,
    ) -> None:
        """One life of the flow, to the end of the log or to its death."""
        held = claims or MemoryClaims(PARTS)
        writer = BlockWriter(
            self.store,
            self.positions,
            MemoryRecordProducer(self.log),
            self.live,
            held,
            chunk_maker(BUILDER),
            retry=RetryPolicy(seconds_max=retry_s, wait_s_max=0.001),
            is_stopping=lambda: retry_s < 1,
            clock_ms=lambda: NOW_MS,
        )
        owner = PartStarts(
            self.positions,
            self.store,
            MemorySpanReader(self.log),
            writer,
            is_stopping=lambda: retry_s < 1,
        )
        flow = build_flow(
            MemorySource(self.log, held, owner, batch_records=batch_records),
            EachSink(writer.write),
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
    world.log.append(good._replace(value=b"\xff\xff not a message", headers=(("events", b"4"),)))
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
    begin, finish = world.positions.begin, world.positions.finish
    insert_events, insert_ledger = world.store.insert_events, world.store.insert_ledger

    def note(name: str, call: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            effects.append(name)
            return call(*args, **kwargs)

        return noted

    world.positions.begin = note("begun", begin)  # type: ignore[method-assign]
    world.positions.finish = note("finished", finish)  # type: ignore[method-assign]
    world.store.insert_events = note("rows", insert_events)  # type: ignore[method-assign]
    world.store.insert_ledger = note("ledger", insert_ledger)  # type: ignore[method-assign]
    append = world.log.append
    good = raw_record(make_raw([make_event("e1", "s1")], "s1"))
    append(good)
    append(good._replace(value=b"\xff"))
    world.log.append = note("dead letter", append)  # type: ignore[method-assign]
    world.run()
    assert effects[:5] == ["begun", "dead letter", "rows", "ledger", "finished"]


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


FAILURES: st.SearchStrategy[Failure] = st.one_of(
    st.tuples(st.sampled_from(["before", "between", "after", "late"]), st.just("events")),
    st.tuples(st.sampled_from(["before", "after"]), st.sampled_from(["ledger", "position", "end"])),
)


def fill(world: World, chance: random.Random) -> Counter[str]:
    """Records with many repetitions; the ids that must be stored."""
    sessions = [make_uuid(chance) for _ in range(5)]
    events = [make_event(make_uuid(chance), chance.choice(sessions)) for _ in range(40)]
    for _ in range(12):
        session = chance.choice(sessions)
        own = [event for event in events if event.session_id == session]
        world.log.append(raw_record(make_raw(chance.sample(own, min(len(own), 4)), session)))
    for event in events:
        world.log.append(raw_record(make_raw([event], event.session_id)))
    return Counter({event.event_id for event in events})


def check_exact(world: World, sent: Counter[str]) -> None:
    """Every event once, in the rows and in the views, and a ledger that adds up."""
    assert Counter(row["event_id"] for row in world.store.rows) == sent
    assert world.store.views == sent
    ledger = world.ledger()
    records = sum(len(world.log.partitions[part]) for part in PARTS if part[0] == EVENTS_RAW.name)
    assert records
    assert ledger[Outcome.STORED, ""] == len(sent)
    received = sum(
        record.event_count
        for part in PARTS
        if part[0] == EVENTS_RAW.name
        for record in world.log.partitions[part]
    )
    assert ledger[Outcome.RECEIVED, ""] == received
    assert ledger[Outcome.DUPLICATE, ""] == received - len(sent)


@given(
    seed=st.integers(0, 2**32),
    failures=st.lists(FAILURES, max_size=6),
    rows_max=st.integers(1, 20),
    batch_records=st.integers(1, 6),
)
@settings(max_examples=80, deadline=None)
def test_any_crash_and_any_batching_store_each_event_once(
    seed: int, failures: list[Failure], rows_max: int, batch_records: int
) -> None:
    """Deaths at every step, with other cuts in each life: the same rows, views and ledger."""
    chance = random.Random(seed)
    world = World()
    sent = fill(world, chance)
    tell(world, failures)
    for _life in range(len(failures) + 1):
        with suppress(BytewaxRuntimeError):
            world.run(
                rows_max=chance.randint(1, rows_max), batch_records=chance.randint(1, batch_records)
            )
    tell(world, [])
    world.run(rows_max=rows_max, batch_records=batch_records)
    world.store.run_late_inserts()
    check_exact(world, sent)


def tell(world: World, failures: list[Failure]) -> None:
    """What is to go wrong, each once."""
    positions = [failure for failure in failures if failure[1] in ("position", "end")]
    world.positions.failures = positions
    world.store.failures = [failure for failure in failures if failure not in positions]


@given(
    seed=st.integers(0, 2**32),
    failures=st.lists(FAILURES, max_size=6),
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=6),
)
@settings(max_examples=80, deadline=None)
def test_any_number_of_processes_and_any_crash_store_each_event_once(
    seed: int, failures: list[Failure], counts: list[int]
) -> None:
    """Partitions shared out anew in each life, while blocks over several of them are unfinished."""
    chance = random.Random(seed)
    world = World()
    sent = fill(world, chance)
    tell(world, failures)
    for count in counts:
        parts = PARTS.copy()
        chance.shuffle(parts)
        for index in range(count):
            with suppress(BytewaxRuntimeError):
                world.run(
                    rows_max=chance.randint(1, 20),
                    batch_records=chance.randint(1, 6),
                    claims=MemoryClaims(parts[index::count]),
                )
    tell(world, [])
    half = len(PARTS) // 2
    for _round in range(2):  # A partition waits for the holder of its block's first one.
        for own in (PARTS[:half], PARTS[half:]):
            world.run(claims=MemoryClaims(own))
    world.store.run_late_inserts()
    check_exact(world, sent)


@given(seed=st.integers(0, 2**32), when=st.sampled_from(["before", "after"]))
@settings(max_examples=40, deadline=None)
def test_a_block_whose_token_is_forgotten_is_completed_and_not_repeated(
    seed: int, when: When
) -> None:
    """After long absence only the rows and entries that are missing are written."""
    chance = random.Random(seed)
    world = World()
    sent = fill(world, chance)
    effect = chance.choice(["events", "ledger"])
    world.store.failures = [(when, effect)]
    with pytest.raises(BytewaxRuntimeError):
        world.run(rows_max=25)
    world.store.forget_tokens()
    world.run(rows_max=25)
    check_exact(world, sent)


def test_part_of_a_forgotten_insert_is_filled_up() -> None:
    """Of a block that ClickHouse stored in part, the missing rows are written, no others."""
    world = World()
    ids = [make_uuid(random.Random(number)) for number in range(4)]
    for event_id in ids:
        world.log.append(raw_record(make_raw([make_event(event_id, "s1")], "s1")))
    world.store.failures = [("after", "events")]
    with pytest.raises(BytewaxRuntimeError):
        world.run()
    for row in world.store.rows[2:]:
        del world.store.views[row["event_id"]]
    del world.store.rows[2:]
    world.store.forget_tokens()
    world.run()
    check_exact(world, Counter(ids))


def test_a_partition_that_leaves_is_read_again_by_its_next_holder() -> None:
    """What was read of it and not begun is put aside; the rest of the block is written."""
    world = World()
    sent = fill(world, random.Random(5))
    claims = MemoryClaims(PARTS)
    given = {part for part in PARTS if len(world.log.partitions[part]) > 3}
    begin = world.positions.begin

    def ask_back(*args: Any) -> None:
        begin(*args)
        claims.asked |= given

    world.positions.begin = ask_back  # type: ignore[method-assign]
    world.run(claims=claims, rows_max=5)
    assert not given & set(claims.held())
    assert len(world.store.rows) < len(sent)
    world.positions.begin = begin  # type: ignore[method-assign]
    world.run(claims=MemoryClaims(given))
    world.run()
    check_exact(world, sent)


def test_a_process_that_is_not_sure_of_its_claims_writes_nothing() -> None:
    """Frozen for longer than its claims last: not a row, not an intent."""
    world = World()
    fill(world, random.Random(5))
    claims = MemoryClaims(PARTS)
    claims.sure = False
    with pytest.raises(BytewaxRuntimeError):
        world.run(claims=claims)
    assert not world.store.rows
    assert not world.positions.positions


@pytest.mark.parametrize("is_known", [True, False])
def test_claims_lost_while_a_block_is_begun_stop_the_process(is_known: bool) -> None:
    """Nothing is written under an intent that the next holder may not have seen.

    Nor if this process, which may have stood still, does not know of it yet.
    """
    world = World()
    sent = fill(world, random.Random(5))
    claims = MemoryClaims(PARTS)
    begin = world.positions.begin

    def lose(*args: Any) -> None:
        begin(*args)
        if is_known:
            claims.epochs = dict.fromkeys(PARTS, 2)
        else:
            claims.is_broken = True

    world.positions.begin = lose  # type: ignore[method-assign]
    with pytest.raises(BytewaxRuntimeError):
        world.run(claims=claims)
    assert not world.store.rows
    world.positions.begin = begin  # type: ignore[method-assign]
    world.run()
    check_exact(world, sent)


def test_records_that_cannot_be_read_fill_a_block_by_their_bytes() -> None:
    """Poison has no rows, yet it does not pile up until a block is old."""
    world = World()
    good = raw_record(make_raw([make_event("e1", "s1")], "s1"))
    cutter: BlockCutter[PolledBatch] = BlockCutter(bytes_max=10_000)
    for _ in range(20):
        world.log.append(good._replace(value=b"\xff" * 4_000))
    (part,) = [part for part in PARTS if world.log.partitions[part]]
    state, blocks = None, []
    for record in world.log.partitions[part]:
        polled = PolledBatch.of(*part, [record], epoch=1)
        state, made = cutter.on_event(state, polled, NOW_MS)
        blocks += made
    assert [len(block.chunks) for block in blocks] == [3] * 6


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
    world.log.append(raw_record(bad)._replace(headers=(("events", b"1"),)))
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
    world.log.append(good._replace(value=b"\xff" * EVENTS_RAW.max_message_bytes))
    world.run()
    (letter,) = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert (letter.payload, letter.payload_withheld) == (b"", True)
    assert letter.payload_bytes == EVENTS_RAW.max_message_bytes
