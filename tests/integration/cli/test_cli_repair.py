"""Repairs of sessions that are stored in a real ClickHouse."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.project_store import connect as connect_projects
from connectors.clickhouse import insert_arrow
from flows.core.insight import Insight
from flows.core.result_columns import insight_table, session_table
from flows.core.session_row import SessionRow
from schemas.erasure import session_hash
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
    (insight,) = told["insights"]
    store.urls["DETECTORS_DIR"] = ""
    result = CliRunner().invoke(app, ["explain", "refused", insight["insight_id"]], env=store.urls)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "made by form_struggle, which is not loaded here: set DETECTORS_DIR" in said


def test_repair_leaves_a_session_alone_that_may_go_on(store: Store) -> None:
    """One that got an event lately is the flow's."""
    now_ms = time.time_ns() // 1_000_000
    store.put([clicks("now", 5, begin_ms=now_ms - 60_000)])
    found = store.run("sessions", "repair")
    assert (found["sessions"], found["skipped_open"], found["repaired"]) == (1, 1, 0)
    assert store.rows("session_id", "sessions") == []


DAY_MS = 24 * HOUR_MS
# Of rows, what a repair writes; each try of it is another revision.
SAID = "* EXCEPT (ingested_at, revision)"


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


def test_a_session_with_too_many_events_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its first events say is not what its row has to say; the report counts it."""
    store.put([clicks("busy", 6), clicks("calm", 5)])
    store.run("sessions", "repair", *PERIOD)
    rows = store.rows(SAID, "sessions")
    # Ten events of both sessions, of which the second has just so many.
    monkeypatch.setattr("flows.history.SESSION_EVENTS_MAX", 10)
    found = store.run("sessions", "repair", *PERIOD)
    assert (found["skipped_cut"], found["right"], found["repaired"]) == (1, 1, 0)
    assert store.rows(SAID, "sessions") == rows
    assert "1 left alone: more than 200,000 events" in store.said("sessions", "repair", *PERIOD)


def test_a_row_that_knows_more_than_is_stored_is_left_alone(store: Store) -> None:
    """Events of its first day have expired, or those of its last one are not stored yet."""
    for table_end, session in (("<", "expired"), (">", "late")):
        begin_ms = NOON_MS - 4 * DAY_MS
        both = [clicks(session, 5, begin_ms=begin_ms + day * DAY_MS) for day in (0, 2)]
        for event in both[1]["batch"]["events"]:
            event["event_id"] += "-second"
        store.put(both)
        store.run("sessions", "repair", *around(begin_ms))
        rows = store.rows(SAID, "sessions")
        insights = store.rows("*", "insights")
        store.client.command(
            f"ALTER TABLE events DELETE WHERE session_id = toUUID({{id:String}}) AND event_date "
            f"{table_end} toDate(fromUnixTimestamp64Milli({{day:Int64}}, 'UTC')) "
            "SETTINGS mutations_sync = 2",
            parameters={"id": store.id_of(session), "day": begin_ms + DAY_MS},
        )
        kept_ms = begin_ms + 2 * DAY_MS if table_end == "<" else begin_ms
        found = store.run("sessions", "repair", *around(kept_ms))
        assert (found["skipped_gone"], found["repaired"]) == (1, 0), session
        assert store.rows(SAID, "sessions") == rows
        assert store.rows("*", "insights") == insights


def test_what_is_past_its_retention_is_not_written_again(store: Store) -> None:
    """Rows would expire at once, and be missing again the next time."""
    store.put([clicks("old", 5, begin_ms=NOON_MS - 40 * DAY_MS), clicks("five", 5)])
    found = store.run("sessions", "repair", "--from", "60d")
    assert (found["sessions"], found["skipped_gone"], found["repaired"]) == (2, 1, 1)
    assert store.rows("toString(session_id)", "sessions") == [(store.id_of("five"),)]


def test_an_erased_session_stays_erased(store: Store) -> None:
    """Its events may have been read just before they went, or be another visitor's."""
    store.put([clicks("five", 5), clicks("six", 6)])
    salt = os.urandom(32)
    with connect_projects(store.urls["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO erasure_salts VALUES (%s, %s)", (store.project_id, salt))
        connection.execute(
            "INSERT INTO erased_ids VALUES (%s, 'session', %s, now())",
            (store.project_id, session_hash(salt, store.id_of("five"))),
        )
    for options in (("--dry-run",), (), ()):
        found = store.run("sessions", "repair", *options, *PERIOD)
        assert found["skipped_erased"] == 1
    assert store.rows("toString(session_id)", "sessions") == [(store.id_of("six"),)]
    assert store.rows("toString(session_id)", "insights") == [(store.id_of("six"),)]


def test_what_was_stored_lately_may_go_on(store: Store) -> None:
    """A gateway's clock is behind, or storage is: its receipt says less than the store's clock."""
    store.put([clicks("behind", 5)], stored_now=True)
    found = store.run("sessions", "repair", *PERIOD)
    assert (found["skipped_open"], found["repaired"]) == (1, 0)
    assert store.rows("session_id", "sessions") == []


def test_insights_of_a_detector_that_is_not_here_stay_and_count(store: Store) -> None:
    """The command may run where the folder of detectors is not."""
    store.put([clicks("five", 5)])
    store.run("sessions", "repair", *PERIOD)
    store.client.command(
        "INSERT INTO insights SELECT * REPLACE (generateUUIDv4() AS insight_id, "
        "'form_struggle' AS insight_type) FROM insights FINAL"
    )
    rows = store.rows("*", "sessions")
    assert store.run("sessions", "repair", *PERIOD)["right"] == 1
    assert store.rows("*", "sessions") == rows


def test_what_an_older_rule_found_is_not_found_a_second_time(store: Store) -> None:
    """An insight has another id under another version of its rule, but the same evidence."""
    store.put([clicks("five", 5)])
    store.run("sessions", "repair", *PERIOD)
    store.client.command(
        "INSERT INTO insights SELECT * REPLACE (generateUUIDv4() AS insight_id, "
        "'0' AS detector_version) FROM insights FINAL"
    )
    store.client.command(
        "ALTER TABLE insights DELETE WHERE detector_version != '0' SETTINGS mutations_sync = 2"
    )
    found = store.run("sessions", "repair", *PERIOD)
    assert found["insights_missing"] == {}
    assert store.rows("rage_click_count", "sessions") == [(1,)]
    assert store.run("sessions", "repair", *PERIOD)["right"] == 1
