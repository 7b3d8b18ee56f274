"""Explanations and backtests over HTTP: the answers of the command, for the project's own data."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cli.main import app
from connectors.clickhouse import connect, insert_arrow
from flows.core.result_columns import session_table
from schemas.identifiers import event_uuid, session_uuid
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration


async def said_by_the_command(shop: SceneShop, *arguments: str) -> Any:
    """The JSON of a command."""
    result = await asyncio.to_thread(
        CliRunner().invoke,
        app,
        [*arguments, "--json", "--project", shop.scenes.project_id],
        env=shop.databases.urls,
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_session_is_explained_as_by_the_command(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """The whole session, one event of it, and one insight."""
    insight = next(one for one in reader.scenes.insights if one.insight_type == "rage_click")
    whole = await reader.get(f"sessions/{insight.session_id}/explain")
    assert whole == await said_by_the_command(scene_shop, "explain", insight.session_id)
    assert insight.insight_id in {found["insight_id"] for found in whole["insights"]}
    click = next(told["event"] for told in whole["events"] if told["event"]["kind"] == "click")
    for event in (insight.insight_id, click["event_id"]):
        one = await reader.get(f"sessions/{insight.session_id}/explain", event=event)
        assert one == await said_by_the_command(scene_shop, "explain", insight.session_id, event)


async def test_what_cannot_be_explained_is_not_found(reader: Reader, scene_shop: SceneShop) -> None:
    """An unknown session, an unknown event, words that look like options, another project."""
    session = reader.scenes.sessions[0].session_id
    assert (await reader.ask(f"sessions/{uuid4()}/explain"))[0] == 404
    for event in (str(uuid4()), "--data=/etc", "-h", "; ls"):
        status, document = await reader.ask(f"sessions/{session}/explain", {"event": event})
        assert (status, document["error"]["code"]) == (404, "NOT_FOUND"), document
    status, _ = await reader.ask(
        f"sessions/{session}/explain", key=scene_shop.other_key, project=scene_shop.other_project
    )
    assert status == 404


async def test_a_session_is_found_by_the_id_that_its_sender_chose(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """As by its UUID, in every call about it; an event is explained by its own words, too."""
    project, template = scene_shop.other_project, reader.scenes.sessions[0]
    session_id = session_uuid(project, "visit-42")
    event_id = event_uuid(project, "visit-42", "c0")
    row = msgspec.structs.replace(template, project_id=project, session_id=session_id)
    click = {
        "event_id": event_id,
        "project_id": project,
        "session_id": session_id,
        "event_type": "click",
        "timestamp": datetime.fromtimestamp(row.started_at_ms / 1000, UTC),
        "received_at": datetime.fromtimestamp(row.started_at_ms / 1000, UTC),
        "path": "/cart",
        "payload": '{"button":0}',
    }
    client = connect(scene_shop.databases.clickhouse_url)
    insert_arrow(client, "sessions", session_table([row]), f"visit-{project}")
    insert_arrow(client, "events", pa.Table.from_pylist([click]), f"visit-{project}")
    client.close()

    async def data(path: str, **query: str) -> Any:
        status, document = await reader.ask(path, query, key=scene_shop.other_key, project=project)
        return document["data"] if status == 200 else status

    for rest in ("", "/events", "/journey", "/experience", "/explain"):
        found = await data(f"sessions/visit-42{rest}")
        assert found == await data(f"sessions/{session_id}{rest}")
        assert found == await data(f"sessions/{session_id.upper()}{rest}")
        assert await data(f"sessions/visit-43{rest}") == 404
    listed = await data("events", **reader.ever(), session_id="visit-42")
    assert [one["event_id"] for one in listed] == [event_id]
    assert await data("events", **reader.ever(), session_id="visit-43") == []
    told = await data("sessions/visit-42/explain", event="c0")
    assert [one["event"]["event_id"] for one in told["events"]] == [event_id]
    assert told == await data(f"sessions/{session_id}/explain", event=event_id)
    # Without the session's words the event's cannot be known.
    assert await data(f"sessions/{session_id}/explain", event="c0") == 404
    assert await data(f"sessions/{'x' * 1_025}") == 404
    async with reader.client.get(
        f"/api/v1/projects/{project}/export/events",
        params={**reader.ever(), "session_id": "visit-42", "format": "ndjson"},
        headers={"X-GoSight-Key": scene_shop.other_key},
    ) as answer:
        lines = (await answer.text()).splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == [event_id]


async def finished(reader: Reader, key: str, job_id: str) -> dict[str, Any]:
    """The job when it has ended; its progress never goes back."""
    done = 0
    for _ in range(600):
        status, document = await reader.ask(f"jobs/{job_id}", key=key)
        assert status == 200
        data: dict[str, Any] = document["data"]
        assert data["progress"]["done"] >= done
        done = data["progress"]["done"]
        if data["state"] in {"done", "failed"}:
            return data
        await asyncio.sleep(0.1)
    raise AssertionError("the job does not end")


async def test_a_backtest_runs_as_a_job(reader: Reader, scene_shop: SceneShop) -> None:
    """Started, asked about, done: with the command's result, and once at a time."""
    key = scene_shop.admin_key
    body = {
        "start_date": reader.scenes.first_day,
        "end_date": reader.scenes.last_day,
        "changes": {"rage_click.min_clicks": 3},
    }
    assert (await reader.ask("backtests", method="POST", body=body))[0] == 403
    status, document = await reader.ask("backtests", method="POST", body=body, key=key)
    assert (status, document["data"]["state"]) == (202, "queued")
    job_id = document["data"]["job_id"]
    status, refused = await reader.ask("backtests", method="POST", body=body, key=key)
    assert (status, refused["error"]["code"]) == (429, "RATE_LIMITED")
    job = await finished(reader, key, job_id)
    assert (job["state"], job["error"], job["kind"]) == ("done", None, "backtest")
    result = job["result"]
    assert job["progress"]["done"] == job["progress"]["total"]
    assert result["changed"] == {"rage_click.min_clicks": [5, 3]}
    command = await said_by_the_command(
        scene_shop,
        "backtest",
        "--set=rage_click.min_clicks=3",
        *("--from", f"{reader.scenes.first_day}T00:00:00Z", "--to", "now"),
    )
    assert result["types"] == command["types"]
    assert result["types"][0]["sessions"]["only_new"] > 0
    # Nobody else sees it.
    other = {"key": scene_shop.other_key, "project": scene_shop.other_project}
    assert (await reader.ask(f"jobs/{job_id}", **other))[0] in {403, 404}
    assert (await reader.ask(f"jobs/{uuid4()}", key=key))[0] == 404


async def test_changes_that_cannot_be_made_are_told(reader: Reader, scene_shop: SceneShop) -> None:
    """Refused before any work, each key at fault with what is wrong, in words of the API."""
    key = scene_shop.admin_key
    for body in ({}, {"changes": {"a b": 1}}, {"changes": {"--x": 1}}, {"preset": "none"}):
        status, document = await reader.ask("backtests", method="POST", body=body, key=key)
        assert (status, document["error"]["code"]) == (400, "VALIDATION_ERROR"), body
    changes = {
        "rage_click.colour": "red",
        "rage_klick.min_clicks": 3,
        "u_turn.min_time_away_ms": 1,
        "dead_click.rearm_ms": 3_000,
        "rage_click": 3,
        "hold_ms": -1,
        "insights.paths": ["/a"],
    }
    status, document = await reader.ask(
        "backtests", method="POST", body={"changes": changes}, key=key
    )
    assert status == 400
    faults = document["error"]["details"]
    assert set(faults) == {f"changes.{name}" for name in set(changes) - {"dead_click.rearm_ms"}}
    assert faults["changes.rage_click.colour"].startswith(
        "insights.rage_click.colour: unknown key; rage_click has enabled, min_clicks"
    )
    assert "whole number from 100" in faults["changes.u_turn.min_time_away_ms"]
    assert "--set" not in str(faults)
