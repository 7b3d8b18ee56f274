"""The partitions of a process: order of effects, claims, quiet time, exactly once after deaths."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RetryableError
from connectors.kafka_ends import End
from connectors.kafka_log import OutRecord, Part
from connectors.memory_kafka import MemoryClaims, all_parts
from connectors.memory_state import MemoryPartEnds, MemoryStateLog, MemoryStates
from flows.partition_runs import QUIET_BEHIND_MS, PartitionRuns, TakenItems
from flows.retries import RetryPolicy
from schemas.topics import EVENTS_RAW, INSIGHTS
from tests.unit.flows.counting import Item, Told, counting

PARTS = all_parts([EVENTS_RAW])[:3]
BAD = "b:bad"
DECODER = msgspec.json.Decoder(Told)


def record_of(told: Told) -> OutRecord:
    """As JSON, all under one key, so that order can be seen; not of all."""
    if told.key == BAD:
        raise ValueError(told.key)
    return OutRecord(INSIGHTS.name, b"k", msgspec.json.encode(told))


class Process:
    """One life of a process on the servers' memory."""

    def __init__(
        self,
        kept: MemoryStates,
        parts: list[Part] | None = None,
        step_ms: int = 0,
        retry_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims = MemoryClaims(PARTS if parts is None else parts)
        self.log = MemoryStateLog(kept)
        self.ends = MemoryPartEnds()
        self.progress: dict[Part, int] = {}
        self.runs: PartitionRuns[Item, Told] = PartitionRuns(
            "test",
            counting(),
            record_of,
            self.log,
            self.claims,
            self.ends,
            on_progress=self.progress.__setitem__,
            retry=RetryPolicy(retry_s, 0.001),
            step_ms=step_ms,
            monotonic=monotonic,
        )
        self.starts = self.runs.begin_parts(list(self.claims.held()))

    def take(self, part: Part, items: list[Item], next_offset: int, epoch: int = 1) -> None:
        """Items of records before `next_offset`."""
        self.runs.take(TakenItems(part, epoch, next_offset, items))


def told(kept: MemoryStates) -> list[Told]:
    """All that was told, in order."""
    return [DECODER.decode(value) for value in kept.log.values(INSIGHTS.name)]


def test_only_who_is_sure_to_hold_a_partition_tells_how_far_it_is() -> None:
    """One who stood still for a while has lost some, all, or does not know."""
    process = Process(MemoryStates(), step_ms=60_000)
    process.runs.tick()
    process.claims.epochs[PARTS[1]] += 1
    process.runs.tick()
    process.claims.sure = False
    process.runs.tick()
    assert process.log.told == [[0, 1, 2], [0, 2]]


def test_a_step_holds_what_all_partitions_decided() -> None:
    """One step for all, then the monitor is told; in this order."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    process.take(PARTS[0], [Item("a:1", 1_000)] * 3, 5)
    process.take(PARTS[1], [Item("b:1", 1_000)] * 3, 7)
    assert (process.progress, kept.progress) == ({}, {})
    process.runs.step()
    assert process.log.effects == ["begin 3", "step 2"]
    assert process.progress == {PARTS[0]: 5, PARTS[1]: 7}
    assert [t.key for t in told(kept)] == ["a:1", "b:1"]
    process.runs.step()
    assert process.log.effects == ["begin 3", "step 2"]


def test_an_output_that_no_record_can_be_made_of_is_left_out() -> None:
    """The others, and the states, are stored."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    keys = [BAD if place == 3 else "a:1" for place in range(4)]
    process.take(PARTS[0], [Item(key, 1_000) for key in (*keys, BAD, BAD, "a:1", "a:1", "a:1")], 9)
    process.runs.step()
    assert process.log.effects == ["begin 3", "step 2"]
    assert [t.key for t in told(kept)] == ["a:1", "a:1"]
    assert process.progress == {PARTS[0]: 9}


def test_leaving_stores_first_and_then_lets_go() -> None:
    """The next holder goes on from the very item."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    process.take(PARTS[0], [Item("a:1", 1_000)] * 2, 2)
    process.runs.end_parts(PARTS)
    assert process.log.effects == ["begin 3", "step 0", "leave 3"]
    after = Process(kept)
    assert after.starts[PARTS[0]] == 2
    after.take(PARTS[0], [Item("a:1", 1_001)], 3)
    assert told(kept) == [Told("a:1", 3, 1_001, False)]


def test_nothing_is_stored_of_a_partition_that_is_gone() -> None:
    """What another holds is taken out of the step; what is still held is stored."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    process.take(PARTS[0], [Item("a:1", 1_000)], 1)
    process.take(PARTS[1], [Item("b:1", 1_000)], 1)
    process.claims.epochs[PARTS[0]] = 2  # Lost, and held anew.
    process.runs.step()
    assert set(kept.progress) == {1}
    process.runs.end_parts([PARTS[0]])
    assert "leave" not in " ".join(process.log.effects)
    # What was read under the first holding is not taken under the second.
    process.runs.begin_parts([PARTS[0]])
    process.take(PARTS[0], [Item("a:1", 1_000)], 1, epoch=1)
    process.runs.step()
    assert set(kept.progress) == {1}
    process.take(PARTS[0], [Item("a:1", 1_000)], 1, epoch=2)
    process.runs.step()
    assert set(kept.progress) == {0, 1}


def test_without_sure_claims_nothing_is_stored() -> None:
    """It is tried again for a while, then the process ends."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000, retry_s=0.01)
    process.take(PARTS[0], [Item("a:1", 1_000)], 1)
    process.claims.sure = False
    with pytest.raises(RetryableError, match="not certain"):
        process.runs.step()
    assert kept.progress == {}


def test_a_passing_trouble_is_waited_out() -> None:
    """Failed before or after it was stored, a step is stored once."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    for number, when in enumerate(("before", "after"), 1):
        process.log.failures = [when, when]  # type: ignore[list-item]
        process.take(PARTS[0], [Item("a:1", 1_000)] * 3, number)
        process.runs.step()
    assert [t.count for t in told(kept)] == [3, 6]


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.01, 0.1), (0.2, 0.6), (60.0, 1.0)])
def test_slow_steps_are_fewer_but_an_outage_is_no_slow_step(took_s: float, pause_s: float) -> None:
    """Three times as long as the last one took lies between two steps, and never over a second."""
    kept, now_s = MemoryStates(), [1_000.0]

    def monotonic() -> float:
        """Each step that was stored took so long."""
        return now_s[0] + took_s * sum(progress.step for progress in kept.progress.values())

    process = Process(kept, step_ms=100, monotonic=monotonic)
    process.take(PARTS[0], [Item("a:1", 1_000)], 1)
    process.runs.step()
    assert process.progress == {PARTS[0]: 1}
    now_s[0] += pause_s - 0.001
    process.take(PARTS[0], [Item("a:1", 1_000)], 2)
    assert process.progress == {PARTS[0]: 1}
    now_s[0] += 0.002
    process.runs.tick()
    assert process.progress == {PARTS[0]: 2}


def test_a_quiet_partition_lives_on_by_the_wall_clock() -> None:
    """Once it is read to its end; the clock stays behind by a margin."""
    kept = MemoryStates()
    process = Process(kept)
    process.take(PARTS[0], [Item("a:1", 1_000)], 4)
    process.ends.ends[PARTS[0]] = End(5, 1_100 + QUIET_BEHIND_MS)
    process.runs.tick()
    process.runs.step()
    assert told(kept) == []  # A record is unread.
    process.ends.ends[PARTS[0]] = End(4, 1_099 + QUIET_BEHIND_MS)
    process.runs.tick()
    process.runs.step()
    assert told(kept) == []
    process.ends.ends[PARTS[0]] = End(4, 1_100 + QUIET_BEHIND_MS)
    process.runs.tick()
    process.runs.step()
    assert told(kept) == [Told("a:1", 1, 1_100, True)]


def test_a_partition_that_never_had_a_record_is_quiet() -> None:
    """Its first item, received long ago by another clock, does not set the time."""
    kept = MemoryStates()
    process = Process(kept)
    process.ends.ends[PARTS[0]] = End(0, 9_000 + QUIET_BEHIND_MS)
    process.runs.tick()
    process.take(PARTS[0], [Item("a:1", 1_000)] * 3, 1)
    process.runs.step()
    assert told(kept) == [Told("a:1", 3, 9_000, False)]


def test_many_changes_are_stored_before_their_time() -> None:
    """Memory stays bounded while catching up."""
    kept = MemoryStates()
    process = Process(kept, step_ms=60_000)
    process.runs._changes_max = 10
    for number in range(30):
        process.take(PARTS[0], [Item(f"a:{number}", 1_000)], number + 1)
    assert process.log.effects.count("step 0") == 3


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_deaths_and_moves_change_nothing(seed: int, lives: int) -> None:
    """Processes that take over each other's partitions tell all once, as one process would."""
    chance = random.Random(seed)
    logs = {
        part: [
            Item(f"{part[1]}:{chance.randrange(5)}", 1_000 + chance.randrange(600))
            for _ in range(chance.randrange(40))
        ]
        for part in PARTS
    }
    plain, moved = MemoryStates(), MemoryStates()
    whole = Process(plain, step_ms=60_000)
    for part, items in logs.items():
        whole.take(part, items, len(items))
    finish(whole)

    for _ in range(lives):
        cut = chance.randrange(4)
        for parts in (PARTS[:cut], PARTS[cut:]):
            process = Process(moved, list(parts), step_ms=60_000)
            for _ in range(chance.randrange(6) if parts else 0):
                part = chance.choice(parts)
                at = max(0, process.runs._runs[part[1]].live.next_offset)
                size = chance.randrange(1, 8)
                taken = logs[part][at : at + size]
                process.take(part, taken, at + len(taken))
                if chance.random() < 0.5:
                    process.log.failures = chance.choice([[], ["before"], ["after"]])
                    process.runs.step()
            if chance.random() < 0.3:
                process.runs.end_parts(list(parts))
    last = Process(moved, step_ms=60_000)
    for part, items in logs.items():
        at = max(0, last.starts[part])
        last.take(part, items[at:], len(items))
    finish(last)
    assert Counter(told(moved)) == Counter(told(plain))
    assert not any(moved.states.values())


def finish(process: Process) -> None:
    """Everything closes."""
    for run in process.runs._runs.values():
        run.live.pass_time(99_999)
    process.runs.step()
