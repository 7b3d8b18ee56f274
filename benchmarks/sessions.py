"""Sessions and detectors without servers: decode, the machine with all six detectors, its states.

Visitors are on a site at once, and each sends what it did about every five seconds; states that
changed are encoded once per second of stream time, as the behaviour flow does within a transaction.
Sending to Kafka is not part of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from benchmarks.yardsticks import flat_event_us
from cli.synthetic import Visitors
from connectors.lookups import load_agent_parser
from flows.core.behaviour import (
    BehaviourMachine,
    BehaviourOutput,
    SessionState,
    decode_state,
    encode_state,
)
from flows.core.detection_rules import rules_of_document
from flows.core.insight import Insight
from flows.core.live_partition import LivePartition, Workings
from flows.core.session_batches import BatchReader
from flows.core.session_event import SessionBatch
from flows.run import look_for_cycles_less_often
from schemas.json_batch import batch_from_json
from schemas.kept_states import Kept
from schemas.lookups import UNKNOWN_PLACE
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch

BATCH_EVENTS = 10
FLUSH_MS = 5_000
START_MS = 1_795_255_200_000
STEP_MS = 1_000
RESTORED = 100_000
PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


def run(events: int = 200_000, visitors: int = 2_000) -> dict[str, object]:
    """Microseconds of CPU an event, by part, and what states weigh."""
    values = list(islice(traffic(visitors), events // BATCH_EVENTS))
    count = len(values) * BATCH_EVENTS
    reader = BatchReader(load_agent_parser(), lambda _address: UNKNOWN_PLACE)
    for value in values[:2_000]:
        reader.read_record(value)
    look_for_cycles_less_often()  # As every flow does.

    spent = {"decode": 0.0, "machine": 0.0, "encode": 0.0}
    states = state_bytes = revisions = insights = 0
    partition = live_partition()
    records_per_step = visitors * STEP_MS // FLUSH_MS
    for first in range(0, len(values), records_per_step):
        part = values[first : first + records_per_step]
        times = [time.process_time()]
        batches = [reader.read_record(value) for value in part]
        times.append(time.process_time())
        partition.take(batches, first + len(part))
        times.append(time.process_time())
        step = partition.step()
        times.append(time.process_time())
        for name, began_s, ended_s in zip(spent, times, times[1:], strict=False):
            spent[name] += ended_s - began_s
        states += len(step.states)
        state_bytes += sum(len(state) for state in step.states.values() if state is not None)
        found = sum(isinstance(output, Insight) for output in step.outputs)
        insights += found
        revisions += len(step.outputs) - found
    kept = [state for state in step.states.values() if state is not None]
    return {
        "benchmark": "sessions",
        "yardstick_flat_event_us": flat_event_us(values[:2_000]),
        "cpu_us_per_event": _us(sum(spent.values()), count),
        **{f"{name}_cpu_us_per_event": _us(spent_s, count) for name, spent_s in spent.items()},
        "restore_100k_cpu_s": _restore_s([bytes(state[8:]) for state in kept]),
        "sent": count,
        "sessions_at_once": visitors,
        "revisions": revisions,
        "insights": insights,
        "states_encoded": states,
        "state_bytes_mean": round(state_bytes / states),
        "state_bytes_per_event": round(state_bytes / count),
    }


def live_partition() -> LivePartition[SessionState, SessionBatch, BehaviourOutput]:
    """A partition with the default rules."""
    rules = rules_of_document({})
    workings: Workings[SessionState, SessionBatch, BehaviourOutput] = Workings(
        machine=BehaviourMachine(lambda _project_id: rules),
        encode=encode_state,
        decode=decode_state,
        key_of=lambda batch: batch.key,
        time_of=lambda batch: batch.received_at_ms,
    )
    return LivePartition(workings, Kept(), opened_max=10_000)


def traffic(visitors: int) -> Iterator[bytes]:
    """Endless records; each visitor's come about every `FLUSH_MS`, and tell of that time."""
    chance = random.Random(7)
    sent_ms: dict[str, int] = {}
    for place, batch in enumerate(Visitors(7, at_once=visitors).batches(BATCH_EVENTS)):
        now_ms = START_MS + place * FLUSH_MS // visitors
        session_id = batch["session_id"]
        since_ms = max(now_ms - FLUSH_MS, sent_ms.get(session_id, 0))
        times = sorted(chance.randint(since_ms, now_ms) for _ in batch["events"])
        sent_ms[session_id] = now_ms
        for event, at_ms in zip(batch["events"], times, strict=True):
            event["timestamp"] = at_ms
        parsed = batch_from_json(msgspec.json.encode({**batch, "sent_at": now_ms}))
        messages = [event for event in parsed.events if isinstance(event, Event)]
        yield RawBatch(
            events=messages,
            sent_at=now_ms,
            sdk_version="bench",
            project_id=PROJECT,
            session_id=session_id,
            received_at_ms=now_ms,
            client_ip="203.0.113.7",
            user_agent=messages[0].device.user_agent,
            event_count=len(messages),
            retain_days=90,
            scrubber_version=1,
            batch_id="b",
        ).SerializeToString()


def _restore_s(states: Sequence[bytes]) -> float:
    began_s = time.process_time()
    for place in range(RESTORED):
        decode_state(states[place % len(states)])
    return round(time.process_time() - began_s, 2)


def _us(seconds: float, count: int) -> float:
    return round(seconds / count * 1e6, 2)
