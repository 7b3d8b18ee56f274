"""Both halves of the alerts flow on twins: what is written of sources, and what comes of it."""

from __future__ import annotations

import random

import pytest
from prometheus_client import REGISTRY

from connectors.errors import RetryableError
from connectors.kafka_log import Position
from flows import signal_writer
from flows.core.alerts.signals import Control, Report, decode_record
from schemas.alert_rules import AlertRule
from schemas.erasure import Erased, ErasedOfProject, anonymous_hash, session_hash
from schemas.topics import ALERT_SIGNALS, EVENTS_RAW, SESSIONS
from schemas.v1.events_pb2 import EventType
from tests.alert_flow_worlds import CHANCE, World
from tests.alert_worlds import rule
from tests.factories import NOW_MS, PROJECT, make_event, make_uuid


def rule_of(number: int, condition: dict[str, object], **fields: object) -> AlertRule:
    """A rule of the project of the factories."""
    names = {"id": f"00000000-0000-0000-0000-{number:012}", "project_id": PROJECT}
    return rule(condition, **(names | fields))


ERROR = EventType.EVENT_TYPE_JS_ERROR
VIEW = EventType.EVENT_TYPE_PAGE_VIEW
SALT = b"s" * 32
SUPPRESSED = {"flow": "alerts", "outcome": "dropped", "reason": "suppressed"}


def test_events_become_transitions_within_half_a_minute() -> None:
    """From the eleventh error to the record that tells it: delay, interval and three steps."""
    world = World(rule_of(1, {"metric": "errors", "threshold": 10, "group_by": ["path"]}))
    world.process.run(40)
    world.send(11, ERROR)
    sent_ms = world.process.now_ms
    while not world.told():
        world.process.run(0.5)
        assert world.process.now_ms < sent_ms + 60_000
    (told,) = world.told()
    assert (told.kind, told.value, dict(told.group)) == ("fired", 11, {"path": "/pay"})
    assert len(told.sample_session_ids) == 5
    assert told.at_ms - 10_000 <= sent_ms <= told.at_ms
    assert world.process.now_ms - sent_ms <= 28_000
    world.process.run(320)
    assert world.kinds() == ["fired", "resolved"]


def test_what_is_not_stored_of_erased_visitors_does_not_count() -> None:
    """Late events, and insights of their sessions; it is counted once for all."""
    world = World(
        rule_of(1, {"metric": "errors", "threshold": 3, "window": "1m"}),
        rule_of(2, {"metric": "rage_clicks", "threshold": 3, "window": "1m"}),
    )
    world.process.run(40)
    now_ms = world.process.now_ms
    sessions = [make_uuid(CHANCE) for _ in range(6)]
    world.erased = Erased(
        visitors={
            PROJECT: ErasedOfProject(
                SALT,
                {anonymous_hash(SALT, "phone"): now_ms},
                frozenset(session_hash(SALT, session) for session in sessions[:3]),
            )
        }
    )
    before = REGISTRY.get_sample_value("gosight_flow_events_total", SUPPRESSED) or 0.0
    for number in range(6):
        session_id = make_uuid(CHANCE)
        event = make_event(make_uuid(CHANCE), session_id, at_ms=now_ms, kind=ERROR)
        event.anonymous_id = "phone" if number < 3 else "desk"
        world.send_events([event], session_id)
    for session_id in sessions:
        world.find(1, now_ms - 8_000, session_id=session_id)
    world.process.run(40)
    assert world.kinds() == []
    assert REGISTRY.get_sample_value("gosight_flow_events_total", SUPPRESSED) == before + 6
    world.send(1, ERROR)
    world.find(1, world.process.now_ms - 8_000)
    world.process.run(20)
    assert [(one.kind, one.value) for one in world.told()] == [("fired", 4), ("fired", 4)]


def test_insights_become_transitions() -> None:
    """The behaviour flow's topics, by its own clock; previews do not count."""
    world = World(rule_of(1, {"threshold": 10, "window": "1m"}))
    world.process.run(40)
    world.find(11, world.process.now_ms - 8_000)
    world.process.run(40)
    assert world.kinds() == ["fired"]


def test_a_rule_is_in_force_within_ten_seconds_and_so_is_its_edit() -> None:
    """M-145: without a restart; the first T after it is judged by it."""
    world = World()
    world.process.run(60)
    world.rules.put(rule_of(1, {"metric": "errors", "threshold": 20, "window": "1m"}))
    world.process.run(3)
    world.send(15, ERROR)
    world.process.run(40)
    assert world.told() == []
    world.rules.put(rule_of(1, {"metric": "errors", "threshold": 10, "window": "1m"}))
    edited_ms = world.process.now_ms
    world.process.run(10)
    assert world.kinds() == ["fired"]
    assert world.told()[0].at_ms <= edited_ms + 10_000
    world.rules.put()
    world.process.run(3)
    assert world.kinds() == ["fired", "resolved"]
    assert sum(map(len, world.kept.states.values())) == 3 * ALERT_SIGNALS.partitions


def test_an_absence_is_told_although_nothing_arrives() -> None:
    """M-139: only the clock goes on."""
    world = World(rule_of(1, {"metric": "pageviews", "window": "2m"}, condition_type="absence"))
    world.process.run(20)
    for _ in range(10):
        world.send(1, VIEW)
        world.process.run(20)
    assert world.told() == []
    world.process.run(130)
    assert world.kinds() == ["fired"]
    world.send(1, VIEW)
    world.process.run(30)
    assert world.kinds() == ["fired", "resolved"]


def test_unread_partitions_hold_rules_back_and_tell_no_absence() -> None:
    """The reader of raw events stands still: that is said, and no more after it has caught up."""
    world = World(rule_of(1, {"metric": "pageviews", "window": "2m"}, condition_type="absence"))
    for _ in range(12):
        world.send(1, VIEW)
        world.process.run(20)
    for _ in range(180):
        world.send(1, VIEW)
        world.process.run(20, reads=("insights", "sessions"))
    assert world.kinds() == ["held"]
    world.process.run(40)
    assert world.kinds() == ["held", "released"]
    assert world.told()[1].held_for_ms > 3_400_000


def test_rules_over_insights_are_held_while_behaviour_is_behind() -> None:
    """Although nothing waits in its topics."""
    world = World(rule_of(1, {"operator": "<", "threshold": 1, "window": "1m"}))
    world.process.run(10)
    world.process.progress.places.clear()
    world.process.progress.known = lambda: {}  # type: ignore[method-assign]
    world.send(30, VIEW)
    world.process.run(100)
    assert world.kinds() == ["held"]


def test_death_at_any_moment_changes_nothing() -> None:
    """The same signals, once with one long life and once with many short ones."""
    rules = (
        rule_of(1, {"metric": "errors", "threshold": 3, "window": "1m", "group_by": ["path"]}),
        rule_of(2, {"metric": "pageviews", "operator": "<", "threshold": 3, "window": "2m"}),
    )
    told: list[list[str]] = []
    for deaths in (0.0, 0.3):
        chance = random.Random(11)
        CHANCE.seed(23)
        world = World(*rules)
        world.positions.loses_finish = bool(deaths)
        fate = random.Random(5)
        world.process.run(30)
        for _ in range(60):
            world.send(chance.choice([0, 1, 2]), ERROR, chance.choice(["/a", "/b"]))
            world.send(chance.choice([0, 0, 2]), VIEW)
            world.process.run(5)
            if fate.random() < deaths:
                world.start(world.process.now_ms)
        world.process.run(40)
        found = world.told()
        names = [one.transition_id for one in found]
        assert len(names) == len(set(names))
        told.append(sorted(names))
        assert {one.kind for one in found} >= {"fired", "resolved"}
    assert told[0] == told[1]


@pytest.mark.parametrize("deaths", [0.0, 0.3])
def test_reports_in_pieces_say_what_whole_ones_say(
    monkeypatch: pytest.MonkeyPatch, deaths: float
) -> None:
    """Records that are late by their partition's own clock among them, and deaths in between."""
    rules = (
        rule_of(1, {"metric": "errors", "threshold": 4, "window": "1m", "group_by": ["path"]}),
        rule_of(2, {"metric": "pageviews", "operator": "<", "threshold": 8, "window": "2m"}),
    )
    told: list[list[str]] = []
    for bytes_max in (signal_writer.REPORT_BYTES_MAX, 1):
        monkeypatch.setattr(signal_writer, "REPORT_BYTES_MAX", bytes_max)
        chance = random.Random(11)
        CHANCE.seed(23)
        world = World(*rules)
        world.positions.loses_finish = bool(deaths)
        world.process.run(30)
        for _ in range(40):
            now_ms = world.process.now_ms
            for _ in range(4):
                world.process.now_ms = now_ms - chance.choice([0, 0, 4_000, 13_000])
                world.send(chance.choice([0, 0, 0, 1]), ERROR, chance.choice(["/a", "/b"]))
                world.send(chance.choice([0, 1]), VIEW)
            world.process.now_ms = now_ms
            world.process.run(5)
            if chance.random() < deaths:
                world.start(world.process.now_ms)
        world.process.run(40)
        told.append([one.transition_id for one in world.told()])
        assert {one.kind for one in world.told()} >= {"fired", "resolved"}
    assert told[0] == told[1]


def test_however_much_comes_at_once_fits_into_records() -> None:
    """Of sources that were behind, of visitors who make up paths, of rules after a long pause."""
    many = {"browser": "b" * 1_024, "country": "c" * 1_024, "os": "ö" * 1_024}
    world = World(
        rule_of(0, {"metric": "errors", "threshold": 0}),
        *(
            rule_of(n, {"metric": "goals", "filters": many | {"path": f"/{n}"}})
            for n in range(1, 999)
        ),
    )
    world.process.run(10)
    for number in range(8):
        session_id = make_uuid(CHANCE)
        now_ms = world.process.now_ms
        paths = [f"/{number}/{place}".ljust(2_000, "x") for place in range(300)]
        events = [
            make_event(make_uuid(CHANCE), session_id, at_ms=now_ms, path=path, kind=ERROR)
            for path in paths
        ]
        for _ in range(3):  # What is sent again counts once and is in the report all the same.
            world.send_events(events, session_id)
    world.process.run(40)
    assert sum(live.keys_live for live in world.process.partitions.held().values()) == 999
    assert [(one.kind, one.value) for one in world.told()] == [("fired", 2_400)]
    sizes = [len(value) for value in world.log.values(ALERT_SIGNALS.name)]
    assert max(sizes) <= ALERT_SIGNALS.max_message_bytes


def test_a_group_that_is_new_begins_with_what_comes_from_now_on_for_ever() -> None:
    """Its first position is durable before anything is read."""
    world = World()
    world.send(3, VIEW)
    parts = [(EVENTS_RAW.name, n) for n in range(EVENTS_RAW.partitions)]
    lengths = {part: len(world.log.partitions[part]) for part in parts}
    world.positions.positions = {part: Position(0) for part in parts[:2]}
    world.positions.loses_finish = True
    process = world.start(NOW_MS)
    assert [process.read_to[part] for part in parts[:2]] == [0, 0]
    assert world.positions.positions.keys() >= {*parts, (SESSIONS.name, 11)}
    assert lengths


def test_projects_without_rules_cost_no_signals() -> None:
    """Their records are looked at for their time only."""
    world = World(rule_of(1, {"metric": "errors"}, project_id=make_uuid(CHANCE)))
    world.process.run(5)
    world.send(10, ERROR)
    world.process.run(5)
    records = [decode_record(value) for value in world.log.values(ALERT_SIGNALS.name)]
    reports = [record for record in records if isinstance(record, Report)]
    assert reports
    assert not any(report.batches for report in reports)
    assert any(isinstance(record, Control) and record.rules for record in records)
    assert all(not r.channels for c in records if isinstance(c, Control) for r in c.rules)


def test_a_write_that_fails_is_tried_again_and_then_ends_the_process() -> None:
    """Nothing is skipped: the position is told after the signals."""
    world = World(rule_of(1, {"metric": "errors"}))
    world.process.run(5)
    world.send(1, ERROR)
    world.log.failures_left = 10**6
    with pytest.raises(RetryableError):
        world.process.run(2)
    world.log.failures_left = 0
    raw = [part for part in world.positions.positions if part[0] == EVENTS_RAW.name]
    assert all(world.positions.positions[part].next_offset == 0 for part in raw)
