"""Splitting, counting and keying of streams on a real dataflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main
from prometheus_client import REGISTRY

from connectors.kafka_log import OutRecord
from flows.streams import Accepted, Parsed, key_by, rejected, split_rejected
from schemas.reasons import RejectReason, Stage
from schemas.topics import EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord


def parse(item: str) -> Iterable[Parsed[int]]:
    """Each comma-separated part is a number or is refused."""
    for part in item.split(","):
        if part.isdigit():
            yield Accepted(int(part))
        else:
            yield rejected(Stage.INSIGHTS, RejectReason.UNDECODABLE, part.encode(), event_count=2)


def counted() -> float:
    """Events that the test's flow has refused so far."""
    labels = {"flow": "test", "outcome": "rejected", "reason": "undecodable"}
    return REGISTRY.get_sample_value("gosight_flow_events_total", labels) or 0.0


@pytest.mark.parametrize("workers", [1, 2])
def test_refused_items_go_to_their_sink_and_the_rest_goes_on(workers: int) -> None:
    """Nothing is lost, nothing is in both, and refusals are counted in events."""
    letters: list[OutRecord] = []
    numbers: list[int] = []
    flow = Dataflow("test")
    stream = op.input("in", flow, TestingSource(["1,x,2", "y", "3"]))
    accepted = split_rejected(
        "split", stream, parse, TestingSink(letters), flow="test", clock_ms=lambda: 77
    )
    op.output("out", accepted, TestingSink(numbers))
    before = counted()
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert sorted(numbers) == [1, 2, 3]
    assert {letter.topic for letter in letters} == {EVENTS_REJECTED.name}
    read = [RejectedRecord.FromString(letter.value) for letter in letters]
    assert sorted(letter.payload for letter in read) == [b"x", b"y"]
    assert {(r.stage, r.reason, r.rejected_at_ms, r.event_count) for r in read} == {
        (Stage.INSIGHTS, RejectReason.UNDECODABLE, 77, 2)
    }
    assert counted() - before == 4


def test_keys_keep_their_order() -> None:
    """Items of one key stay in the order of the input."""
    out: list[Any] = []
    flow = Dataflow("keys")
    stream = op.input("in", flow, TestingSource([3, 1, 4, 1, 5, 9, 2, 6]))
    op.output("out", key_by("parity", stream, lambda n: str(n % 2)), TestingSink(out))
    run_main(flow)
    assert [value for key, value in out if key == "1"] == [3, 1, 1, 5, 9]
