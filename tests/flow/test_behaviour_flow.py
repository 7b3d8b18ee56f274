"""The behaviour flow's graph on in-memory twins, with one worker and with several."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
import pytest
from bytewax.testing import cluster_main

from connectors.errors import FatalError
from connectors.kafka_admin import LiveTopic
from connectors.kafka_log import OutRecord
from connectors.lookups import load_agent_parser, load_place_reader
from connectors.memory_documents import MemoryDocuments
from connectors.memory_kafka import MemoryClaims, MemoryLog, MemorySource, all_parts
from connectors.memory_state import MemoryPartEnds, MemoryStateLog, MemoryStates
from flows.behaviour import (
    build_flow,
    check_state_partitions,
    hand_to,
    record_of,
    session_items,
    session_workings,
)
from flows.core.behaviour import BehaviourMachine
from flows.core.session_batches import BatchReader
from flows.core.session_row import row_of_message
from flows.each_sink import EachSink
from flows.partition_runs import PartitionRuns, TakenItems
from flows.project_rules import ProjectRules
from flows.ticks import TickingSource
from schemas.log import Fetched, PolledBatch
from schemas.topics import EVENTS_RAW, INSIGHTS, SESSIONS
from schemas.v1.pipeline_pb2 import SessionRevision
from tests.factories import NOW_MS, make_event, make_raw, raw_record
from tests.unit.flows.counting import Item, Told, counting

PARTS = all_parts([EVENTS_RAW])
RUN_S = 0.4
ITEMS = [Item(f"k:{number % 7}", 1_000 + 13 * number) for number in range(200)]


def test_partitions_that_were_added_need_a_place_for_their_states() -> None:
    """Added to the events alone, they end the start, which says what is missing."""
    twelve, fourteen = (LiveTopic("id", tuple(range(count))) for count in (12, 14))
    check_state_partitions(twelve, twelve)
    check_state_partitions(twelve, fourteen)
    with pytest.raises(FatalError, match=r"gosight\.behaviour\.state 12: add as many"):
        check_state_partitions(fourteen, twelve)


def to_items(polled: PolledBatch) -> TakenItems[Item]:
    """Items as JSON."""
    items = [msgspec.json.decode(value, type=Item) for value in polled.values]
    part = polled.topic, polled.partition
    return TakenItems(part, polled.epoch, polled.offsets[-1] + 1, items)


def told_record(told: Told) -> OutRecord:
    """As JSON."""
    return OutRecord(INSIGHTS.name, told.key.encode(), msgspec.json.encode(told))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_change_nothing(workers: int) -> None:
    """What one worker reads stays with it: each item is counted once, in two lives."""
    kept = MemoryStates()
    for half in (ITEMS[:100], ITEMS[100:]):
        for item in half:
            record = OutRecord(EVENTS_RAW.name, item.key.encode(), msgspec.json.encode(item))
            kept.log.append(record)
        claims = MemoryClaims(PARTS)
        runs = PartitionRuns(
            "test", counting(), told_record, MemoryStateLog(kept), claims, MemoryPartEnds()
        )
        until = time.monotonic() + RUN_S
        flow = build_flow(
            TickingSource(
                MemorySource(kept.log, claims, runs, batch_records=9),
                lambda until=until: time.monotonic() > until,
            ),
            to_items,
            EachSink(hand_to(runs)),
        )
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    told = [msgspec.json.decode(v, type=Told) for v in kept.log.values(INSIGHTS.name)]
    thirds = Counter(one.key for one in told if not one.is_end)
    assert sum(one.count for one in told if one.is_end) <= len(ITEMS)
    assert sum(progress.next_offset for progress in kept.progress.values()) == len(ITEMS)
    assert thirds
    assert len({(one.key, one.count, one.now_ms) for one in told}) == len(told)


def test_events_become_rows_and_poison_is_passed_over() -> None:
    """One row at once; the rest of a batch with a bad record counts."""
    kept = MemoryStates(MemoryLog())
    claims = MemoryClaims(PARTS)
    machine = BehaviourMachine(ProjectRules(MemoryDocuments()), previews=True)
    runs = PartitionRuns(
        "test",
        session_workings(machine),
        record_of,
        MemoryStateLog(kept),
        claims,
        MemoryPartEnds(),
    )
    good = raw_record(make_raw([make_event("e1", "s1", at_ms=NOW_MS)], "s1"))
    kept.log.append(good)
    kept.log.append(good._replace(value=b"\xff\xff not a message"))
    kept.log.append(raw_record(make_raw([make_event("e2", "s1", at_ms=NOW_MS + 5)], "s1")))
    until = time.monotonic() + RUN_S
    reader = BatchReader(load_agent_parser(), load_place_reader(None))
    flow = build_flow(
        TickingSource(MemorySource(kept.log, claims, runs), lambda: time.monotonic() > until),
        session_items(reader),
        EachSink(hand_to(runs)),
    )
    cluster_main(flow, [], 0, worker_count_per_proc=1)
    rows = [row_of_message(SessionRevision.FromString(v)) for v in kept.log.values(SESSIONS.name)]
    assert [(row.revision, row.event_count) for row in rows] == [(1, 1)]
    assert sum(len(states) for states in kept.states.values()) == 1
    assert [progress.next_offset for progress in kept.progress.values()] == [3]


def test_a_gateway_that_is_ahead_does_not_move_the_clock() -> None:
    """What it claims to have received hours from now is received now; seconds are let be."""
    to_items = session_items(
        BatchReader(load_agent_parser(), load_place_reader(None)), 5_000, lambda: NOW_MS
    )
    records = []
    for offset, ahead_ms in enumerate((-7_200_000, 0, 5_000, 5_001, 7_200_000)):
        event = make_event("e1", "s1", at_ms=NOW_MS)
        record = raw_record(make_raw([event], "s1", received_at_ms=NOW_MS + ahead_ms))
        records.append(Fetched(offset, record.value, record.key, 0, 1))
    batches = to_items(PolledBatch.of(EVENTS_RAW.name, 0, records)).items
    wanted = [-7_200_000, 0, 5_000, 0, 0]
    assert [batch.received_at_ms - NOW_MS for batch in batches] == wanted
    assert [batch.events[0].received_at_ms - NOW_MS for batch in batches] == wanted
