"""Insights and errors over HTTP against the rows they were stored as."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa
import pytest

from api.reads.insights import COUNTED
from connectors.clickhouse import connect, insert_arrow
from flows.core.result_columns import insight_table
from schemas.fingerprint import error_fingerprint
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration

ERROR_TYPES = {"js_error", "unhandled_rejection", "console_error", "resource_error"}


async def all_insights(reader: Reader, **query: Any) -> list[dict[str, Any]]:
    """Every insight, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        document = await reader.whole("insights", **reader.ever(), per_page=7, **query, **cursor)
        found += document["data"]["insights"]
        if document["meta"]["next_cursor"] is None:
            return found
        cursor = {"cursor": document["meta"]["next_cursor"]}


async def test_every_insight_is_listed_as_it_was_stored(reader: Reader) -> None:
    """Newest first, in pages, each once."""
    found = await all_insights(reader)
    stored = {one.insight_id: one for one in reader.scenes.insights}
    assert sorted(one["id"] for one in found) == sorted(stored)
    times = [one["timestamp"] for one in found]
    assert times == sorted(times, reverse=True)
    for one in found:
        row = stored[one["id"]]
        assert (one["type"], one["path"], one["x"]) == (row.insight_type, row.path, row.x)
        assert one["details"] == json.loads(row.details)


@pytest.mark.parametrize("kind", sorted(COUNTED))
async def test_types_and_paths_filter_list_summary_and_hot_spots(reader: Reader, kind: str) -> None:
    """All three parts of the answer are about the same insights."""
    stored = [one for one in reader.scenes.insights if one.insight_type == kind]
    found = await all_insights(reader, type=kind)
    assert len(found) == len(stored)
    data = await reader.get("insights", **reader.ever(), type=kind)
    assert data["summary"] == {
        **{name: len(stored) if name == COUNTED[kind] else 0 for name in COUNTED.values()},
        "other": {},
    }
    for path in {one.path for one in stored}:
        data = await reader.get("insights", **reader.ever(), type=kind, path=path, per_page=100)
        here = [one for one in stored if one.path == path]
        assert sorted(one["id"] for one in data["insights"]) == sorted(
            one.insight_id for one in here
        )
        assert {spot["path"] for spot in data["hotspots"]} <= {path}
    below = await reader.get("insights", **reader.ever(), type=kind, path="/c*")
    assert below["summary"][COUNTED[kind]] == sum(one.path.startswith("/c") for one in stored)


async def test_what_a_detector_of_ones_own_found_is_asked_for_by_its_name(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """List, summary and export have it, alone if its type is asked for; others leave it out."""
    project, key = scene_shop.other_project, scene_shop.other_key
    sample = next(one for one in reader.scenes.insights if one.insight_type == "dead_click")
    stored = [
        msgspec.structs.replace(
            sample, insight_id=str(uuid4()), project_id=project, insight_type=kind
        )
        for kind in ("fine", "form_struggle", "form_struggle", "dead_click")
    ]
    client = connect(scene_shop.databases.clickhouse_url)
    insert_arrow(client, "insights", insight_table(stored), f"own-{project}")
    client.close()

    async def summary_and_types(**query: str) -> tuple[dict[str, Any], list[str]]:
        status, document = await reader.ask(
            "insights", {**reader.ever(), **query}, key=key, project=project
        )
        assert status == 200, document
        data = document["data"]
        return data["summary"], sorted(one["type"] for one in data["insights"])

    summary, types = await summary_and_types()
    assert types == ["dead_click", "fine", "form_struggle", "form_struggle"]
    assert summary["dead_clicks"] == 1
    assert summary["other"] == {"fine": 1, "form_struggle": 2}
    summary, types = await summary_and_types(type="form_struggle")
    assert (types, summary["other"]) == (["form_struggle"] * 2, {"form_struggle": 2})
    assert (await summary_and_types(type="dead_click"))[0]["other"] == {}
    assert (await summary_and_types(type="never_heard_of"))[1] == []
    async with reader.client.get(
        f"/api/v1/projects/{project}/export/insights",
        params={**reader.ever(), "type": "fine", "format": "ndjson"},
        headers={"X-GoSight-Key": key},
    ) as answer:
        lines = (await answer.text()).splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["fine"]


@pytest.mark.parametrize("kind", ["", "Fine", "fine one", "_fine", "9fine", "fine_", "f" * 41])
async def test_what_no_detector_can_be_called_is_refused(reader: Reader, kind: str) -> None:
    """400 that names the parameter, by the list and by the export."""
    for path in ("insights", "export/insights"):
        status, document = await reader.ask(path, {**reader.ever(), "type": kind})
        assert (status, list(document["error"]["details"])) == (400, ["type"])


async def test_hot_spots_rank_the_worst_element_first(reader: Reader) -> None:
    """By all clicks that went wrong on it."""
    spots = (await reader.get("insights", **reader.ever(), top=100))["hotspots"]
    counts: Counter[tuple[str, str]] = Counter(
        (one.path, one.target_selector)
        for one in reader.scenes.insights
        if one.insight_type.endswith("_click") and one.target_selector
    )
    totals = {
        (spot["path"], spot["selector"]): sum(
            spot[f"{name}_click_count"] for name in ("rage", "dead", "error")
        )
        for spot in spots
    }
    assert totals == counts
    assert list(totals.values()) == sorted(totals.values(), reverse=True)


async def test_errors_are_grouped_by_fingerprint(reader: Reader) -> None:
    """Counts, sessions, browsers and first and last time of each group are those of its events."""
    rows = [row for row in reader.scenes.events if row["event_type"] in ERROR_TYPES]
    assert len(rows) >= 4
    document = await reader.whole("errors", **reader.ever())
    groups = {group["id"]: group for group in document["data"]}
    assert document["meta"]["total"] == len(groups)
    assert set(groups) == {row["error_fingerprint"] for row in rows}
    for error_id, group in groups.items():
        same = [row for row in rows if row["error_fingerprint"] == error_id]
        assert group["count"] == len(same)
        assert group["session_count"] == len({row["session_id"] for row in same})
        assert group["browsers"] == Counter(row["browser"] or "unknown" for row in same)
        assert group["status"] == "open"
        last = max(same, key=lambda row: row["timestamp"])
        assert group["last_seen"] == text_of(last["timestamp"])
        assert group["message"] in {row["error_message"] for row in same}
        detail = await reader.get(f"errors/{error_id}", **reader.ever())
        assert detail["stack"] in {row["error_stack"] for row in same}
        assert sum(day["count"] for day in detail["stats"]["occurrences_over_time"]) == len(same)
        pages = {page["path"]: page["count"] for page in detail["stats"]["pages"]}
        assert pages == Counter(row["path"] for row in same)
        sampled = {one["session_id"] for one in detail["sample_sessions"]}
        assert sampled == {row["session_id"] for row in same}


def text_of(at: datetime) -> str:
    """A time as answers write it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_occurrences_one_by_one(reader: Reader) -> None:
    """Ungrouped, every error event once, newest first."""
    rows = [row for row in reader.scenes.events if row["event_type"] in ERROR_TYPES]
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        document = await reader.whole(
            "errors", **reader.ever(), grouped="false", per_page=2, **cursor
        )
        found += document["data"]
        if document["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": document["meta"]["next_cursor"]}
    assert sorted(one["event_id"] for one in found) == sorted(row["event_id"] for row in rows)
    assert [one["timestamp"] for one in found] == sorted(
        (one["timestamp"] for one in found), reverse=True
    )


async def test_sorting_and_pages_of_errors(reader: Reader) -> None:
    """By count both ways; page by page as all at once."""
    whole = await reader.get("errors", **reader.ever(), sort="count")
    counts = [group["count"] for group in whole]
    assert counts == sorted(counts, reverse=True)
    up = await reader.get("errors", **reader.ever(), sort="first_seen", order="asc")
    assert [group["first_seen"] for group in up] == sorted(group["first_seen"] for group in up)
    paged = []
    for page in range(1, len(whole) + 1):
        paged += await reader.get("errors", **reader.ever(), sort="count", per_page=1, page=page)
    assert paged == whole


async def put_error(shop: SceneShop, message: str, at_ms: int) -> str:
    """Store one error; returns its fingerprint."""
    fingerprint = error_fingerprint("TypeError", message, "")
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    row = {
        "event_id": str(uuid4()),
        "project_id": shop.scenes.project_id,
        "session_id": str(uuid4()),
        "event_type": "js_error",
        "timestamp": at,
        "received_at": at,
        "error_message": message,
        "error_type": "TypeError",
        "error_fingerprint": fingerprint,
        "payload": json.dumps({"filename": "https://a.example/x.js", "lineno": 7, "colno": 3}),
    }
    client = connect(shop.databases.clickhouse_url)
    insert_arrow(client, "events", pa.Table.from_pylist([row]), row["event_id"])
    client.close()
    return fingerprint


async def test_a_resolved_error_is_open_again_when_it_recurs(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """Resolved survives what happened before; a new occurrence opens it; ignored stays so."""
    now_ms = time.time_ns() // 1_000_000
    error_id = await put_error(scene_shop, "cart is undefined", now_ms - 60_000)
    ignored_id = await put_error(scene_shop, "extension is noisy", now_ms - 60_000)

    async def status(wanted: str) -> str:
        groups = await reader.get("errors", per_page=100)
        found: str = {group["id"]: group for group in groups}[wanted]["status"]
        assert (await reader.get(f"errors/{wanted}"))["status"] == found
        listed = await reader.get("errors", status=found, per_page=100)
        assert wanted in {group["id"] for group in listed}
        return found

    assert await status(error_id) == "open"
    for one, said in ((error_id, "resolved"), (ignored_id, "ignored")):
        code, document = await reader.ask(
            f"errors/{one}", method="PATCH", body={"status": said}, key=scene_shop.admin_key
        )
        assert (code, document["data"]["status"]) == (200, said)
    # Older ones that come late say nothing about the repair.
    await put_error(scene_shop, "cart is undefined", now_ms - 30_000)
    assert (await status(error_id), await status(ignored_id)) == ("resolved", "ignored")
    after_ms = time.time_ns() // 1_000_000 + 1_000
    await put_error(scene_shop, "cart is undefined", after_ms)
    await put_error(scene_shop, "extension is noisy", after_ms)
    assert (await status(error_id), await status(ignored_id)) == ("open", "ignored")
    group = (await reader.get(f"errors/{error_id}"))["filename"]
    assert group == "https://a.example/x.js"


async def test_who_may_decide_about_an_error(reader: Reader, scene_shop: SceneShop) -> None:
    """A viewer may not; an error of another project, or of none, is not there; other words fail."""
    row = next(row for row in reader.scenes.events if row["error_fingerprint"])
    path = f"errors/{row['error_fingerprint']}"
    body = {"status": "resolved"}
    assert (await reader.ask(path, method="PATCH", body=body))[0] == 403
    key = scene_shop.admin_key
    for unknown in ("errors/0123456789abcdef", "errors/nothing"):
        assert (await reader.ask(unknown, method="PATCH", body=body, key=key))[0] == 404
    bodies: list[Any] = [{}, {"status": "gone"}, {"status": "open", "updated_by": "me"}, [1], "x"]
    for bad in bodies:
        code, document = await reader.ask(path, method="PATCH", body=bad, key=key)
        assert (code, document["error"]["code"]) == (400, "VALIDATION_ERROR")
    code, _ = await reader.ask(path, key=scene_shop.other_key, project=scene_shop.other_project)
    assert code == 404
