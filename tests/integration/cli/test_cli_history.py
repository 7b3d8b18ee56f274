"""Backtests, explanations and repairs of sessions that are stored in a real ClickHouse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from cli.main import app
from cli.project_store import connect as connect_projects
from cli.project_store import create_project
from connectors.clickhouse import connect, insert_arrow
from flows.core.behaviour import BehaviourMachine, BehaviourOutput, SessionState
from flows.core.detection_rules import rules_of_document
from flows.core.event_rows import RowBuilder
from flows.core.insight import Finding, Insight
from flows.core.result_columns import insight_table, session_table
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow
from flows.core.session_run import run_session
from schemas.identifiers import session_uuid
from schemas.v1.pipeline_pb2 import RawBatch
from sql.migrate import migrate_up
from tests.scene_files import read_scene, scene_names
from tests.session_records import find_place, live_batches, parse_agent, polled, raw_values
from tests.stack import RunningStack, fresh_databases

pytestmark = pytest.mark.integration
# Old enough that no flow would have these sessions in its hands, and not on a round hour.
NOON_MS = (time.time_ns() // 86_400_000_000_000 - 1) * 86_400_000 + 43_200_000
HOUR_MS = 3_600_000


def at(at_ms: int) -> str:
    """A moment as options take it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


PERIOD = ("--from", at(NOON_MS - HOUR_MS), "--to", at(NOON_MS + HOUR_MS))


@dataclass(frozen=True)
class Store:
    """A project with stored events, and commands on it."""

    urls: dict[str, str]
    project_id: str
    client: Client

    def put(self, requests: list[dict[str, Any]]) -> list[bytes]:
        """Store requests as the storage flow does; returns the raw records."""
        values = []
        for value in raw_values(requests):
            raw = RawBatch.FromString(value)
            raw.project_id = self.project_id
            values.append(raw.SerializeToString())
        chunk = RowBuilder(parse_agent, find_place).build(polled(values))
        assert not chunk.poisons
        insert_arrow(self.client, "events", chunk.table, f"put-{time.time_ns()}")
        return values

    def run(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of a command."""
        result = CliRunner().invoke(app, [*arguments, "--json"], env=self.urls)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def said(self, *arguments: str) -> str:
        """What a command says to a person."""
        result = CliRunner().invoke(app, list(arguments), env={**self.urls, "COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    def id_of(self, session: str) -> str:
        """The stored id of a session."""
        return session_uuid(self.project_id, session)

    def rows(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table, as read with FINAL, in order."""
        query = f"SELECT {columns} FROM {table} FINAL ORDER BY ALL"
        return [tuple(row) for row in self.client.query(query).result_rows]


@pytest.fixture
def store(running_stack: RunningStack) -> Iterator[Store]:
    """Migrated databases with one project and no events."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_projects(databases.database_url) as connection:
            settings = {"retention": {"sessions": 40, "insights": 50}}
            project = create_project(connection, "Shop", settings=settings)
        client = connect(databases.clickhouse_url)
        yield Store({**databases.urls, "NO_COLOR": "1"}, str(project.id), client)
        client.close()


def clicks(session: str, count: int, every_ms: int = 200, begin_ms: int = NOON_MS) -> Any:
    """A request with so many clicks on one button, each of which the page answers."""
    events: list[dict[str, Any]] = []
    page = {"url": "https://shop.example/cart", "path": "/cart"}
    for number in range(count):
        at_ms = begin_ms + number * every_ms
        click = {
            "position": {"x": 400, "y": 300},
            "button": "left",
            "target": {"tag": "button", "selector": "#apply", "text": "Apply"},
        }
        for kind, payload in (("click", click), ("fetch_request", {"url": "/coupon"})):
            event = {"event_type": kind, "timestamp": at_ms + (kind != "click"), "page": page}
            name = f"{session}-{kind}-{number}"
            events.append({**event, "event_id": name, "session_id": session, "payload": payload})
    last_ms = begin_ms + count * every_ms
    return {"received_at_ms": last_ms, "batch": {"sent_at": last_ms, "events": events}}


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


def scene_batches(store: Store) -> dict[str, list[SessionBatch]]:
    """All scenes, stored; their batches by session as the stream gives them."""
    found: dict[str, list[SessionBatch]] = {}
    for number, name in enumerate(scene_names()):
        requests = read_scene(name, NOON_MS - number * 1_000)
        for request in requests:
            last_ms = max(event["timestamp"] for event in request["batch"]["events"])
            request["received_at_ms"] = request["batch"]["sent_at"] = last_ms
        for batch in live_batches(store.put(requests)):
            found.setdefault(batch.session_id, []).append(batch)
    return found


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


def machine_outputs(batches: list[SessionBatch]) -> list[BehaviourOutput]:
    """Rows and insights of one session, from its first event until it is forgotten."""
    machine = BehaviourMachine(lambda _project: rules_of_document({}))
    state: SessionState | None = None
    made: list[BehaviourOutput] = []
    for batch in sorted(batches, key=lambda batch: batch.received_at_ms):
        state, outputs = machine.on_event(state, batch, batch.received_at_ms)
        made += outputs
    while state is not None:
        wake_at_ms = machine.wake_at_ms(state)
        assert wake_at_ms is not None
        state, outputs = machine.on_time(state, wake_at_ms)
        made += outputs
    return made


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
