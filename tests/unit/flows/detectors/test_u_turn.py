"""U-turn: the worked examples U1 to U6 of the rule, and what they leave open."""

from __future__ import annotations

import pytest

from flows.core.detectors.u_turn import UTurn
from tests.session_events import SITE, Script, found, told

TURN = UTurn()


@pytest.mark.parametrize(
    ("views", "turns"),
    [
        pytest.param("0 /a, 5000 /b, 8000 /a", [(8_000, "/b", 3_000)], id="U1"),
        pytest.param("0 /a, 5000 /b, 15000 /a", [(15_000, "/b", 10_000)], id="U2"),
        pytest.param("0 /a, 5000 /b, 15001 /a", [], id="U2-too-long"),
        pytest.param("0 /a, 5000 /b, 6000 /b, 8000 /a", [(8_000, "/b", 3_000)], id="U3"),
        pytest.param(
            "0 /s, 3000 /x, 6000 /s, 9000 /y, 11000 /s",
            [(6_000, "/x", 3_000), (11_000, "/y", 2_000)],
            id="U4",
        ),
        pytest.param("0 /a, 2000 /b, 4000 /a, 6000 /b", [(4_000, "/b", 2_000)], id="U5"),
        pytest.param("0 /a, 5000 /login, 5120 /a", [], id="U6-redirect"),
        pytest.param("0 /a, 1000 /b, 2000 /c, 3000 /a", [], id="U6-round-trip"),
        pytest.param("0 /app#/x, 900 /app#/y, 2000 /app#/x", [(2_000, "/app", 1_100)], id="hash"),
    ],
)
def test_returns(views: str, turns: list[tuple[int, str, int]]) -> None:
    """Each as (time of the return, page left, time away)."""
    script = Script()
    events = []
    for view in views.split(", "):
        at_ms, _, path = view.partition(" ")
        events.append(script.event(int(at_ms), "page_view", path))
    findings = found(TURN, *events)
    assert [(f.at_ms, f.path, f.details["time_away_ms"]) for f in findings] == turns


def test_all_fields() -> None:
    """The page is the one that was left quickly, the anchor the returning view."""
    script = Script()
    views = [
        script.event(at_ms, "page_view", path)
        for at_ms, path in ((0, "/a"), (5_000, "/b"), (8_000, "/a"))
    ]
    (finding,) = found(TURN, *views)
    assert finding.anchor_event_id == views[2].event_id
    assert finding.url == f"{SITE}/b"
    assert finding.severity == "low"
    assert (finding.x, finding.target_selector) == (None, None)
    assert finding.details == {
        "from_url": f"{SITE}/a",
        "to_url": f"{SITE}/b",
        "return_url": f"{SITE}/a",
        "time_away_ms": 3_000,
    }
    assert finding.related_event_ids == tuple(view.event_id for view in views)


def test_returns_are_explained() -> None:
    """Quick, too quick, too late."""
    for back_ms, verdict in (
        (8_000, ("fired", "quick_return")),
        (5_100, ("not_fired", "away_too_short")),
        (20_000, ("not_fired", "away_too_long")),
    ):
        script = Script()
        views = [
            script.event(at_ms, "page_view", path)
            for at_ms, path in ((0, "/a"), (5_000, "/b"), (back_ms, "/a"))
        ]
        assert told(UTurn(explain=True), *views) == [("3", *verdict)]
