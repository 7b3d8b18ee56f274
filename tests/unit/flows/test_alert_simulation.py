"""A rule over history says what it says live; the chart shows values and the bound."""

from __future__ import annotations

import random
import uuid
from typing import Any

import msgspec
import pytest

from cli.alert_report import question, simulation_lines
from cli.alert_simulation import Firing, SimulationReport, stored_session
from cli.alert_test import sample_of
from flows.core.alerts.baseline import DAY_MS
from flows.core.alerts.chart import text_chart
from flows.core.alerts.metrics import Kind
from flows.core.alerts.signal_makers import BOUNCED, CLOSED, signals_of_session
from flows.core.alerts.simulation import Simulation
from schemas.alert_rules import AlertRule
from tests.alert_worlds import PROJECT, World, at, rule

RULES = [
    rule({"metric": "errors", "threshold": 5, "window": "2m", "group_by": ["path"]}),
    rule({"metric": "error_rate", "threshold": 30, "window": "5m", "min_sessions": 3}),
    rule({"metric": "pageviews", "window": "1m"}, condition_type="absence"),
]


@pytest.mark.parametrize("tried", RULES, ids=lambda one: f"{one.condition_type} {one.metric}")
def test_history_says_what_was_said_live(tried: AlertRule) -> None:
    """The same transitions with the same ids, signals given in any order."""
    chance = random.Random(3)
    live = World(tried, in_force_s=-2_000_000)
    live.evaluate(0)
    batches = []
    for _ in range(400):
        second = chance.choice([chance.uniform(0, 3_600), chance.gauss(1_800, 60)])
        kind = chance.choice([Kind.ACTIVITY, Kind.PAGEVIEW, Kind.ERROR])
        late_s = chance.uniform(0, 10)
        path = chance.choice(["/a", "/b"])
        who = chance.randrange(30)
        batches.append(
            live.signal(kind, second, session_number=who, path=path, arrived_s=second + late_s)
        )
    batches.sort(key=lambda batch: batch.arrived_ms)
    live.raw(batches, 3_620)
    live.evaluate(3_700)
    simulation = Simulation(tried, at(0), at(3_700))
    chance.shuffle(batches)
    for batch in batches:
        simulation.add("any", batch)
    found = simulation.run()
    wanted = [change for change in live.told if change.kind not in ("held", "released")]
    assert [one.transition_id for one in found.transitions] == [one.transition_id for one in wanted]
    assert {change.kind for change in wanted} >= {"fired"}
    assert len(found.values) == 370


def test_groups_of_the_day_before_are_known() -> None:
    """As live: a page that has gone quiet before the period is quiet when it begins."""
    condition = {"metric": "pageviews", "operator": "<", "threshold": 1, "window": "1m"}
    tried = rule(condition | {"group_by": ["path"]})
    simulation = Simulation(tried, at(7_200), at(9_000))
    assert simulation.from_ms == at(7_200) - DAY_MS
    world = World()
    for second in (100, 8_000, 8_030, 8_060):
        simulation.add("any", world.signal(Kind.PAGEVIEW, second, path="/a"))
    found = simulation.run()
    assert found.open_at_start == 1
    kinds = [one.kind for one in found.transitions if one.kind != "still_firing"]
    assert kinds == ["resolved", "fired"]


def test_sessions_of_history_are_judged_when_they_were() -> None:
    """At thirty minutes of age, as the first to close: the stored row is closed from the start."""
    tried = rule({"metric": "bounce_rate", "threshold": 60, "window": "1h", "min_sessions": 3})
    live = World(tried, in_force_s=-2_000_000)
    live.evaluate(0)
    simulation = Simulation(tried, at(0), at(9_000))
    chance = random.Random(5)
    revisions = []
    for number in range(40):
        started_s = chance.uniform(10, 5_000)
        is_bounce = chance.random() < (0.9 if 1_500 < started_s < 3_000 else 0.3)
        ended_s = started_s + (0 if is_bounce else chance.uniform(60, 3_000))
        row = {
            "session_id": str(uuid.UUID(int=number + 1)),
            "started_at_ms": at(started_s),
            "ended_at_ms": at(ended_s),
            "revision": 2,
            "is_closed": True,
            "is_bounce": is_bounce,
            **dict.fromkeys(("entry_path", "browser", "os", "device_type", "country"), ""),
        }
        made = signals_of_session(stored_session(PROJECT, row), number, {Kind.SESSION})
        assert made is not None
        simulation.add("1", made)
        for told_s, value in ((started_s + 6, 4), (ended_s + 1_806, 8 + CLOSED)):
            revisions.append((told_s, number, started_s, value + BOUNCED * is_bounce))
    for told_s, number, started_s, value in sorted(revisions):
        live.evaluate(told_s - 15)
        signal = live.signal(
            Kind.SESSION, started_s, session_number=number, value=value, ident=b"\0",
            arrived_s=told_s,
        )  # fmt: skip
        live.results([signal], told_s)
    live.evaluate(9_000)
    found = simulation.run()
    told = [one for one in found.transitions if one.kind != "still_firing"]
    wanted = [one for one in live.told if one.kind != "still_firing"]
    assert [one.kind for one in told] == [one.kind for one in wanted] == ["fired", "resolved"]
    # What has closed by now counts at a T some seconds ago.
    for one, other in zip(told, wanted, strict=True):
        assert abs(one.at_ms - other.at_ms) <= 20_000


def test_history_begins_with_its_first_signal() -> None:
    """The days before it are not days of nothing, which would make an anomaly of all of it."""
    tried = rule({"metric": "pageviews", "window": "1m"}, condition_type="anomaly")
    world = World()
    simulation = Simulation(tried, at(0), at(3_600))
    for second in range(1_000, 3_600, 5):
        for _ in range(5 if 3_000 < second < 3_060 else 1):
            simulation.add("any", world.signal(Kind.PAGEVIEW, second))
    fired = [change for change in simulation.run().transitions if change.kind == "fired"]
    assert [(change.at_ms - at(0)) // 1_000 for change in fired] == [3_010]


def test_values_before_the_period_are_looked_back_on_and_not_told() -> None:
    """What fired before the period and still holds in it is not a firing of the period."""
    tried = rule({"metric": "errors", "threshold": 0, "window": "10m"})
    world = World()
    simulation = Simulation(tried, at(600), at(1_200))
    simulation.add("any", world.signal(Kind.ERROR, 300))
    found = simulation.run()
    assert [change.kind for change in found.transitions if change.kind == "fired"] == []
    assert found.open_at_start == 1
    assert found.values[0] == (at(610), 1)
    assert found.values[-1] == (at(1_200), 0)


def test_the_chart_shows_values_and_the_bound() -> None:
    """Bars from zero to the largest value; dashes at the bound where no bar is."""
    lines = text_chart([0, 1, 2, 4, 8, 8, None, 0], 4, width=8, height=4)
    assert [line[9:] for line in lines] == [
        "┤    ██",
        "│    ██",
        "┤───███──",
        "│ ▄████",
        "└────────",
    ]
    assert lines[0].strip().startswith("8")
    assert lines[2].strip().startswith("4")


def test_an_empty_chart_has_no_lines_and_many_values_share_columns() -> None:
    """The largest of a column counts."""
    assert text_chart([], None) == []
    lines = text_chart([1.0, 0.0] * 500, None, width=10, height=1)
    assert [line[10:] for line in lines] == ["█" * 10, "─" * 10]
    assert text_chart([None, None], 3.0, height=1) == ["       3 ┤──", "       0 └──"]


def test_the_chart_of_what_falls_shows_where_it_fell() -> None:
    """The smallest of a column counts, or a dip would be hidden by what is around it."""
    lines = text_chart([8, 8, 0, 8, 8, 8, 8, 8], None, is_low=True, width=4, height=1)
    assert lines[0] == "       8 ┤█ ██"


def test_what_fired_is_marked_in_its_column() -> None:
    """Each place in exactly one column, also where a column has more places than another."""
    lines = text_chart([1.0] * 7, None, marked=[0, 3, 6], width=3, height=1)
    assert lines[-1] == "          ▲▲▲"
    for place in range(100):
        (mark,) = text_chart([1.0] * 100, None, marked=[place], width=7)[-1:]
        column = len(mark) - 11
        assert column * 100 // 7 <= place < (column + 1) * 100 // 7


def test_a_report_says_what_was_asked_and_what_came_of_it() -> None:
    """The question in words, values with their units, the end of each alert as it lasted."""
    tried = rule({"metric": "avg_lcp", "operator": "<", "threshold": 900, "group_by": ["path"]})
    firing = Firing(at(100), at(400), {"path": "/a"}, 850.4, 900, "warning", (("/a", 3),), 2, "id")
    values = tuple((at(10 * n), 1_000.0) for n in range(1, 61))
    report = SimulationReport(PROJECT, at(0), at(600), "avg_lcp", 1_234, 0.2, (firing,), values)
    lines = list(simulation_lines(report, tried))
    assert lines[0] == "A rule: avg_lcp < 900 ms in 5m, by path"
    assert lines[-1] == "1 alert; 1,234 signals were evaluated in 0.2 s"
    assert "smallest value of each 10 s, of the group nearest to the bound" in lines[-3]
    assert lines[-5] == " " * 19 + "▲"
    silent = msgspec.structs.replace(
        report, firings=(), values=tuple((at_ms, None) for at_ms, _ in values)
    )
    assert list(simulation_lines(silent, tried))[-2:] == [
        "avg_lcp never had a value: it needs 10 sessions or reports in a window",
        "It would not have fired; 1,234 signals were evaluated in 0.2 s",
    ]
    # One that held all the time is the worst of all, and has fired nowhere in the period.
    always = msgspec.structs.replace(report, firings=(), open_at_start=1)
    assert list(simulation_lines(always, tried))[-2:] == [
        "1 alert had fired before and held when the period began",
        "0 alerts; 1,234 signals were evaluated in 0.2 s",
    ]


@pytest.mark.parametrize(
    ("condition", "fields", "words"),
    [
        ({}, {}, "rage_clicks > 10 in 5m"),
        ({"metric": "revenue", "operator": "<=", "threshold": 99.5, "window": "24h"}, {},
         "revenue <= 99.50 in 24h"),
        ({"metric": "pageviews"}, {"condition_type": "absence"}, "no pageviews in 5m"),
        ({"direction": "both", "filters": {"path": "/a*", "os": "iOS"}},
         {"condition_type": "anomaly"},
         "rage_clicks unusual by 4 steps in 5m, only path /a*, os iOS"),
    ],
)  # fmt: skip
def test_questions_are_told_in_words(
    condition: dict[str, Any], fields: dict[str, Any], words: str
) -> None:
    """So that whoever reads the chart knows what was asked."""
    assert question(rule(condition, **fields)) == words


@pytest.mark.parametrize(
    ("condition", "fields", "value", "bound"),
    [
        ({"operator": ">", "threshold": 10}, {}, 11, 10),
        ({"operator": "<", "threshold": 4_000}, {}, 3_600, 4_000),
        ({"operator": "==", "threshold": 3}, {}, 3, 3),
        ({"metric": "error_rate", "operator": ">", "threshold": 99.5}, {}, 100, 99.5),
        ({}, {"condition_type": "absence"}, 0, 0),
        ({}, {"condition_type": "anomaly"}, 42, 20),
        ({"direction": "down"}, {"condition_type": "anomaly"}, 4, 20),
    ],
)
def test_a_sample_is_one_that_the_rule_could_send(
    condition: dict[str, Any], fields: dict[str, Any], value: float, bound: float
) -> None:
    """Not a value above the bound of a rule that asks for less."""
    sample = sample_of(rule(condition, **fields), at(3))
    assert (sample.value, sample.threshold) == (value, bound)
    assert sample.recent_values[-1] == value
