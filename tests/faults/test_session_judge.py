"""The judge of one session: insights that are lost, doubled or changed, and rows that are wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from flows.core.insight import Insight
from tests.faults.events import batch_protobuf, raw_facts
from tests.faults.session_auditor import SETTINGS
from tests.faults.session_judge import judge
from tests.faults.session_log import Arrival, read_arrival
from tests.faults.session_replay import Expectation, Outcome, Replayer
from tests.faults.stores import RAW_TOPIC, Record
from tests.faults.traffic import Told
from tests.faults.visits import SCENES, Visit, VisitMaker

PROJECT = "0b6f0d6e-0000-4000-8000-000000000001"
NOW_MS = 1_790_000_000_000
REPLAYER = Replayer(SETTINGS)
Change = Callable[[Outcome], Outcome]


@dataclass
class Case:
    """A visit, its records, and what must come of it."""

    visit: Visit
    told: Told
    arrivals: list[Arrival]

    @property
    def key(self) -> tuple[str, str]:
        """Of the session."""
        return PROJECT, self.visit.session_id

    def expect(self) -> Expectation:
        """By the reference."""
        return REPLAYER.expect(self.arrivals, NOW_MS)

    def faults(self, found: Outcome) -> list[str]:
        """What the judge says."""
        return judge(self.key, self.told, self.arrivals, self.expect(), found).faults


def case(visit: Visit, *, waited_ms: int = 0, late_from: int = 1 << 30) -> Case:
    """A record an event, received as sent; from `late_from` on all are received a minute later.

    Each is appended `waited_ms` after its receipt.
    """
    told = Told(scripts={(PROJECT, visit.session_id): visit.script})
    arrivals: list[Arrival] = []
    clock_ms = 0
    for place, (sent_s, event) in enumerate(sorted(visit.events, key=lambda pair: pair[0])):
        told.sent[PROJECT, event.event_id] = event
        told.acknowledged[PROJECT, event.event_id] += 1
        received_ms = NOW_MS + int(sent_s * 1000) + (60_000 if place >= late_from else 0)
        value = batch_protobuf([event], 0, 0) + raw_facts(PROJECT, visit.session_id, 1, received_ms)
        record = Record((RAW_TOPIC, 0), place, received_ms + waited_ms, None, value)
        arrival = read_arrival(record, clock_ms)
        assert arrival is not None
        clock_ms = arrival.clock_ms
        arrivals.append(arrival)
    return Case(visit, told, arrivals)


def visits(count: int, seed: int) -> list[Visit]:
    """Made-up visits."""
    maker = VisitMaker(random.Random(seed))
    return [maker.make(NOW_MS, 3.0) for _ in range(count)]


def without(outcome: Outcome, insight: Insight) -> Outcome:
    """The outcome without an insight, which its rows do not count either."""
    left = tuple(one for one in outcome.insights if one.insight_id != insight.insight_id)
    name = insight.insight_type
    rows = outcome.rows
    if name in ("rage_click", "dead_click", "error_click"):
        changes = {f"{name}_count": 0}
        if name != "error_click":
            changes[f"has_{name}"] = False
        rows = tuple(msgspec.structs.replace(row, **changes) for row in rows)
    return Outcome(rows, left)


@pytest.mark.parametrize("visit", visits(4 * len(SCENES), 1), ids=lambda visit: visit.session_id)
def test_every_visit_is_as_its_script_has_it(visit: Visit) -> None:
    """Machine, whole session, recount and script agree; without one insight, that is told."""
    one = case(visit)
    expectation = one.expect()
    assert expectation.is_exact
    (outcome,) = expectation.outcomes
    made = judge(one.key, one.told, one.arrivals, expectation, outcome)
    assert made.faults == []
    assert made.is_scripted
    assert len(outcome.final) == len(visit.finds)
    for insight in outcome.final.values():
        faults = one.faults(without(outcome, insight))
        assert any(f"no {insight.insight_type}" in fault for fault in faults)


def _twice(outcome: Outcome) -> Outcome:
    final = next(iter(outcome.final.values()))
    return Outcome(outcome.rows, (*outcome.insights, final))


def _moved(outcome: Outcome) -> Outcome:
    changed = [
        msgspec.structs.replace(one, details=one.details.replace(":", ": "))
        for one in outcome.insights
    ]
    return Outcome(outcome.rows, tuple(changed))


def _preview_twice(outcome: Outcome) -> Outcome:
    preview = next(one for one in outcome.insights if one.is_provisional)
    return Outcome(outcome.rows, (preview, *outcome.insights))


def _row_lost(outcome: Outcome) -> Outcome:
    return Outcome(outcome.rows[1:], outcome.insights)


def _row_twice(outcome: Outcome) -> Outcome:
    return Outcome((*outcome.rows, outcome.rows[-1]), outcome.insights)


def _clicks_lost(outcome: Outcome) -> Outcome:
    last = msgspec.structs.replace(outcome.rows[-1], click_count=1)
    return Outcome((*outcome.rows[:-1], last), outcome.insights)


def _browser_changed(outcome: Outcome) -> Outcome:
    last = msgspec.structs.replace(outcome.rows[-1], browser="Netscape")
    return Outcome((*outcome.rows[:-1], last), outcome.insights)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_twice, "insights committed twice"),
        (_moved, "not as the reference has it: insights"),
        (_preview_twice, "not as the reference has it: 3 insights, not 2"),
        (_row_lost, "revisions [2"),
        (_row_twice, "revisions [1, 2, 2]"),
        (_clicks_lost, "the row says, and a recount: {'click_count'"),
        (_browser_changed, "not as the reference has it: rows"),
        (lambda _outcome: Outcome(), "there is no row"),
    ],
)
def test_what_is_changed_is_told(change: Change, says: str) -> None:
    """Of a burst of clicks: its insight, its preview, its rows."""
    burst = next(v for v in visits(40, 2) if [name for name, _ in v.finds] == ["rage_click"])
    one = case(burst)
    (outcome,) = one.expect().outcomes
    assert one.faults(outcome) == []
    assert any(fault.startswith(says) for fault in one.faults(change(outcome))), one.faults(
        change(outcome)
    )


def test_what_comes_too_late_is_not_held_to_its_script() -> None:
    """The last events come a minute later: the machine, run over the log, says what is found."""
    turn = next(v for v in visits(40, 3) if [name for name, _ in v.finds] == ["error_click"])
    late = case(turn, late_from=len(turn.events) - 1)
    expectation = late.expect()
    assert expectation.whole is None
    (outcome,) = expectation.outcomes
    made = judge(late.key, late.told, late.arrivals, expectation, outcome)
    assert made.faults == []
    assert not made.is_scripted


def test_only_what_an_allowed_clock_gives_is_allowed() -> None:
    """Records that waited for the broker may be late for the detectors or not, and nothing else."""
    dead = next(v for v in visits(60, 4) if [name for name, _ in v.finds] == ["dead_click"])
    one = case(dead, waited_ms=20_000)
    expectation = one.expect()
    assert not expectation.is_exact
    assert expectation.whole is None
    assert len(expectation.outcomes) > 1
    for outcome in expectation.outcomes:
        assert expectation.fits(outcome)
        assert not expectation.fits(_twice(outcome) if outcome.final else _row_lost(outcome))
