"""A rule over history says what it says live; the chart shows values and the bound."""

from __future__ import annotations

import random

import pytest

from flows.core.alerts.chart import text_chart
from flows.core.alerts.metrics import Kind
from flows.core.alerts.simulation import Simulation
from schemas.alert_rules import AlertRule
from tests.alert_worlds import World, at, rule

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
    assert found.values[0] == (at(610), 1)
    assert found.values[-1] == (at(1_200), 0)


def test_the_chart_shows_values_and_the_bound() -> None:
    """Bars from zero to the largest value; dashes at the bound where no bar is."""
    lines = text_chart([0, 1, 2, 4, 8, 8, None, 0], 4, width=8, height=4)
    assert [line[9:] for line in lines] == [
        "│    ██  ".replace("│", "┤"),
        "│    ██  ",
        "┤───███──",
        "│ ▄████  ",
    ]
    assert lines[0].strip().startswith("8")
    assert lines[2].strip().startswith("4")


def test_an_empty_chart_has_no_lines_and_many_values_share_columns() -> None:
    """The largest of a column counts."""
    assert text_chart([], None) == []
    lines = text_chart([1.0, 0.0] * 500, None, width=10, height=1)
    assert [line[10:] for line in lines] == ["█" * 10]
    assert text_chart([None, None], 3.0, height=1) == ["       3 ┤──"]
