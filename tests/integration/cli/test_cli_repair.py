"""Repairs of sessions that are stored in a real ClickHouse."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.clickhouse import insert_arrow
from flows.core.insight import Insight
from flows.core.result_columns import insight_table, session_table
from flows.core.session_row import SessionRow
from tests.integration.cli.stored_history import (
    HOUR_MS,
    NOON_MS,
    PERIOD,
    Store,
    at,
    clicks,
    machine_outputs,
    scene_batches,
)

pytestmark = pytest.mark.integration


def test_repair_writes_what_is_missing_and_wrong_and_then_nothing(store: Store) -> None:
    """Rows and insights come back as the events say, under the next revision and the same ids."""
    store.put([clicks("five", 5), clicks("two", 2), clicks("six", 6)])
    trial = store.run("sessions", "repair", "--dry-run", *PERIOD)
    assert (trial["repaired"], trial["rows_missing"]) == (3, 3)
    assert store.rows("session_id", "sessions") == []
    first = store.run("sessions", "repair", *PERIOD)
    assert (first["rows_missing"], first["insights_missing"]) == (3, {"rage_click": 2})
    rows = store.rows("* EXCEPT (ingested_at)", "sessions")
    insights = store.rows("* EXCEPT (ingested_at)", "insights")
    assert (len(rows), len(insights)) == (3, 2)
    assert set(store.rows("retain_days", "sessions")) == {(40,)}
    assert set(store.rows("retain_days", "insights")) == {(50,)}
    again = store.run("sessions", "repair", *PERIOD)
    assert (again["repaired"], again["right"]) == (0, 3)
    assert store.rows("* EXCEPT (ingested_at)", "sessions") == rows

    five = store.id_of("five")
    store.client.command(
        "INSERT INTO sessions SELECT * REPLACE (revision + 4 AS revision, event_count - 2 AS "
        "event_count, ended_at - 1000 AS ended_at, false AS is_closed, true AS has_replay) "
        "FROM sessions FINAL WHERE session_id = toUUID({id:String})",
        parameters={"id": five},
    )
    store.client.command(
        "ALTER TABLE insights DELETE WHERE session_id = toUUID({id:String}) "
        "SETTINGS mutations_sync = 2",
        parameters={"id": five},
    )
    assert len(store.rows("insight_id", "insights")) == 1
    repaired = store.run("sessions", "repair", *PERIOD)
    assert repaired["session_ids"] == [five]
    assert repaired["rows_wrong"] == 1
    assert set(repaired["wrong_columns"]) >= {"event_count", "ended_at_ms", "is_closed"}
    assert repaired["insights_missing"] == {"rage_click": 1}
    revisions = dict(store.rows("toString(session_id), revision", "sessions"))
    assert revisions == {five: 6, store.id_of("two"): 1, store.id_of("six"): 1}
    same = "* EXCEPT (ingested_at, revision, has_replay)"
    assert store.rows(same, "sessions") == _without(rows, store, same)
    assert store.rows("* EXCEPT (ingested_at)", "insights") == insights
    assert store.run("sessions", "repair", *PERIOD)["repaired"] == 0


def _without(rows: list[Any], store: Store, columns: str) -> list[Any]:
    names = store.client.query("SELECT * EXCEPT (ingested_at) FROM sessions LIMIT 0").column_names
    kept = store.client.query(f"SELECT {columns} FROM sessions LIMIT 0").column_names
    return [tuple(row[names.index(name)] for name in kept) for row in rows]


def test_repair_finds_nothing_to_do_after_the_flow(store: Store) -> None:
    """What the machine of the flow writes of recorded scenes is what their events say."""
    rows: dict[str, SessionRow] = {}
    insights: list[Insight] = []
    for batches in scene_batches(store).values():
        for output in machine_outputs(batches):
            if isinstance(output, SessionRow):
                rows[output.session_id] = output
            else:
                insights.append(output)
    insert_arrow(store.client, "sessions", session_table(list(rows.values())), "rows")
    insert_arrow(store.client, "insights", insight_table(insights), "insights")
    found = store.run("sessions", "repair", "--from", "3d", "--dry-run")
    assert (found["wrong_columns"], found["insights_missing"]) == ({}, {})
    assert found["right"] == found["sessions"] == len(rows) >= 30
    assert len(insights) >= 30


def test_a_detector_of_ones_own_is_explained_and_repaired(store: Store) -> None:
    """With the setting, its insights are told and written like those of the built-in ones."""
    page = {"url": "https://shop.example/cart", "path": "/cart"}
    errors = [
        {
            "event_id": f"e{number}",
            "session_id": "refused",
            "event_type": "form_error",
            "timestamp": NOON_MS + number,
            "page": page,
        }
        for number in range(3)
    ]
    store.put([{"received_at_ms": NOON_MS + 9, "batch": {"sent_at": 0, "events": errors}}])
    store.urls["DETECTORS_DIR"] = "samples/detectors"
    told = store.run("explain", "refused")
    assert [insight["insight_type"] for insight in told["insights"]] == ["form_struggle"]
    assert told["events"][0]["verdicts"][0]["outcome"] == "fired"
    repaired = store.run("sessions", "repair", *PERIOD)
    assert repaired["insights_missing"] == {"form_struggle": 1}
    assert store.rows("insight_type, severity, detector_version", "insights") == [
        ("form_struggle", "medium", "1")
    ]
    assert store.run("sessions", "repair", *PERIOD)["repaired"] == 0


def test_repair_leaves_a_session_alone_that_may_go_on(store: Store) -> None:
    """One that got an event lately is the flow's."""
    now_ms = time.time_ns() // 1_000_000
    store.put([clicks("now", 5, begin_ms=now_ms - 60_000)])
    found = store.run("sessions", "repair")
    assert (found["sessions"], found["skipped_open"], found["repaired"]) == (1, 1, 0)
    assert store.rows("session_id", "sessions") == []


DAY_MS = 24 * HOUR_MS


def around(at_ms: int) -> Sequence[str]:
    """The hour before and after a moment, as a period."""
    return "--from", at(at_ms - HOUR_MS), "--to", at(at_ms + HOUR_MS)


def with_late_events(store: Store) -> tuple[int, int]:
    """A session with five clicks, and one three days later; when both were."""
    begin_ms = NOON_MS - 4 * DAY_MS
    store.put([clicks("long", 5, begin_ms=begin_ms)])
    late = clicks("long", 1, begin_ms=begin_ms + 3 * DAY_MS)
    for event in late["batch"]["events"]:
        event["event_id"] += "-late"
    store.put([late])
    return begin_ms, begin_ms + 3 * DAY_MS


@pytest.mark.parametrize("is_late_day_first", [True, False])
def test_a_session_over_days_is_the_same_from_each_of_them(
    store: Store, is_late_day_first: bool
) -> None:
    """All its events are read, whichever of its days is asked for; the second finds nothing."""
    days = with_late_events(store)
    first, second = reversed(days) if is_late_day_first else days
    assert store.run("sessions", "repair", *around(first))["rows_missing"] == 1
    row = ("event_count", "toUnixTimestamp64Milli(started_at)", "duration_ms", "rage_click_count")
    whole = store.rows(", ".join(row), "sessions")
    assert whole == [(12, days[0], 3 * DAY_MS + 1, 1)]
    again = store.run("sessions", "repair", *around(second))
    assert (again["sessions"], again["events"], again["right"]) == (1, 12, 1)
    assert store.rows(", ".join(row), "sessions") == whole
    # Between both it has no event, and to a backtest it is one of the day on which it began.
    assert store.run("sessions", "repair", *around(days[0] + DAY_MS))["sessions"] == 0
    rule = ("backtest", "--set", "rage_click.min_clicks=3")
    assert [store.run(*rule, *around(day))["sessions"] for day in days] == [1, 0]


def test_a_row_of_late_events_alone_is_mended(store: Store) -> None:
    """The flow had forgotten the session: its row knows only what came last."""
    _, late_ms = with_late_events(store)
    store.run("sessions", "repair", *around(late_ms))
    store.client.command(
        "INSERT INTO sessions SELECT * REPLACE (revision + 1 AS revision, 2 AS event_count, "
        "ended_at AS started_at, 0 AS duration_ms) FROM sessions FINAL"
    )
    assert store.run("sessions", "repair", *around(late_ms))["rows_wrong"] == 1
    assert store.rows("event_count, duration_ms", "sessions") == [(12, 3 * DAY_MS + 1)]
