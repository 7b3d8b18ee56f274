"""What must not matter to rules: batches, arrival within the hold, order, crashes. And lag."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.alerts import books, partition
from flows.core.alerts.metrics import Kind
from flows.core.alerts.rule_runs import GROUPS_EVALUATED_MAX
from flows.core.alerts.signals import Control, Report, SignalBatch
from flows.core.alerts.source_clocks import RAW_SOURCES, RESULT_SOURCES, SourceNames, source_name
from flows.core.alerts.transitions import Transition
from schemas.alert_rules import AlertRule
from schemas.topics import ALERT_STATE, EVENTS_RAW
from tests.alert_worlds import PROJECT, World, at, clock, rule, session

END_S = 400
ABSENT: dict[str, Any] = {"condition_type": "absence"}


def rule_of(number: int, condition: dict[str, Any], **fields: Any) -> AlertRule:
    """A rule with an id of its own."""
    return rule(condition, id=f"00000000-0000-0000-0000-{number:012}", **fields)


RULES = (
    rule_of(1, {"metric": "pageviews", "threshold": 6, "window": "1m"}),
    rule_of(
        2,
        {
            "metric": "pageviews",
            "operator": "<",
            "threshold": 2,
            "window": "2m",
            "group_by": ["path"],
        },
    ),
    rule_of(3, {"metric": "error_rate", "threshold": 20, "window": "1m", "min_sessions": 2}),
    rule_of(4, {"metric": "avg_lcp", "threshold": 2_500, "window": "1m", "min_sessions": 2}),
    rule_of(5, {"metric": "rage_clicks", "threshold": 1, "window": "1m", "group_by": ["browser"]}),
    rule_of(6, {"metric": "pageviews", "window": "1m"}, condition_type="absence"),
    rule_of(7, {"metric": "pageviews", "window": "1m", "min_value": 1}, condition_type="anomaly"),
    rule_of(8, {"metric": "revenue", "threshold": 50, "window": "2m", "filters": {"path": "/a*"}}),
)
KINDS = [
    Kind.PAGEVIEW,
    Kind.PAGEVIEW,
    Kind.ACTIVITY,
    Kind.ERROR,
    Kind.LCP,
    Kind.PURCHASE,
    Kind.RAGE_CLICK,
]

Drawn = tuple[Kind, int, int, str, int, int, float]


def draw(seed: int, size: int) -> list[Drawn]:
    """Signals: kind, tenths of a second, session, path, value, name, and how late they arrive.

    A name may come again among those of its kind and session: then it is the same one.
    """
    chance = random.Random(seed)
    # Whoever clicks in rage has come before.
    first: list[Drawn] = [(Kind.ACTIVITY, 0, who, "/a", 0, 0, 0.0) for who in range(6)]
    return first + [
        (
            chance.choice(KINDS),
            chance.randint(0, END_S * 10),
            chance.randint(0, 5),
            chance.choice(["/a", "/a/b", "/c"]),
            chance.randint(0, 5_000),
            chance.randint(0, 200),
            chance.uniform(0, 14.9),
        )
        for _ in range(size)
    ]


class Sent:
    """Signals with their sources, in order of arrival."""

    def __init__(self, drawn: Sequence[Drawn]) -> None:
        self.by_source: dict[str, list[SignalBatch]] = {}
        world = World()
        for kind, tenths, who, path, value, name, late_s in drawn:
            at_s = tenths / 10
            is_result = kind >= Kind.RAGE_CLICK
            batch = world.signal(
                kind,
                at_s,
                session_number=who,
                path=path,
                dims=(path, "", "", "", "") if is_result else (path, f"B{who % 2}", "", "", ""),
                value=value,
                ident=(100 * name + kind).to_bytes(16 if is_result else 8, "big"),
                arrived_s=at_s + 15 if is_result else at_s + late_s,
            )
            # A session stays in its partition.
            source = RESULT_SOURCES[who % 3] if is_result else RAW_SOURCES[who]
            self.by_source.setdefault(source, []).append(batch)
        for batches in self.by_source.values():
            batches.sort(key=lambda batch: batch.arrived_ms)


def run(
    sent: Sent, chance: random.Random, *, cuts: int, restarts: float = 0.0, rewrites: float = 0.0
) -> list[Transition]:
    """Read all in pieces, the sources in any order, up to END_S; die now and then."""
    world = World(*RULES, in_force_s=-5_000)
    world.evaluate(0)
    bounds = [*sorted(chance.uniform(0, END_S + 60) for _ in range(cuts)), END_S + 60]
    done = dict.fromkeys(sent.by_source, 0)
    for bound in bounds:
        sources = [*RAW_SOURCES, *RESULT_SOURCES]
        chance.shuffle(sources)
        for source in sources:
            batches = sent.by_source.get(source, [])
            first = done.get(source, 0)
            last = first
            while last < len(batches) and batches[last].arrived_ms <= at(bound):
                last += 1
            done[source] = last
            report = world.report(source, batches[first:last], bound, 0)
            report = msgspec.structs.replace(report, results_at_ms=at(bound))
            world.put(report)
            if chance.random() < rewrites:
                world.put(report)  # Its writer died before it could say that it was written.
        if chance.random() < restarts:
            world.restart()
    return world.told


def shown(told: Sequence[Transition]) -> list[Transition]:
    """In an order of its own."""
    return sorted(told, key=lambda change: (change.at_ms, change.rule.id, change.group))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_batches_order_and_crashes_change_nothing(seed: int, size: int) -> None:
    """However sources are cut, interleaved, written again, and whoever dies in between."""
    sent, chance = Sent(draw(seed, size)), random.Random(seed + 1)
    whole = shown(run(sent, random.Random(0), cuts=0))
    many = shown(run(sent, chance, cuts=25))
    assert many == whole
    assert shown(run(sent, chance, cuts=25, restarts=0.4, rewrites=0.3)) == whole
    names = [change.transition_id for change in whole]
    assert len(names) == len(set(names))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_arrival_within_the_hold_changes_nothing(seed: int, size: int) -> None:
    """Late by up to the delay or at once, in any order: the same transitions at the same T."""
    chance = random.Random(seed + 1)
    # Of equal names the first to arrive counts: here each is told once.
    unique = {(entry[0], entry[2], entry[5]): entry for entry in draw(seed, size)}
    at_once = [(*entry[:6], 0.0) for entry in unique.values()]
    late = [(*entry[:6], chance.uniform(0, 14.9)) for entry in unique.values()]
    assert shown(run(Sent(late), chance, cuts=5)) == shown(run(Sent(at_once), chance, cuts=5))


def views(world: World, from_s: int, to_s: int, every_s: int = 20) -> list[SignalBatch]:
    """Page views of a site that works."""
    return [world.signal(Kind.PAGEVIEW, second) for second in range(from_s, to_s, every_s)]


ABSENCE = rule({"metric": "pageviews", "window": "10m"}, condition_type="absence")


def test_a_backlog_of_an_hour_sends_no_false_absence() -> None:
    """All was away for an hour. What comes first is the wall clock, then the backlog, in pieces."""
    world = World(ABSENCE)
    world.evaluate(0)
    world.raw(views(world, 5, 600), 600)
    world.evaluate(600)
    hour = views(world, 620, 4_200)
    world.control(wall_s=4_215)
    assert world.kinds() == [("held", 4_215)]
    for start in range(0, 3_600, 300):
        piece = [b for b in hour if at(620 + start) <= b.arrived_ms < at(920 + start)]
        for source in (*RESULT_SOURCES, *RAW_SOURCES):
            batches = piece if source == RAW_SOURCES[0] else ()
            world.put(world.report(source, batches, 900 + start, 4_216))
    world.evaluate(4_205)
    assert [kind for kind, _ in world.kinds()] == ["held", "released"]
    assert world.told[0].alert_id == world.told[1].alert_id
    assert world.told[1].held_for_ms == world.told[1].at_ms - at(4_215)


def test_a_rule_that_is_removed_while_it_is_held_is_released() -> None:
    """What says that it is held must end."""
    world = World(ABSENCE)
    world.evaluate(0)
    world.control(wall_s=200)
    world.control(wall_s=201, removed=[ABSENCE.id])
    assert [kind for kind, _ in world.kinds()] == ["held", "released"]
    world.evaluate(300)
    assert len(world.told) == 2


def test_an_absence_of_the_backlog_is_told_late_with_the_id_it_would_have_had() -> None:
    """Twenty quiet minutes within the hour fired and were over: told after the release, as late."""
    live = World(ABSENCE)
    late = World(ABSENCE)
    for world in (live, late):
        world.evaluate(0)
        world.raw(views(world, 5, 600), 600)
        world.evaluate(600)
    quiet = [*views(live, 620, 1_200), *views(live, 2_400, 4_200)]
    live_pieces = (
        [b for b in quiet if b.arrived_ms <= at(1_300)],
        [b for b in quiet if b.arrived_ms > at(1_300)],
    )
    live.raw(live_pieces[0], 1_200)
    for second in range(1_210, 2_400, 30):
        live.evaluate(second)
    live.raw(live_pieces[1], 2_401)
    for second in range(2_410, 4_210, 30):
        live.evaluate(second)
    fired = [change for change in live.told if change.kind in ("fired", "resolved")]
    assert [(c.kind, c.is_late) for c in fired] == [("fired", False), ("resolved", False)]

    late.control(wall_s=4_215)
    for source in (*RESULT_SOURCES, *RAW_SOURCES):
        batches = quiet if source == RAW_SOURCES[0] else ()
        late.put(late.report(source, batches, 3_000, 4_215))
    assert [kind for kind, _ in late.kinds()] == ["held"]
    late.evaluate(4_205)
    told = late.told
    assert [change.kind for change in told] == ["held", "released", "fired", "resolved"]
    assert [change.is_late for change in told] == [False, False, True, True]
    assert [c.transition_id for c in told[2:]] == [c.transition_id for c in fired]


def test_rules_over_results_wait_for_the_flow_that_makes_them() -> None:
    """The topics are empty and read to their end, but behaviour is behind: no verdict, but held."""
    world = World(rule({"operator": "<", "threshold": 1, "window": "1m"}))
    world.evaluate(0)
    world.evaluate(50)
    assert [kind for kind, _ in world.kinds()] == ["fired"]
    for seconds in range(80, 300, 30):
        for source in (*RESULT_SOURCES, *RAW_SOURCES):
            report = world.report(source, (), seconds, seconds)
            world.put(msgspec.structs.replace(report, results_ms=at(65)))
    assert [kind for kind, _ in world.kinds() if kind != "still_firing"] == ["fired", "held"]
    world.evaluate(300)
    kinds = [kind for kind, _ in world.kinds()]
    assert kinds.count("released") == 1
    assert kinds[-1] in ("released", "still_firing")


def test_results_count_where_behaviour_was_when_they_could_be_read() -> None:
    """Its place in the raw topic is believed only when its topics are read up to that moment."""
    world = World(rule({"threshold": 0, "window": "1m"}))
    world.evaluate(0)
    insight = world.signal(Kind.RAGE_CLICK, 75, arrived_s=90)
    for source in RAW_SOURCES:
        report = world.report(source, (), 105, 0)
        world.put(msgspec.structs.replace(report, results_at_ms=at(105)))
    assert world.told == []  # Behaviour is at 105, as of 105; its topics are read up to 15.
    world.put(world.report(RESULT_SOURCES[0], [insight], 105, 0))
    for source in RESULT_SOURCES[1:]:
        world.put(world.report(source, (), 105, 0))
    assert world.kinds() == [("fired", 80)]


def test_partitions_that_were_added_count_and_are_waited_for() -> None:
    """Of a raw topic with one more than it was made with: its events, and its clock."""
    sources = SourceNames((*RAW_SOURCES, source_name(EVENTS_RAW.name, len(RAW_SOURCES))))
    world = World(rule({"metric": "pageviews", "threshold": 2, "window": "1m"}), sources=sources)
    world.evaluate(0)
    for source in (*RESULT_SOURCES, *RAW_SOURCES):
        world.put(world.report(source, (), 100, 0))
    assert world.told == []
    world.raw(views(world, 10, 70), 80, len(RAW_SOURCES))
    assert [kind for kind, _ in world.kinds()] == ["fired"]
    world.restart()
    world.evaluate(200)
    assert [kind for kind, _ in world.kinds()] == ["fired", "resolved"]


def test_who_is_not_the_reader_any_more_is_ignored() -> None:
    """A report that leaves a gap was written by a process that had lost the partition."""
    world = World(rule({"metric": "pageviews", "threshold": 0, "window": "1m"}))
    world.evaluate(0)
    stray = world.report(RAW_SOURCES[0], views(world, 20, 60), 60, 0)
    moved = [
        SignalBatch(b.offset + 50, PROJECT, session(0), b.arrived_ms, b.dims, b.signals)
        for b in stray.batches
    ]
    world.put(msgspec.structs.replace(stray, first_offset=50, next_offset=52, batches=tuple(moved)))
    world.offsets[RAW_SOURCES[0]] = 0
    world.evaluate(100)
    assert world.told == []
    again = msgspec.structs.replace(stray, first_offset=50, next_offset=52, is_first=True)
    world.put(msgspec.structs.replace(again, batches=tuple(moved)))
    assert world.partition.dropped("holes") == 1


def test_a_topic_that_was_made_anew_begins_anew() -> None:
    """Its offsets begin at 0 again, below those that were read."""
    world = World(rule({"metric": "pageviews", "threshold": 0, "window": "1m"}))
    world.evaluate(0)
    world.raw([world.signal(Kind.ACTIVITY, 1) for _ in range(50)], 16)
    world.offsets[RAW_SOURCES[0]] = 0
    renewed = world.report(RAW_SOURCES[0], views(world, 40, 60), 60, 0)
    world.put(msgspec.structs.replace(renewed, topic_id="other"))
    assert world.partition.dropped("holes") == 0
    world.put(msgspec.structs.replace(renewed, topic_id="other", is_first=True))
    for source in (*RESULT_SOURCES, *RAW_SOURCES[1:]):
        world.put(world.report(source, (), 75, 0))
    world.put(msgspec.structs.replace(world.report(RAW_SOURCES[0], (), 75), topic_id="other"))
    assert world.kinds() == [("fired", 40)]


def test_what_is_late_by_more_than_an_hour_does_not_count() -> None:
    """Its id could have been counted before; it is counted as late."""
    world = World(rule({"metric": "pageviews", "threshold": 0, "window": "24h"}))
    world.evaluate(0)
    world.evaluate(7_200)
    world.raw([world.signal(Kind.PAGEVIEW, 3_000, arrived_s=7_210)], 7_210)
    world.evaluate(7_300)
    assert world.told == []
    assert world.partition.dropped("late") == 1


def test_what_claims_to_be_of_the_far_future_is_not_waited_for() -> None:
    """It would be kept for ever, and all records since with it."""
    world = World(rule({"threshold": 0, "window": "1m"}))
    world.evaluate(0)
    far = [world.signal(Kind.RAGE_CLICK, 10.0**7, arrived_s=arrived_s) for arrived_s in (30, 10**7)]
    world.results(far, 20)
    world.evaluate(60)
    assert world.told == []
    assert world.partition.dropped("late") == 2
    assert world.progress.next_offset >= len(world.records) - 1


def test_what_is_kept_back_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is dropped, and counted."""
    monkeypatch.setattr(partition, "WAITING_MAX", 3)
    world = World(rule({"metric": "errors", "threshold": 0, "window": "1m", "group_by": ["path"]}))
    world.evaluate(0)
    world.control(wall_s=500)
    for number in range(5):
        second = 20 + 10 * number
        world.raw([world.signal(Kind.ERROR, second, path=f"/{number}")], second)
    for source in (*RESULT_SOURCES, *RAW_SOURCES):
        world.put(world.report(source, (), 76, 500))
    assert [kind for kind, _ in world.kinds()] == ["held"]
    assert world.partition.dropped("waiting") == 2
    for source in (*RESULT_SOURCES, *RAW_SOURCES):
        world.put(world.report(source, (), 480, 500))
    kept = [told.group for told in world.told if told.kind == "fired"]
    assert kept == []  # Three ends came after them and are what is left.
    assert [told.kind for told in world.told] == ["held", "released", *["resolved"] * 3]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_is_stored_fits_into_records(restarts: bool) -> None:
    """Many groups with long names are more than one record holds; none of it stays for ever."""
    world = World(
        rule({"metric": "errors", "threshold": 0, "window": "1m", "group_by": ["path"]}),
        rule_of(2, {"metric": "errors", "window": "2m", "group_by": ["path"]}, **ABSENT),
    )
    world.evaluate(0)
    paths = [f"/{number}".ljust(4_000, "x") for number in range(800)]
    world.raw([world.signal(Kind.ERROR, 15, path=path) for path in paths], 20)
    for second in range(20, 190, 10):
        world.evaluate(second)
        assert max(map(len, world.kept.values())) <= ALERT_STATE.max_message_bytes
        if restarts:
            world.restart()
    assert any("+" in key for key in world.kept)
    fired = [told for told in world.told if told.kind == "fired" and not told.rule.id.endswith("2")]
    assert len(fired) == GROUPS_EVALUATED_MAX
    assert sum(told.kind == "resolved" for told in world.told) == GROUPS_EVALUATED_MAX
    assert sum(told.kind == "fired" for told in world.told) == 2 * GROUPS_EVALUATED_MAX
    world.control(wall_s=220, removed=list(world.partition.rules()))
    assert not [key for key in world.kept if "+" in key]


def test_groups_that_are_remembered_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones do not count until others are forgotten, and are counted; the same when read."""
    monkeypatch.setattr(books, "ALIVE_GROUPS_MAX", 3)
    condition = {"metric": "pageviews", "window": "1m", "group_by": ["path"]}
    world = World(rule(condition, condition_type="absence"))
    world.evaluate(0)
    for number in range(5):
        second = 5 + 120 * number
        world.raw([world.signal(Kind.PAGEVIEW, second, path=f"/{number}")], second)
        world.evaluate(second + 100)
        world.restart()
    fired = [told.group for told in world.told if told.kind == "fired"]
    assert fired == [("/0",), ("/1",), ("/2",)]
    world.evaluate(90_000)
    world.restart()
    world.raw([world.signal(Kind.PAGEVIEW, 90_005, path="/9")], 90_005)
    world.evaluate(90_200)
    assert [told.group for told in world.told if told.kind == "fired"][-1] == ("/9",)


def test_what_is_late_is_not_told_to_be_a_group_too_many() -> None:
    """It came after its window had passed."""
    world = World(rule({"metric": "pageviews", "threshold": 0, "window": "1m"}))
    world.evaluate(0)
    world.evaluate(600)
    world.raw([world.signal(Kind.PAGEVIEW, 300, arrived_s=610)], 610)
    world.evaluate(700)
    assert (world.partition.dropped("late"), world.partition.dropped("groups")) == (1, 0)


def test_a_held_rule_that_goes_by_the_other_clock_is_released() -> None:
    """What it asks now is of events, and only the behaviour flow is behind."""
    world = World(rule({"threshold": 0, "window": "1m"}))
    world.evaluate(0)
    for source in RAW_SOURCES:
        behind = msgspec.structs.replace(world.report(source, (), 500), results_ms=0)
        world.put(behind)
    world.control(wall_s=500)
    assert [kind for kind, _ in world.kinds()] == ["held"]
    world.control(rule({"metric": "errors", "threshold": 0, "window": "1m"}), wall_s=501)
    assert [kind for kind, _ in world.kinds()] == ["held", "released"]
    assert len({told.alert_id for told in world.told}) == 1


def test_records_of_the_partition_come_back_as_they_were() -> None:
    """The wire form of reports and controls."""
    from flows.core.alerts.signals import decode_record, encode_record

    world = World()
    report = world.report(RAW_SOURCES[0], views(world, 0, 60), 60)
    control = Control(at(1), (rule(), ABSENCE), ("gone",))
    for record in (report, control):
        assert decode_record(encode_record(record)) == record
    assert isinstance(decode_record(encode_record(report)), Report)
    assert clock("00:01") == 60
