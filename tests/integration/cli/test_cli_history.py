"""Backtests and explanations of sessions that are stored in a real ClickHouse."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from flows.core.detection_rules import rules_of_document
from flows.core.insight import Finding
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session
from tests.integration.cli.stored_history import (
    HOUR_MS,
    NOON_MS,
    PERIOD,
    Store,
    clicks,
    scene_batches,
)

pytestmark = pytest.mark.integration


def test_a_milder_rule_fires_for_exactly_the_sessions_it_says(store: Store) -> None:
    """5 -> 3 clicks: who fires under both, who newly; sessions that began in the period."""
    store.put([clicks(f"burst{count}", count) for count in (2, 3, 4, 5, 6)])
    store.put([clicks("slow4", 4, 1_000), clicks("slower4", 4, 1_001)])
    store.put([clicks("before", 5, begin_ms=NOON_MS - HOUR_MS - 1)])
    # Begins in the period's last moment: its later clicks belong to it all the same.
    store.put([clicks("across", 5, begin_ms=NOON_MS + HOUR_MS - 1)])
    found = store.run("backtest", "--set", "rage_click.min_clicks=3", *PERIOD)
    (rage,) = found["types"]
    assert rage["insight_type"] == "rage_click"
    ids = {side: sorted(sessions) for side, sessions in rage["session_ids"].items()}
    assert ids == {
        "both": sorted(map(store.id_of, ("burst5", "burst6", "across"))),
        "only_old": [],
        "only_new": sorted(map(store.id_of, ("burst3", "burst4", "slow4"))),
    }
    assert rage["sessions"] == {"both": 3, "only_old": 0, "only_new": 3}
    assert rage["by_page"] == [{"path": "/cart", "insights": rage["insights"]}]
    assert [day["day_ms"] % 86_400_000 for day in rage["by_day"]] == [0]
    assert found["changed"] == {"rage_click.min_clicks": [5, 3]}
    back = store.run("backtest", "--set", "rage_click.min_clicks=6", *PERIOD)["types"][0]
    assert back["session_ids"]["only_old"] == sorted(map(store.id_of, ("burst5", "across")))
    text = store.said("backtest", "--set", "rage_click.min_clicks=3", *PERIOD)
    assert "rage_click.min_clicks: 5 -> 3" in text
    assert store.id_of("burst4") in text


def scene_events(store: Store) -> dict[str, list[SessionEvent]]:
    """The events of all scenes, which are stored, by session."""
    return {
        session_id: [event for batch in batches for event in batch.events]
        for session_id, batches in scene_batches(store).items()
    }


def test_recorded_scenes_give_the_same_from_history(store: Store) -> None:
    """A backtest's sides are those of running both rules over the events as they came."""
    events = scene_events(store)
    changes = {"rage_click": {"min_clicks": 3}, "dead_click": {"observation_window_ms": 3_000}}
    sides: dict[str, dict[str, list[str]]] = {}
    for session_id, made in events.items():
        old = fired({}, made)
        new = fired({"insights": changes}, made)
        for name in ("rage_click", "dead_click"):
            side = ("", "only_old", "only_new", "both")[(name in old) + 2 * (name in new)]
            if side:
                sides.setdefault(name, {}).setdefault(side, []).append(session_id)
    found = store.run(
        "backtest",
        *("--from", "3d"),
        "--set",
        "rage_click.min_clicks=3",
        "--set",
        "dead_click.observation_window_ms=3000",
    )
    assert found["sessions"] == len(events)
    for compared in found["types"]:
        wanted = sides.get(compared["insight_type"], {})
        for side in ("both", "only_old", "only_new"):
            assert compared["session_ids"][side] == sorted(wanted.get(side, [])), side
    assert sides["rage_click"]["both"]
    assert sides["rage_click"]["only_new"]


def fired(document: dict[str, Any], events: list[SessionEvent]) -> set[str]:
    """Types that a session's events make."""
    made = run_session(rules_of_document(document).detectors(), events)
    return {item.insight_type for item in made if isinstance(item, Finding)}


def test_explain_tells_why_a_burst_of_four_did_not_fire(store: Store) -> None:
    """Measured against the limit, with the clicks that were near; and why one of five did."""
    store.put([clicks("four", 4), clicks("five", 5)])
    found = store.run("explain", "four")
    assert found["insights"] == []
    assert len(found["events"]) == 4
    last = {verdict["insight_type"]: verdict for verdict in found["events"][-1]["verdicts"]}
    rage = last["rage_click"]
    assert (rage["outcome"], rage["reason"]) == ("not_fired", "too_few_clicks")
    assert (rage["measured"]["clicks"], rage["limits"]["clicks"]) == (4, 5)
    assert len(rage["evidence"]) == 4
    assert set(rage["evidence"]) <= set(found["evidence"])
    assert last["dead_click"]["outcome"] == "not_fired"
    five = store.run("explain", "five", "--project", "shop")
    (insight,) = five["insights"]
    assert insight["insight_type"] == "rage_click"
    one = store.run("explain", "five", insight["insight_id"])
    assert len(one["events"]) == 5
    click = store.run("explain", "five", insight["anchor_event_id"])
    assert [told["event"]["event_id"] for told in click["events"]] == [insight["anchor_event_id"]]
    assert store.run("explain", "five", "five-click-0") == click
    assert store.run("explain", store.id_of("five").upper(), insight["anchor_event_id"]) == click
    text = store.said("explain", "four")
    assert "rage_click: not fired (too few clicks)" in text
    assert "clicks: 4 (limit 5)" in text


def test_what_cannot_be_explained_is_told(store: Store) -> None:
    """A session that is not stored, an event that is not in it, a project that is not there."""
    store.put([clicks("one", 1)])
    for arguments, said in (
        (["explain", "nobody"], "no event of session nobody"),
        (["explain", "one", "x"], "no event of the session"),
        (["explain", "one", "--project", "nope"], "gosight projects list"),
    ):
        result = CliRunner().invoke(app, arguments, env=store.urls)
        assert result.exit_code == 1
        assert said in " ".join(result.output.split())
