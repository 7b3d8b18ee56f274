"""States as versions of this program stored them: `python -m tests.stored_states NAME` adds ours.

Sessions are open and rules are firing while a new version is installed: it goes on with what the
one before it stored. A folder of `golden/states` holds what one version stored: of sessions, after
how many of their batches; of an alert partition, with all records that it was given. A change of a
state's form that still reads the old one adds a folder. Those that are there stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from flows.core.alerts.metrics import Kind
from flows.core.behaviour import (
    BehaviourMachine,
    SessionState,
    encode_state,
)
from flows.core.detection_rules import rules_of_document
from flows.core.session_event import SessionBatch
from schemas.kept_states import Progress
from tests.alert_worlds import World, rule
from tests.session_records import live_batches, scene_values
from tests.session_schedules import Clock, Delivery

SCENES = (
    "01-rage-dead-coupon",
    "10-error-sync-handler",
    "13-thrash-lost-user",
    "19-uturn-product-comparison",
    "22-slow-server-answer",
    "24-clean-purchase",
    "27-two-tabs-one-session",
    "30-mobile-dead-taps",
)
STATES = Path(__file__).parent / "golden" / "states"
RULES = (
    {"metric": "pageviews", "threshold": 3, "window": "1m", "group_by": ["path"]},
    {"metric": "rage_clicks", "threshold": 1, "window": "5m", "group_by": ["browser"]},
    {"metric": "error_rate", "threshold": 20, "window": "1m", "min_sessions": 2},
    {"metric": "avg_lcp", "threshold": 2_500, "window": "1m", "min_sessions": 2},
    {"metric": "revenue", "threshold": 50, "window": "2m", "filters": {"path": "/a*"}},
)
SIGNALS = (Kind.PAGEVIEW, Kind.ACTIVITY, Kind.ERROR, Kind.LCP, Kind.PURCHASE)


class StoredSession(msgspec.Struct):
    """The state of the session of a scene that has most batches, after `taken` of them."""

    taken: int
    state: bytes


class StoredAlerts(msgspec.Struct):
    """What an alert partition stored after the first `taken` of `records`."""

    taken: int
    progress: Progress
    states: dict[str, bytes]
    records: list[bytes]


def machine() -> BehaviourMachine:
    """That of a project without settings."""
    rules = rules_of_document({})
    return BehaviourMachine(lambda _project_id: rules)


def batches_of(scene: str) -> Sequence[SessionBatch]:
    """The batches of the session that has most, as they were received."""
    sessions: dict[str, list[SessionBatch]] = {}
    for batch in live_batches(scene_values(scene)):
        sessions.setdefault(batch.key, []).append(batch)
    longest = max(sessions.values(), key=len)
    return sorted(longest, key=lambda batch: batch.received_at_ms)


def go_on(state: SessionState | None, batches: Sequence[SessionBatch]) -> Clock:
    """A clock at which these batches were taken when they were received."""
    clock = Clock(machine())
    clock.state = state
    for batch in batches:
        clock.take(Delivery(batch, batch.received_at_ms))
    return clock


def alert_world() -> tuple[World, StoredAlerts]:
    """Three minutes of signals and as many of none; what was stored at 100 s, with all records."""
    rules = [
        rule(condition, id=f"00000000-0000-0000-0000-{number:012}")
        for number, condition in enumerate(RULES, 1)
    ]
    world = World(*rules, in_force_s=-5_000)
    world.evaluate(0)
    stored: StoredAlerts | None = None
    for number in range(9):
        second = 20 * number
        if number == 5:
            stored = StoredAlerts(len(world.records), world.progress, dict(world.kept), [])
        paths = ("/a", "/a/b", "/c")[: 1 + number % 3]
        events = [
            world.signal(kind, second + who, session_number=who, path=path, value=900 * number)
            for path in paths
            for who, kind in enumerate(SIGNALS)
        ]
        world.raw(events, second + 20)
        world.results([world.signal(Kind.RAGE_CLICK, second) for _ in range(number % 3)], second)
        world.pass_to(second + 20)
    world.pass_to(360)
    assert stored is not None
    stored.records = world.records
    return world, stored


def write(folder: Path) -> None:
    """Store ours."""
    folder.mkdir(parents=True)
    sessions = {}
    for name in SCENES:
        batches = batches_of(name)
        taken = (len(batches) + 1) // 2
        state = go_on(None, batches[:taken]).state
        assert state is not None
        sessions[name] = StoredSession(taken, encode_state(state))
    (folder / "sessions.json").write_bytes(_json(sessions))
    (folder / "alerts.json").write_bytes(_json(alert_world()[1]))


def _json(stored: Mapping[str, StoredSession] | StoredAlerts) -> bytes:
    return msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n"


if __name__ == "__main__":
    write(STATES / sys.argv[1])
