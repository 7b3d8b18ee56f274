"""Totals that are kept equal a recount of the window, through late signals and restores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from flows.core.alerts.baseline import DAY_MS, SAMPLES_MIN, Baseline, usual_of
from flows.core.alerts.metrics import METRIC_BY_NAME, Kind, Shape
from flows.core.alerts.series import BOUNCE_AGE_SLICES, new_series
from flows.core.alerts.signal_makers import BOUNCED, CLOSED
from flows.core.alerts.windows import GROUPS_MAX, Group

WINDOW = 12
SLICES = 80


class Signal(NamedTuple):
    """One signal, in slice `at`, that is read when T is `top`."""

    at: int
    top: int
    group: Group
    kind: Kind
    value: int
    session: bytes
    ident: bytes


def drawn(metric: str, chance: random.Random) -> list[Signal]:
    """Signals up to two slices ahead of T and up to ten late."""
    kinds = sorted(METRIC_BY_NAME[metric].taken)
    found = []
    for number in range(400):
        at = chance.randint(5, SLICES)
        kind = chance.choice(kinds)
        value = chance.randint(1, 9)
        session = bytes([chance.randrange(12)])
        if kind is Kind.SESSION:
            # Its begin stays; revisions grow.
            at = 5 + 6 * session[0]
            value = (number + 1) * 4 + chance.randrange(4)
        top = max(1, at + chance.choice([-2, -1, 0, 0, 1, 3, 10]))
        group = (chance.choice("ab"),) if kind is not Kind.SESSION else ("ab"[session[0] % 2],)
        ident = bytes([chance.randrange(40)]) if kind in (Kind.LCP, Kind.TTFB) else b""
        found.append(Signal(at, top, group, kind, value, session, ident))
    return sorted(found, key=lambda signal: signal.top)


def recount(metric: str, signals: Sequence[Signal], group: Group, top: int) -> Any:
    """The value by its definition; `signals` are those that were read."""
    shape = METRIC_BY_NAME[metric].shape
    own = [s for s in signals if s.group == group and top - WINDOW < s.at <= top]
    if shape is Shape.COUNT:
        return len(own)
    if shape is Shape.SUM:
        return sum(s.value for s in own) / 100
    sessions = {s.session for s in own}
    if shape is Shape.DISTINCT:
        return len(sessions)
    if shape is Shape.SHARE:
        hits = {s.session for s in own if s.kind in METRIC_BY_NAME[metric].kinds}
        return 100 * len(hits) / len(sessions) if sessions else None
    if shape is Shape.BOUNCES:
        newest: dict[bytes, Signal] = {}
        for s in own:
            if s.session not in newest or s.value > newest[s.session].value:
                newest[s.session] = s
        over = [
            s.value & BOUNCED
            for s in newest.values()
            if s.value & CLOSED or s.at <= top - BOUNCE_AGE_SLICES
        ]
        return 100 * sum(over) / len(over) if over else None
    # Of a page view the largest report that is not after T, where its first one is.
    views: dict[bytes, list[Signal]] = {}
    for s in signals:
        if s.group == group and s.at <= top:
            views.setdefault(s.ident, []).append(s)
    found = [
        max(s.value for s in view)
        for view in views.values()
        if min(v.at for v in view) > top - WINDOW
    ]
    return sum(found) / len(found) if found else None


@pytest.mark.parametrize("restores", [False, True])
@pytest.mark.parametrize("metric", sorted(METRIC_BY_NAME))
def test_totals_equal_a_recount(metric: str, restores: bool) -> None:
    """At each T, for each group."""
    for seed in range(3):
        chance = random.Random(seed)
        signals = drawn(metric, chance)
        if METRIC_BY_NAME[metric].shape is Shape.MEAN:
            # A view that left the window and comes again is another one: not here.
            signals = [s for s in signals if s.at % 8 < 3]
            signals = [s._replace(ident=s.ident + bytes([s.at // 8])) for s in signals]
        series = new_series(metric, WINDOW)
        kept: dict[int, bytes] = {}
        read: list[Signal] = []
        for top in range(1, SLICES + WINDOW + 2):
            for s in [s for s in signals if s.top == top]:
                if s.at > series.top - WINDOW:
                    read.append(s)
                series.add(s.at, s.group, s.kind, s.value, s.session, "/", s.ident)
            series.advance(top)
            for group in (("a",), ("b",)):
                value, _ = series.measure(group)
                assert value == recount(metric, read, group, top), (seed, top, group)
                parts = series.parts(group)
                if METRIC_BY_NAME[metric].shape is Shape.COUNT:
                    assert sum(parts) == value
            if restores and chance.random() < 0.3:
                kept = {
                    at: msgspec.msgpack.encode(series.dump(at)) for at in range(top - 11, top + 4)
                }
                series = new_series(metric, WINDOW)
                for at, cells in kept.items():
                    series.load(at, msgspec.msgpack.decode(cells, strict=False))
                series.advance(top)
        assert not list(series.groups())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_that_is_made_up_can_be_stored(sign: int) -> None:
    """It stays where 64 bits end, and is gone with its slice."""
    series = new_series("revenue", WINDOW)
    series.advance(1)
    for _ in range(12_000):
        series.add(1, (), Kind.PURCHASE, sign * 10**15, b"s", "/", b"")
    value, count = series.measure(())
    assert value == sign * 2**62 / 100
    assert count
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(series.dump(1)))
    series.add(2, (), Kind.PURCHASE, 4_900, b"s", "/", b"")
    series.advance(WINDOW + 1)
    assert series.measure(())[0] == 49


@pytest.mark.parametrize("ahead", [0, 2])
def test_groups_have_a_bound(ahead: int) -> None:
    """Signals of further ones do not count, and say so; most come before T has reached them."""
    series = new_series("pageviews", WINDOW)
    series.advance(1)
    at = 1 + ahead
    taken = [
        series.add(at, (str(n),), Kind.PAGEVIEW, 0, b"s", "/", b"") for n in range(GROUPS_MAX + 5)
    ]
    assert taken.count(False) == 5
    assert series.add(at, ("3",), Kind.PAGEVIEW, 0, b"s", "/", b"")
    series.advance(at)
    assert len(list(series.groups())) == GROUPS_MAX
    again = new_series("pageviews", WINDOW)
    again.load(at, series.dump(at))
    again.advance(at)
    for one in (series, again):
        assert not one.add(at + 1, ("new",), Kind.PAGEVIEW, 0, b"s", "/", b"")
        one.advance(at + WINDOW)
        assert one.add(at + WINDOW, ("new",), Kind.PAGEVIEW, 0, b"s", "/", b"")


def test_worked_example_of_the_usual() -> None:
    """Source: alerting.md, section 4: median 10, scale 1.4826, bound 15.93."""
    usual = usual_of([10, 12, 11, 9, 10, 11, 10, 12, 9, 11, 10, 10])
    assert usual is not None
    assert (usual.middle, round(usual.scale, 4)) == (10, 1.4826)
    assert usual.score(15) < 4 <= usual.score(16)
    assert usual_of([1.0] * (SAMPLES_MIN - 1)) is None
    flat = usual_of([100.0] * SAMPLES_MIN)
    assert flat is not None
    assert flat.scale == 10  # A tenth, not nothing.


def test_values_are_remembered_for_a_week() -> None:
    """And what is older is gone, also from what is stored."""
    baseline = Baseline(3_600_000)
    for hour in range(24 * 9):
        baseline.note(hour * 3_600_000, float(hour % 24))
    assert min(baseline.values) >= DAY_MS
    at_ms = 24 * 9 * 3_600_000
    days = baseline.by_day()
    assert sorted(days) == list(range(1, 9))
    # Midnight, and its neighbours, on seven days.
    assert {one.middle for one in baseline.usual(at_ms)} == {1, 0}
    assert len(baseline.usual(at_ms + 60_000)) == 3
