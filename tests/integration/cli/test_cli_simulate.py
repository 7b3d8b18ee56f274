"""Rules tried on events that are stored in a real ClickHouse."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from connectors.clickhouse import insert_arrow
from flows.core.insight import Insight
from flows.core.result_columns import insight_table
from tests.integration.cli.stored_history import NOON_MS, PERIOD, Store, clicks

pytestmark = pytest.mark.integration


def rule_file(folder: Path, condition: dict[str, Any], **fields: Any) -> str:
    """A rule in a file."""
    path = folder / "rule.json"
    rule = {"id": str(uuid.UUID(int=1)), "name": "Tried", "condition": condition, **fields}
    path.write_text(json.dumps(rule))
    return str(path)


def test_a_rule_says_when_it_would_have_fired(store: Store, tmp_path: Path) -> None:
    """Events, with a chart and the alert; the project's own and nobody else's."""
    store.put([clicks(f"s{number}", 2, begin_ms=NOON_MS + 500 * number) for number in range(12)])
    condition = {"metric": "sessions", "operator": ">", "threshold": 10, "window": "5m"}
    path = rule_file(tmp_path, condition, is_active=False)
    found = store.run("alerts", "simulate", path, *PERIOD)
    (firing,) = found["firings"]
    assert firing["fired_at_ms"] == NOON_MS + 10_000
    assert firing["resolved_at_ms"] == NOON_MS + 310_000
    assert (firing["value"], firing["threshold"], found["metric"]) == (12, 10, "sessions")
    assert [NOON_MS + 10_000, 12] in found["values"]
    assert store.run("alerts", "simulate", path, *PERIOD)["firings"] == [firing]
    text = store.said("alerts", "simulate", path, *PERIOD)
    assert "Tried: sessions > 10 in 5m" in text
    assert "1 alert; " in text
    assert "▲" in text
    assert "█" in text
    assert "─" in text


def test_a_session_counts_however_long_ago_it_began(store: Store, tmp_path: Path) -> None:
    """Ids are the client's: one that has events in the period may be days old."""
    names = [f"s{number}" for number in range(11)]
    store.put([clicks(name, 1, begin_ms=NOON_MS - 3 * 86_400_000) for name in names])
    for number, name in enumerate(names):
        again = clicks(name, 2, begin_ms=NOON_MS + 500 * number)
        for event in again["batch"]["events"]:
            event["event_id"] += "-again"
        store.put([again])
    condition = {"metric": "sessions", "operator": ">", "threshold": 10, "window": "5m"}
    found = store.run("alerts", "simulate", rule_file(tmp_path, condition), *PERIOD)
    assert [firing["value"] for firing in found["firings"]] == [11]


def test_insights_are_counted_as_they_are_stored(store: Store, tmp_path: Path) -> None:
    """By their page and time."""
    insights = [
        Insight(
            str(uuid.UUID(int=number)),
            store.project_id,
            store.id_of(f"s{number}"),
            "rage_click",
            NOON_MS + number * 1_000,
            NOON_MS + number * 1_000,
            "",
            "/cart" if number % 2 else "/pay",
            None,
            None,
            None,
            "high",
            1,
            "{}",
            (),
        )
        for number in range(12)
    ]
    insert_arrow(store.client, "insights", insight_table(insights, lambda _: 0), "insights")
    condition = {"metric": "rage_clicks", "threshold": 5, "window": "1m", "group_by": ["path"]}
    found = store.run("alerts", "simulate", rule_file(tmp_path, condition), *PERIOD)
    assert [(one["group"], one["value"]) for one in found["firings"]] == [
        ({"path": "/pay"}, 6),
        ({"path": "/cart"}, 6),
    ]
    bounce = {"metric": "bounce_rate", "threshold": 5, "window": "1h"}
    assert store.run("alerts", "simulate", rule_file(tmp_path, bounce), *PERIOD)["firings"] == []


def test_a_bad_rule_is_told_by_its_key(store: Store, tmp_path: Path) -> None:
    """Before anything is read."""
    for condition, key in (
        ({"metric": "clicks", "window": "5m"}, "condition.metric"),
        ({"metric": "errors", "window": "5m"}, "condition.threshold"),
    ):
        from typer.testing import CliRunner

        from cli.main import app

        path = rule_file(tmp_path, condition)
        result = CliRunner().invoke(app, ["alerts", "simulate", path, *PERIOD], env=store.urls)
        assert result.exit_code == 1
        assert key in result.output + result.stderr
