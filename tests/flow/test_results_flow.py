"""The results flow on in-memory twins: every row once, under every interruption."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import RetryableError
from connectors.kafka_log import BlockName, OutRecord, Part, Span
from connectors.memory_documents import MemoryDocuments
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
    all_parts,
)
from connectors.memory_results import MemoryLiveResults, MemoryResultStore
from connectors.write_gate import OpenGate
from flows.core.blocks import BlockCutter
from flows.core.result_columns import insight_table, session_table
from flows.each_sink import EachSink
from flows.live_board import show
from flows.result_writer import ResultWriter
from flows.results import TOPICS, CommittedStarts, build_flow
from flows.retries import RetryPolicy
from schemas.erasure import Erased, ErasedOfProject, LateRows, session_hash, user_hash
from schemas.reasons import RejectReason, Stage
from schemas.topics import EVENTS_REJECTED, INSIGHTS, SESSIONS
from schemas.v1.pipeline_pb2 import RejectedRecord
from tests.factories import NOW_MS, PROJECT, make_uuid
from tests.flow.result_records import a_row, an_insight, record_of, some_results

PARTS = all_parts(TOPICS)


class FailingPositions(MemoryPositionStore):
    """A position store whose next commits are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals_left = 0

    def finish(self, block: BlockName) -> None:
        """See `PositionStore.finish`."""
        if self.refusals_left:
            self.refusals_left -= 1
            raise RetryableError("told so")
        super().finish(block)


class World:
    """A broker, stores and positions that outlive the flow's process."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryResultStore()
        self.live = MemoryLiveResults(lambda: NOW_MS)
        self.positions = FailingPositions()
        self.retention = MemoryDocuments()
        self.gate = OpenGate()

    def run(
        self, *, rows_max: int = 7, retry_s: float = 0.001, claims: MemoryClaims | None = None
    ) -> None:
        """One life of the flow, to the end of the log or to its death."""
        claims = claims or MemoryClaims(PARTS)
        writer = ResultWriter(
            self.store,
            self.positions,
            MemoryRecordProducer(self.log),
            claims,
            self.retention,
            gate=self.gate,
            retry=RetryPolicy(seconds_max=retry_s, wait_s_max=0.001),
            is_stopping=lambda: retry_s < 1,
            clock_ms=lambda: NOW_MS,
        )
        run_main(
            build_flow(
                MemorySource(self.log, claims, CommittedStarts(self.positions), batch_records=3),
                EachSink(writer.write),
                EachSink(partial(show, self.live, gate=self.gate)),
                BlockCutter(rows_max=rows_max, age_ms_max=60_000),
            )
        )


def test_rows_are_stored_and_shown() -> None:
    """Each session's newest revision, each insight, no preview; all of it live as well."""
    world = World()
    results, rows, insights = some_results(random.Random(1), PROJECT, 20)
    for result in results:
        world.log.append(record_of(result))
    world.run()
    expected = session_table(list(rows.values())).to_pylist()
    assert {row["session_id"]: row for row in expected} == {
        session: row for (_, session), row in world.store.sessions.items()
    }
    found = insight_table(list(insights.values())).to_pylist()
    assert world.store.insights == {row["insight_id"]: row for row in found}
    assert set(world.live.recent[PROJECT]) == set(insights)
    assert {s: int(state["revision"]) for s, state in world.live.states.items()} == {
        session: row.revision for session, row in rows.items()
    }


def test_who_lost_a_partition_while_it_wrote_leaves_its_position_alone() -> None:
    """It stood still in the middle of an insert; the next holder is further by now."""
    world = World()
    claims = MemoryClaims(PARTS)
    results, rows, _ = some_results(random.Random(5), PROJECT, 20)
    ends: dict[Part, int] = {}
    for result in results:
        record = record_of(result)
        number, offset = world.log.append(record)
        ends[record.topic, number] = offset + 1
    lost = sorted(ends)[1::2]
    further = {part: ends[part] + 5 for part in lost}

    class SlowStore(MemoryResultStore):
        def insert_insights(self, table: pa.Table, token: str) -> None:
            super().insert_insights(table, token)
            for part, offset in further.items():
                claims.epochs[part] += 1
                world.positions.finish(BlockName((Span(*part, offset - 1, offset - 1),)))

    world.store = SlowStore()
    world.run(rows_max=10_000, claims=claims)
    known = {part: at.next_offset for part, at in world.positions.load(PARTS).items()}
    assert known == ends | further
    assert len(lost) > 1
    assert {session for _, session in world.store.sessions} == set(rows)


def test_results_of_erased_visitors_are_neither_stored_nor_shown() -> None:
    """By the session, by who it was until then, and all of a deleted project."""
    world = World()
    results, rows, insights = some_results(random.Random(2), PROJECT, 20)
    for result in results:
        world.log.append(record_of(result))
    by_session, salt = next(found.session_id for found in insights.values()), bytes(32)
    before = msgspec.structs.replace(a_row(PROJECT, str(UUID(int=1)), 1), user_id="ann")
    after = msgspec.structs.replace(
        a_row(PROJECT, str(UUID(int=2)), 1, at_ms=NOW_MS + 2), user_id="ann"
    )
    for row in (before, after):
        world.log.append(record_of(row))
    erased = ErasedOfProject(
        salt,
        {user_hash(salt, "ann"): NOW_MS + 1},
        frozenset([session_hash(salt, by_session)]),
    )
    world.gate.erased = Erased(visitors={PROJECT: erased})
    world.run()
    stored = {session for _, session in world.store.sessions}
    assert stored == {*rows, after.session_id} - {by_session}
    assert not {by_session, before.session_id} & set(world.live.states)
    left = {id_ for id_, found in insights.items() if found.session_id != by_session}
    assert set(world.store.insights) == set(world.live.recent[PROJECT]) == left
    assert left < set(insights)
    gone = World()
    gone.gate.erased = Erased(projects=frozenset([PROJECT]))
    for result in results:
        gone.log.append(record_of(result))
    gone.run()
    assert not gone.store.sessions
    assert not gone.store.insights
    assert not gone.live.states


def test_results_that_were_stored_too_late_are_named() -> None:
    """An erasure passed while the process stood still: sessions of rows and of insights."""

    class LostGate(OpenGate):
        def leave(self) -> bool:
            self.erased = erased
            return False

    world = World()
    world.gate = LostGate()
    results, rows, insights = some_results(random.Random(2), PROJECT, 20)
    for result in results:
        world.log.append(record_of(result))
    late, salt = next(found.session_id for found in insights.values()), bytes(32)
    of_project = ErasedOfProject(salt, {}, frozenset([session_hash(salt, late)]))
    erased = Erased(visitors={PROJECT: of_project})
    world.run(rows_max=10_000)
    assert {session for _, session in world.store.sessions} == set(rows)
    assert set(world.gate.late) == {LateRows(PROJECT, sessions=(late,))}


def test_what_a_process_stored_too_late_and_died_is_named_by_the_next_one() -> None:
    """It may have: the first block of a partition names what it leaves out, later ones do not."""
    world = World()
    results, rows, insights = some_results(random.Random(2), PROJECT, 20)
    for result in results:
        world.log.append(record_of(result))
    world.positions.refusals_left = 1_000
    with pytest.raises(BytewaxRuntimeError):
        world.run(rows_max=10_000)
    world.positions.refusals_left = 0
    assert {session for _, session in world.store.sessions} == set(rows)

    late, salt = next(found.session_id for found in insights.values()), bytes(32)
    of_project = ErasedOfProject(salt, {}, frozenset([session_hash(salt, late)]))
    world.gate.erased = Erased(visitors={PROJECT: of_project})
    world.run(rows_max=10_000)
    assert world.gate.late == [LateRows(PROJECT, sessions=(late,))]


def test_what_is_left_out_later_is_not_named() -> None:
    """The process itself has written what came before, and knows its gate."""
    world = World()
    result, *others = [a_row(PROJECT, str(UUID(int=1)), revision) for revision in range(1, 40)]
    world.log.append(record_of(result))
    salt = bytes(32)
    of_project = ErasedOfProject(salt, {}, frozenset([session_hash(salt, result.session_id)]))

    class Gate(OpenGate):
        def leave(self) -> bool:
            self.erased = Erased(visitors={PROJECT: of_project})
            return True

    world.gate = Gate()
    for other in others:
        world.log.append(record_of(other))
    world.run(rows_max=3)
    (row,) = world.store.sessions.values()
    assert row["revision"] < others[-1].revision
    assert world.gate.late == []


@pytest.mark.parametrize(
    ("section", "sessions", "insights"),
    [({}, 0, 0), ({"sessions": 30}, 30, 0), ({"insights": 7, "sessions": 731}, 0, 7)],
)
def test_rows_are_kept_for_as_long_as_the_project_has_set(
    section: dict[str, int], sessions: int, insights: int
) -> None:
    """Not for as long as its events; 0 is the table's default."""
    world = World()
    world.retention.put(PROJECT, section)
    row = msgspec.structs.replace(a_row(PROJECT, PROJECT, 1), retain_days=90)
    world.log.append(record_of(row))
    world.log.append(record_of(an_insight(PROJECT, PROJECT, PROJECT)))
    world.run()
    assert [stored["retain_days"] for stored in world.store.sessions.values()] == [sessions]
    assert [stored["retain_days"] for stored in world.store.insights.values()] == [insights]


def test_a_preview_is_announced_and_never_stored() -> None:
    """It says that it is one."""
    world = World()
    preview = an_insight(PROJECT, make_uuid(random.Random(2)), PROJECT, preview=True)
    world.log.append(record_of(preview))
    world.run()
    (document,) = map(msgspec.json.decode, world.live.published[PROJECT])
    assert document["provisional"] is True
    assert document["details"]["click_count"] == 5
    assert (world.store.insights, world.live.recent[PROJECT]) == ({}, {})
    assert sum(p.next_offset for p in world.positions.positions.values()) == 1


@pytest.mark.parametrize(
    ("record", "reason", "stage"),
    [
        (OutRecord(SESSIONS.name, b"p:s", b"\xff\xff"), RejectReason.UNDECODABLE, Stage.SESSIONS),
        (OutRecord(INSIGHTS.name, b"p", b"\xff"), RejectReason.UNDECODABLE, Stage.INSIGHTS),
        (record_of(a_row("p", "no-uuid", 1)), RejectReason.POISON, Stage.SESSIONS),
        (record_of(a_row("p", PROJECT, 1, at_ms=-9)), RejectReason.POISON, Stage.SESSIONS),
        (record_of(an_insight("p", PROJECT, "s")), RejectReason.POISON, Stage.INSIGHTS),
        (record_of(an_insight("", PROJECT, PROJECT)), RejectReason.POISON, Stage.INSIGHTS),
        (
            record_of(msgspec.structs.replace(an_insight("p", PROJECT, PROJECT), details="[")),
            RejectReason.POISON,
            Stage.INSIGHTS,
        ),
    ],
)
def test_what_cannot_be_a_row_becomes_a_dead_letter(
    record: OutRecord, reason: RejectReason, stage: Stage
) -> None:
    """Its neighbours are stored; its bytes stay readable; the store is never asked to refuse it."""
    world = World()
    good = record_of(an_insight(PROJECT, PROJECT, PROJECT))
    for one in (good, record, good._replace(key=record.key)):
        world.log.append(one)
    world.run()
    (letter,) = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert (letter.reason, letter.stage, letter.payload) == (reason, stage, record.value)
    assert (letter.origin_topic, letter.project_id) == (record.topic, record.key[:1].decode())
    assert list(world.store.insights) == [PROJECT]


def test_a_position_is_committed_after_the_rows_only() -> None:
    """A store that stays away ends the process, and nothing is skipped by the next one."""
    world = World()
    session = make_uuid(random.Random(3))
    world.log.append(record_of(a_row(PROJECT, session, 1)))
    world.log.append(record_of(an_insight(PROJECT, session, session)))
    for table in ("sessions", "insights"):
        world.store.failures = [("before", table)]  # type: ignore[list-item]
        with pytest.raises(BytewaxRuntimeError):
            world.run()
        assert world.positions.positions == {}
    world.run()
    assert len(world.store.sessions) == len(world.store.insights) == 1
    assert sum(p.next_offset for p in world.positions.positions.values()) == 2
    inserts = list(world.store.inserts)
    world.run()
    assert world.store.inserts == inserts


def test_a_passing_trouble_is_waited_for() -> None:
    """The same process goes on."""
    world = World()
    world.store.failures = [("before", "sessions"), ("after", "sessions")]
    world.positions.refusals_left = 1
    world.log.append(record_of(a_row(PROJECT, make_uuid(random.Random(4)), 1)))
    world.run(retry_s=5)
    assert len(world.store.sessions) == 1
    assert sum(p.next_offset for p in world.positions.positions.values()) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from(["before", "after"]),
            st.sampled_from(["sessions", "insights", "position"]),
        ),
        max_size=6,
    ),
)
def test_interruptions_anywhere_change_nothing(seed: int, failures: list[tuple[str, str]]) -> None:
    """Whatever failed and however blocks were cut then: the same rows."""
    chance = random.Random(seed)
    world = World()
    results, rows, insights = some_results(chance, PROJECT, 8)
    for result in results:
        world.log.append(record_of(result))
        if failures and chance.random() < 0.2:
            when, effect = failures.pop()
            if effect == "position":
                world.positions.refusals_left = 1
            else:
                world.store.failures = [(when, effect)]  # type: ignore[list-item]
            with suppress(BytewaxRuntimeError):
                world.run(rows_max=chance.randint(1, 9))
            world.store.failures, world.positions.refusals_left = [], 0
    world.run(rows_max=chance.randint(1, 30))
    assert {s: row["revision"] for (_, s), row in world.store.sessions.items()} == {
        s: row.revision for s, row in rows.items()
    }
    assert set(world.store.insights) == set(insights)
