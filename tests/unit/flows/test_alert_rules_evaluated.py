"""Rules over signals: the worked examples of the document, each metric, each kind of condition."""

from __future__ import annotations

import pytest

from flows.core.alert_messages import Message, telegram_text, webhook_content
from flows.core.alerts.metrics import Kind
from flows.core.alerts.rule_runs import GROUPS_EVALUATED_MAX
from flows.core.alerts.signal_makers import BOUNCED, CLOSED
from flows.core.alerts.transitions import transition_message
from flows.core.money import hundredths
from schemas.alert_delivery import Kind as Said
from tests.alert_worlds import PROJECT, World, at, clock, rule, session


def rages(world: World, count: int, at_s: float, path: str = "/", first: int = 0) -> None:
    """Rage clicks of as many sessions, that arrive in time."""
    world.results(
        [
            world.signal(
                Kind.RAGE_CLICK, at_s, path=path, session_number=first + n, arrived_s=at_s + 15
            )
            for n in range(count)
        ],
        at_s,
    )


def test_eleven_rage_clicks_fire_once_and_ten_do_not() -> None:
    """M-137: with the path, the sessions and the insights that show it."""
    world = World(rule({"group_by": ["path"]}))
    world.evaluate(0)
    rages(world, 10, 100, "/pay")
    rages(world, 10, 100, "/cart")
    world.evaluate(120)
    assert world.told == []
    rages(world, 1, 125, "/pay", first=20)
    world.evaluate(150)
    (told,) = world.told
    assert (told.kind, told.group, told.value, told.threshold) == ("fired", ("/pay",), 11, 10)
    assert told.at_ms == told.opened_at_ms == at(130)
    assert told.top_paths == (("/pay", 11),)
    assert told.affected_sessions == 11
    assert (len(told.sample_session_ids), len(told.insight_ids)) == (5, 10)
    assert sum(told.recent_values) == 11
    assert told.severity == "warning"


def test_worked_example_of_a_rule_that_fires_twice() -> None:
    """Values 10, 11, 14, 3, 12, 12, 2 at the times of the table: fired and resolved twice."""
    world = World(rule())
    world.evaluate(clock("09:55"))
    for text, count in [
        ("09:59:55", 10), ("10:00:55", 1), ("10:03:55", 13), ("10:08:55", 3), ("10:10:55", 7),
        ("10:11:55", 2), ("10:12:55", 2), ("10:14:55", 8), ("10:16:55", 2),
    ]:  # fmt: skip
        rages(world, count, clock(text))
    world.evaluate(clock("10:25"))
    told = [change for change in world.told if change.kind != "still_firing"]
    assert [(change.kind, change.at_ms, change.value) for change in told] == [
        ("fired", at(clock("10:01")), 11),
        ("resolved", at(clock("10:09")), 3),
        ("fired", at(clock("10:12")), 12),
        ("resolved", at(clock("10:18")), 10),
    ]
    first, second = {change.opened_at_ms: change.alert_id for change in world.told}.values()
    assert first != second
    assert {change.alert_id for change in world.told} == {first, second}


def test_still_firing_is_told_once_a_minute() -> None:
    """The delivery starts again after a cooldown from these."""
    world = World(rule({"window": "10m"}))
    world.evaluate(0)
    rages(world, 11, 10)
    world.evaluate(200)
    assert world.kinds() == [
        ("fired", 10),
        ("still_firing", 70),
        ("still_firing", 130),
        ("still_firing", 190),
    ]
    assert len({told.transition_id for told in world.told}) == 4


def test_share_of_sessions_is_not_a_count_of_errors() -> None:
    """100 sessions, 3 of them with 4 errors each, are 3 percent."""
    world = World(rule({"metric": "error_rate", "threshold": 2.9}))
    world.evaluate(0)
    seen = [world.signal(Kind.ACTIVITY, 30, session_number=n) for n in range(100)]
    errors = [
        world.signal(Kind.ERROR, 31 + n, session_number=number, path="/pay")
        for number in range(3)
        for n in range(4)
    ]
    world.raw(seen + errors, 40)
    world.evaluate(60)
    (told,) = world.told
    assert (told.value, told.affected_sessions, told.top_paths) == (3.0, 3, (("/pay", 12),))


def test_few_sessions_are_not_evaluated() -> None:
    """4 sessions, 1 with an error: 25 percent of nearly nothing."""
    world = World(rule({"metric": "error_rate", "threshold": 5}))
    world.evaluate(0)
    world.raw([world.signal(Kind.ACTIVITY, 30, session_number=n) for n in range(4)], 40)
    world.raw([world.signal(Kind.ERROR, 30)], 40)
    world.evaluate(600)
    assert world.told == []


def test_no_reports_are_not_a_mean_of_zero() -> None:
    """avg_lcp of a page that reports nothing is not below any bound."""
    filters = {"path": "/checkout"}
    world = World(
        rule({"metric": "avg_lcp", "operator": "<", "threshold": 4000, "filters": filters})
    )
    world.evaluate(0)
    world.raw([world.signal(Kind.LCP, 30, session_number=n, value=10) for n in range(20)], 40)
    world.evaluate(600)
    assert world.told == []


def test_absence_fires_when_the_last_view_has_left_the_window() -> None:
    """M-139: last page view at 10:00:00, true at 10:10:00 and not at 10:09:50; nothing arrives."""
    world = World(rule({"metric": "pageviews", "window": "10m"}, condition_type="absence"))
    world.evaluate(clock("09:59"))
    world.raw([world.signal(Kind.PAGEVIEW, clock("10:00:00"))], clock("10:00:01"))
    world.evaluate(clock("10:09:50"))
    assert world.told == []
    world.evaluate(clock("10:10:00"))
    (told,) = world.told
    assert (told.kind, told.value, told.severity) == ("fired", 0, "critical")
    assert told.at_ms == at(clock("10:10:00"))
    world.raw([world.signal(Kind.PAGEVIEW, clock("10:12:03"))], clock("10:12:04"))
    world.evaluate(clock("10:13:00"))
    assert world.kinds()[-1] == ("resolved", clock("10:12:10"))


def test_absence_is_not_told_of_a_project_that_never_lived() -> None:
    """Nor of one that was seen for less than the window."""
    quiet = World(rule({"metric": "pageviews", "window": "10m"}, condition_type="absence"))
    quiet.evaluate(0)
    quiet.evaluate(7200)
    assert quiet.told == []
    young = World(
        rule({"metric": "pageviews", "window": "10m"}, condition_type="absence"), in_force_s=0
    )
    young.evaluate(0)
    young.raw([young.signal(Kind.ACTIVITY, 5)], 6)
    young.evaluate(600)
    assert young.told == []
    young.evaluate(620)
    assert young.kinds() == [("fired", 610)]


def test_absence_by_group_knows_the_groups_of_a_day() -> None:
    """Only the page that went quiet is named."""
    world = World(
        rule(
            {"metric": "pageviews", "window": "1m", "group_by": ["path"]}, condition_type="absence"
        )
    )
    world.evaluate(0)
    for second in range(5, 300, 20):
        paths = ["/a", "/b"] if second < 100 else ["/a"]
        world.raw([world.signal(Kind.PAGEVIEW, second, path=path) for path in paths], second)
    world.evaluate(300)
    assert [(told.kind, told.group) for told in world.told][:1] == [("fired", ("/b",))]
    assert {told.group for told in world.told} == {("/b",)}


@pytest.mark.parametrize(
    ("metric", "kind", "expected"),
    [
        ("pageviews", Kind.PAGEVIEW, 12),
        ("errors", Kind.ERROR, 12),
        ("goals", Kind.GOAL, 12),
        ("purchases", Kind.PURCHASE, 12),
        ("revenue", Kind.PURCHASE, 0.78),
        ("avg_lcp", Kind.LCP, 6.5),
        ("avg_ttfb", Kind.TTFB, 6.5),
        ("sessions", Kind.ACTIVITY, 12),
        ("conversion_rate", Kind.GOAL, 100),
        ("error_rate", Kind.ERROR, 100),
    ],
)
def test_each_metric_of_events_has_a_known_value(metric: str, kind: Kind, expected: float) -> None:
    """M-140: twelve sessions with one signal each, of values 1 to 12."""
    world = World(rule({"metric": metric, "threshold": expected - 0.01}))
    world.evaluate(0)
    signals = [world.signal(kind, 20, session_number=n, value=n + 1) for n in range(12)]
    if metric.endswith("rate"):
        signals += [world.signal(Kind.ACTIVITY, 20, session_number=n) for n in range(12)]
    world.raw(signals, 21)
    world.raw(signals, 22)  # Sent again: changes nothing.
    world.evaluate(30)
    assert [told.value for told in world.told] == [expected]


@pytest.mark.parametrize(
    "kind",
    [
        Kind.RAGE_CLICK,
        Kind.DEAD_CLICK,
        Kind.ERROR_CLICK,
        Kind.THRASHED_CURSOR,
        Kind.U_TURN,
        Kind.SLOW_PAGE,
    ],
)
def test_each_metric_of_insights_counts_its_own(kind: Kind) -> None:
    """M-140: by the time of the insight."""
    world = World(rule({"metric": f"{kind.name.lower()}s", "threshold": 1}))
    world.evaluate(0)
    others = [other for other in Kind if other >= Kind.RAGE_CLICK]
    world.results([world.signal(other, 20, arrived_s=35) for other in [*others, kind]], 21)
    world.evaluate(30)
    assert [told.value for told in world.told] == [2]


@pytest.mark.parametrize("operator", [">", "<"])
def test_pages_of_few_do_not_push_others_out(operator: str) -> None:
    """Two hundred groups are judged: of those that are made of enough, however many others are."""
    condition = {"metric": "error_rate", "operator": operator, "threshold": 50, "window": "1m"}
    world = World(rule(condition | {"group_by": ["path"], "min_sessions": 4}))
    world.evaluate(0)
    said = []
    for number in range(GROUPS_EVALUATED_MAX + 50):
        kind = Kind.ERROR if operator == ">" else Kind.ACTIVITY
        said.append(world.signal(kind, 15, session_number=number, path=f"/tail/{number}"))
    for number in range(5):
        kind = Kind.ERROR if (number < 3) == (operator == ">") else Kind.ACTIVITY
        said.append(world.signal(kind, 15, session_number=number, path="/the-page"))
    world.raw(said, 20)
    world.evaluate(20)
    assert [(told.kind, told.group) for told in world.told] == [("fired", ("/the-page",))]
    assert world.partition.groups_left_out() == 0


def test_bounce_rate_counts_sessions_that_are_over() -> None:
    """M-140: closed ones, and open ones after half an hour; the newest revision counts."""
    world = World(rule({"metric": "bounce_rate", "window": "1h", "threshold": 0, "operator": ">="}))
    world.evaluate(0)

    def row(number: int, flags: int, revision: int = 1, at_s: float = 100) -> None:
        signal = world.signal(
            Kind.SESSION, at_s, session_number=number, value=revision * 4 + flags, arrived_s=at_s
        )
        world.results([signal], at_s)

    for number in range(10):
        row(number, CLOSED | BOUNCED)
    for number in range(10, 20):
        row(number, BOUNCED)
    world.evaluate(150)
    assert [told.value for told in world.told] == [100]
    row(0, CLOSED, revision=3)
    row(0, CLOSED | BOUNCED, revision=2)
    world.evaluate(300)
    assert [told.value for told in world.told][-1] == 90
    world.evaluate(100 + 1800 + 60)
    assert [told.value for told in world.told][-1] == 95


def test_filters_and_groups_of_what_the_session_was_made_with() -> None:
    """An insight does not say its browser: the session's events do."""
    condition = {
        "threshold": 0,
        "group_by": ["browser"],
        "filters": {"path": "/shop*", "os": "iOS"},
    }
    world = World(rule(condition))
    world.evaluate(0)
    for number, (browser, system) in enumerate(
        [("Safari", "iOS"), ("Chrome", "iOS"), ("Edge", "Windows")]
    ):
        dims = ("/start", browser, "Norway", "mobile", system)
        world.raw([world.signal(Kind.ACTIVITY, 5, session_number=number, dims=dims)], 6)
        for path in ("/shop/1", "/about"):
            signal = world.signal(
                Kind.RAGE_CLICK,
                12,
                session_number=number,
                dims=(path, "", "", "", ""),
                arrived_s=27,
            )
            world.results([signal], 20)
    world.evaluate(20)
    assert [(told.group, told.value) for told in world.told] == [(("Chrome",), 1), (("Safari",), 1)]


def test_flat_series_with_one_jump_fires_once() -> None:
    """M-138: two dozen windows of about ten, then one of thirty."""
    world = World(rule({"metric": "pageviews"}, condition_type="anomaly"))
    world.evaluate(0)
    for number, count in enumerate(
        [10, 12, 11, 9, 10, 11, 10, 12, 9, 11, 10, 10, 15, 30, 10, 10, 10]
    ):
        begin = 300 * number + 5
        world.raw([world.signal(Kind.PAGEVIEW, begin) for _ in range(count)], begin)
        world.evaluate(300 * (number + 1))
    told = [change for change in world.told if change.kind == "fired"]
    assert [(change.value, change.at_ms) for change in told] == [(30, at(300 * 13 + 10))]
    assert told[0].threshold == pytest.approx(10 + 4 * 1.4826, abs=2.1)


@pytest.mark.parametrize(
    ("condition", "last", "severity"),
    [
        ({"direction": "down"}, 40, "warning"),  # 6 steps of a tenth below 100.
        ({"direction": "both"}, 40, "warning"),
        ({}, 40, None),  # Less is no alarm unless somebody asks.
        ({"direction": "down"}, 160, None),
        ({"direction": "both"}, 160, "warning"),
        ({}, 180, "critical"),  # 8 steps: twice the sensitivity.
        ({"sensitivity": 9}, 180, None),
        ({"direction": "down"}, 10, "critical"),
        ({"min_value": 200}, 180, None),
    ],
)
def test_an_anomaly_has_a_direction_and_a_severity(
    condition: dict[str, object], last: int, severity: str | None
) -> None:
    """M-138: windows of 100, then one of another number."""
    world = World(rule({"metric": "pageviews"} | condition, condition_type="anomaly"))
    world.evaluate(0)
    for number, count in enumerate([100] * 14 + [last]):
        begin = 300 * number + 5
        world.raw([world.signal(Kind.PAGEVIEW, begin) for _ in range(count)], begin)
        world.evaluate(300 * (number + 1))
    fired = [told.severity for told in world.told if told.kind == "fired"]
    assert fired == ([] if severity is None else [severity])


def test_fewer_than_twelve_windows_are_not_judged() -> None:
    """M-138: ten windows say nothing of what is usual."""
    world = World(rule({"metric": "pageviews"}, condition_type="anomaly"))
    world.evaluate(0)
    for number, count in enumerate([10] * 10 + [500]):
        begin = 300 * number + 5
        world.raw([world.signal(Kind.PAGEVIEW, begin) for _ in range(count)], begin)
        world.evaluate(300 * (number + 1))
    assert world.told == []


def test_daily_cycle_does_not_fire_at_its_peak() -> None:
    """M-138: what is usual at this time of the day is not an anomaly; three times that is."""
    world = World(rule({"metric": "pageviews", "window": "1h"}, condition_type="anomaly"))
    world.evaluate(0)
    for hour in range(24 * 8):
        peak = hour % 24 == 12
        count = 100 + hour % 7 if peak else 10 + hour % 3
        if hour == 24 * 7 + 12:
            count = 300
        begin = hour * 3600 + 5
        world.raw([world.signal(Kind.PAGEVIEW, begin) for _ in range(count)], begin)
        world.evaluate((hour + 1) * 3600)
    fired = [(change.at_ms - at(0)) // 3_600_000 for change in world.told if change.kind == "fired"]
    # Of the first day nobody knows that its peak will come again.
    assert fired == [12, 24 * 7 + 12]


def test_an_edited_bound_keeps_what_is_open_and_a_removed_rule_ends_it() -> None:
    """M-145: the next T is judged by the new bound."""
    world = World(rule())
    world.evaluate(0)
    rages(world, 11, 10)
    world.evaluate(20)
    world.control(rule({"threshold": 20}, updated_at_ms=7), wall_s=20)
    world.evaluate(30)
    assert world.kinds() == [("fired", 10), ("resolved", 30)]
    assert world.told[-1].rule.updated_at_ms == 7
    world.control(rule({"threshold": 5}), wall_s=30)
    world.evaluate(40)
    world.control(wall_s=40, removed=[rule().id])
    assert world.kinds()[2:] == [("fired", 40), ("resolved", 40)]
    assert not any(key.startswith(("rule:", "slice:")) for key in world.kept)


def test_a_question_that_changed_begins_anew() -> None:
    """Other groups: what was open under the old ones is over."""
    world = World(rule())
    world.evaluate(0)
    rages(world, 11, 10, "/a")
    world.evaluate(20)
    world.control(rule({"group_by": ["path"]}), wall_s=20)
    assert world.kinds() == [("fired", 10), ("resolved", 20)]
    rages(world, 11, 30, "/a")
    world.evaluate(60)
    assert [(told.kind, told.group) for told in world.told[2:]] == [("fired", ("/a",))]


def test_severity_is_critical_at_twice_the_bound() -> None:
    """Source: alerting.md, section 3."""
    world = World(rule({"threshold": 5}))
    world.evaluate(0)
    rages(world, 10, 10)
    world.evaluate(20)
    assert [told.severity for told in world.told] == ["critical"]


@pytest.mark.parametrize(
    ("operator", "threshold", "count", "severity"),
    [
        (">", 5, 9, "warning"),
        (">=", 5, 10, "critical"),
        (">", 0, 50, "warning"),  # Twice nothing is nothing.
        ("<", 10, 5, "critical"),
        ("<=", 10, 6, "warning"),
        ("==", 4, 4, "warning"),
    ],
)
def test_severity_by_operator(operator: str, threshold: int, count: int, severity: str) -> None:
    """Twice the bound for what grows, half of it for what falls."""
    world = World(rule({"operator": operator, "threshold": threshold, "window": "1m"}))
    rages(world, count, -5)
    world.evaluate(0)
    assert [told.severity for told in world.told] == [severity]


def test_revenue_is_told_as_it_was_paid() -> None:
    """12.50 and 30 are 42.50, in the verdict and in the message, whatever the currency."""
    world = World(rule({"metric": "revenue", "threshold": 42.49, "window": "1m"}))
    world.evaluate(0)
    paid = [
        world.signal(Kind.PURCHASE, 20, session_number=n, value=hundredths(value))
        for n, value in enumerate([12.5, 30.0])
    ]
    world.raw(paid, 21)
    world.evaluate(30)
    (told,) = world.told
    message = Message(
        Said.FIRED, transition_message(told), told.rule, "row", "Shop", "", told.at_ms
    )
    assert told.value == 42.5
    assert "<b>Value:</b> 42.50 in 1m" in telegram_text(message)
    assert "<b>Threshold:</b> &gt; 42.49" in telegram_text(message)
    assert webhook_content(message)["alert"]["value"] == 42.5


@pytest.mark.parametrize("condition_type", ["threshold", "absence"])
def test_of_too_many_groups_those_that_fell_are_judged(condition_type: str) -> None:
    """250 pages with views and one that has none any more: it is not left out for being small."""
    condition = {
        "metric": "pageviews", "operator": "<", "threshold": 1, "window": "1m",
        "group_by": ["path"],
    }  # fmt: skip
    world = World(rule(condition, condition_type=condition_type))
    world.evaluate(0)
    for second in (5, 45, 85, 125):
        paths = [f"/{number}" for number in range(250)] + (["/quiet"] if second < 60 else [])
        world.raw([world.signal(Kind.PAGEVIEW, second, path=path) for path in paths], second)
    world.evaluate(130)
    assert [(told.kind, told.group) for told in world.told] == [("fired", ("/quiet",))]
    assert world.partition.groups_left_out() == 51


def test_of_too_many_groups_the_largest_are_judged() -> None:
    """Two clicks on one of 250 pages are more than one on each of the others."""
    condition = {"metric": "errors", "threshold": 1, "window": "1m", "group_by": ["path"]}
    world = World(rule(condition))
    world.evaluate(0)
    paths = [*(f"/{number}" for number in range(250)), "/z", "/z"]
    world.raw([world.signal(Kind.ERROR, 5, path=path) for path in paths], 5)
    world.evaluate(10)
    assert [told.group for told in world.told] == [("/z",)]


def test_signals_of_other_projects_are_not_counted() -> None:
    """Tenants never meet."""
    world = World(rule({"threshold": 0}))
    world.evaluate(0)
    other = world.signal(Kind.RAGE_CLICK, 10, arrived_s=25)
    world.results(
        [
            type(other)(
                0, PROJECT[:-1] + "9", session(0), other.arrived_ms, other.dims, other.signals
            )
        ],
        10,
    )
    world.evaluate(60)
    assert world.told == []
