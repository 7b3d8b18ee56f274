"""A new version goes on with what an earlier one stored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from flows.core.alerts.partition import AlertPartition, SignalRecord
from flows.core.alerts.transitions import Transition
from flows.core.behaviour import LATENESS_MS, decode_state
from schemas.kept_states import Kept
from tests.stored_states import (
    SCENES,
    STATES,
    StoredAlerts,
    StoredSession,
    alert_world,
    batches_of,
    go_on,
)

VERSIONS = sorted(path for path in STATES.iterdir() if path.is_dir())
by_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)


@by_version
@pytest.mark.parametrize("scene", SCENES)
def test_a_session_that_is_open(version: Path, scene: str) -> None:
    """Its row and insights are those of a session that was never interrupted."""
    kept = msgspec.json.decode(
        (version / "sessions.json").read_bytes(), type=dict[str, StoredSession]
    )
    stored = kept[scene]
    batches = batches_of(scene)
    before, rest = batches[: stored.taken], batches[stored.taken :]
    clocks = [go_on(go_on(None, before).state, rest), go_on(decode_state(stored.state), rest)]
    for clock in clocks:
        clock.finish(batches[-1].received_at_ms + 2 * LATENESS_MS)
        assert clock.state is None
    expected, made = clocks
    assert made.outputs == expected.outputs
    assert made.rows[-1].is_closed
    assert made.rows[-1].page_count


@by_version
def test_rules_that_are_firing(version: Path) -> None:
    """Transitions after it are those of a partition that was never interrupted, each told once."""
    stored = msgspec.json.decode((version / "alerts.json").read_bytes(), type=StoredAlerts)
    whole = AlertPartition(Kept())
    told_before = take(whole, stored.records[: stored.taken], 0)
    expected = take(whole, stored.records[stored.taken :], stored.taken)
    kept = AlertPartition(Kept(stored.progress, stored.states))
    again = stored.progress.next_offset
    assert take(kept, stored.records[again : stored.taken], again) == []
    assert take(kept, stored.records[stored.taken :], stored.taken) == expected
    assert {change.kind for change in told_before} == {"fired", "still_firing"}
    assert {change.kind for change in expected} == {"fired", "still_firing", "resolved"}


def test_the_stored_records_are_those_of_the_story() -> None:
    """What the newest version stored was made by what the file says that it was made by."""
    stored = msgspec.json.decode((VERSIONS[-1] / "alerts.json").read_bytes(), type=StoredAlerts)
    world, ours = alert_world()
    assert (ours.taken, len(ours.records)) == (stored.taken, len(stored.records))
    assert world.told


def take(partition: AlertPartition, records: list[bytes], first: int) -> list[Transition]:
    """What is told of these records."""
    numbered = [SignalRecord(first + number, value) for number, value in enumerate(records)]
    partition.take(numbered, first + len(records))
    return partition.step().outputs
