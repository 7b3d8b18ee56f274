"""Records of gosight.alerts: what can be a transition, and what becomes a dead letter."""

from __future__ import annotations

from typing import Any

import pytest

from flows.core.alert_records import alert_batch
from schemas.log import Fetched, PolledBatch
from schemas.reasons import RejectReason
from schemas.topics import ALERTS
from tests.alert_transitions import TEN, make_transition


def polled(*values: bytes) -> PolledBatch:
    """Records of these values, from offset 10 on."""
    records = [
        Fetched(10 + place, value, b"project:rule", TEN, 1) for place, value in enumerate(values)
    ]
    return PolledBatch.of(ALERTS.name, 0, records, epoch=3)


def test_good_records_are_transitions_in_order() -> None:
    """With the place they come from."""
    made = [make_transition("fired", TEN), make_transition("held", TEN + 1, value=None)]
    batch = alert_batch(polled(*(one.SerializeToString() for one in made)))
    assert list(batch.transitions) == made
    assert [batch.polled.offsets[place] for place in batch.places] == [10, 11]
    assert batch.poisons == []


@pytest.mark.parametrize(
    "changes",
    [
        {"alert_id": "x"}, {"rule_id": ""}, {"project_id": "p"}, {"transition_id": ""},
        {"kind": "suppressed"}, {"kind": ""}, {"at_ms": 0}, {"at_ms": 10**14},
        {"opened_at_ms": -1}, {"window_end_ms": 10**14}, {"value": float("nan")},
        {"threshold": float("inf")}, {"rule_name": "a\0b"}, {"sample_session_ids": ["\0"]},
        {"group": {"path": "\0"}},
    ],
)  # fmt: skip
def test_bad_records_are_told_and_their_neighbours_go_on(changes: dict[str, Any]) -> None:
    """What PostgreSQL or a message could not take is found before."""
    good = make_transition("fired", TEN)
    bad = make_transition("fired", TEN + 1)
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(bad, name)[:] = value
        elif isinstance(value, dict):
            getattr(bad, name).update(value)
        else:
            setattr(bad, name, value)
    batch = alert_batch(polled(bad.SerializeToString(), good.SerializeToString()))
    assert (list(batch.transitions), list(batch.places)) == ([good], [1])
    (poison,) = batch.poisons
    assert (poison.offset, poison.reason) == (10, RejectReason.POISON)


def test_other_bytes_are_told() -> None:
    """Not the message of this topic."""
    (poison,) = alert_batch(polled(b"\xff\xff\xff")).poisons
    assert poison.reason is RejectReason.UNDECODABLE
