"""Exports: the whole list, in either form, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import aiohttp
import pytest

from api.reads import exports
from api.reads.exports import csv_lines
from connectors.errors import RetryableError
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration


async def exported(reader: Reader, name: str, form: str, **query: str) -> list[dict[str, Any]]:
    """Rows of an export."""
    async with reader.client.get(
        f"/api/v1/projects/{reader.scenes.project_id}/export/{name}",
        params={**reader.ever(), "format": form, **query},
        headers={"X-GoSight-Key": reader.key},
    ) as answer:
        assert answer.status == 200
        assert f'filename="{name}.{form}"' in answer.headers["Content-Disposition"]
        text = await answer.text()
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_a_whole_list_is_exported(
    reader: Reader, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row once, however many pages it takes; filters are those of the list."""
    monkeypatch.setattr(exports, "PAGE_ROWS", 10)
    scenes = reader.scenes
    sessions = await exported(reader, "sessions", form)
    assert sorted(row["id"] for row in sessions) == sorted(
        row.session_id for row in scenes.sessions
    )
    starts = [row["started_at"] for row in sessions]
    assert starts == sorted(starts, reverse=True)
    raged = await exported(reader, "sessions", form, has_rage_click="true")
    assert len(raged) == sum(row.has_rage_click for row in scenes.sessions)
    clicks = await exported(reader, "events", form, event_type="click")
    assert sorted(row["event_id"] for row in clicks) == sorted(
        row["event_id"] for row in scenes.events if row["event_type"] == "click"
    )
    found = await exported(reader, "insights", form, type="dead_click")
    assert sorted(row["id"] for row in found) == sorted(
        one.insight_id for one in scenes.insights if one.insight_type == "dead_click"
    )
    details = found[0]["details"]
    assert isinstance(json.loads(details) if form == "csv" else details, dict)


async def test_an_export_of_nothing_is_empty(reader: Reader, scene_shop: SceneShop) -> None:
    """Another project's export has none of the rows."""
    async with reader.client.get(
        f"/api/v1/projects/{scene_shop.other_project}/export/events",
        params=reader.ever(),
        headers={"X-GoSight-Key": scene_shop.other_key},
    ) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_half_an_export_is_never_taken_for_a_whole_one(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When ClickHouse goes away in the middle, the connection is broken off."""
    monkeypatch.setattr(exports, "PAGE_ROWS", 10)
    pages = exports._pages

    async def broken(*arguments: Any) -> exports.Pages:
        async for rows in pages(*arguments):
            yield rows
            raise RetryableError("told so")

    monkeypatch.setattr(exports, "_pages", broken)
    with pytest.raises(aiohttp.ClientError):
        await exported(reader, "events", "ndjson")


async def test_an_export_has_all_rows_or_no_end(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many rows as it may have it is whole; of one more the connection is broken off."""
    monkeypatch.setattr(exports, "PAGE_ROWS", 10)
    rows = len(reader.scenes.events)
    monkeypatch.setattr(exports, "ROWS_MAX", rows)
    assert len(await exported(reader, "events", "ndjson")) == rows
    monkeypatch.setattr(exports, "ROWS_MAX", rows - 1)
    with pytest.raises(aiohttp.ClientError):
        await exported(reader, "events", "ndjson")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_cell_is_no_formula(text: str) -> None:
    """What a visitor sent stays text in a spreadsheet."""
    lines = csv_lines([{"title": text, "count": -1}], is_first=True).decode()
    (row,) = csv.DictReader(io.StringIO(lines, newline=""))
    assert (row["title"], row["count"]) == (f"'{text}", "-1")
