"""Who is there now, and what is used and kept, from the real stores."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api.access import Access
from api.auth import CALLER, Caller
from api.reads.live import KEPT_DAYS, usage
from api.route import PROJECT
from api.services import SERVICES
from connectors.clickhouse import connect, insert_arrow
from connectors.live_counters import MINUTE_MS, RedisLiveCounters
from flows.core.result_columns import session_table
from flows.core.session_row import SessionRow
from tests.integration.api.conftest import SceneShop, api_client, moment
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration


async def test_visitors_who_are_there_now(reader: Reader, scene_shop: SceneShop) -> None:
    """Sessions of the last five minutes with their page, and no ids; views from Redis."""
    before = await reader.get("visitors/active")
    assert before == {"visitors_now": 0, "visitors": [], "by_page": []}
    project_id = scene_shop.scenes.project_id
    now_ms = time.time_ns() // 1_000_000
    rows, events = [], []
    for number, (page, ago_s) in enumerate((("/a", 10), ("/a", 200), ("/b", 230), ("/c", 400))):
        session_id, at_ms = str(uuid4()), now_ms - ago_s * 1_000
        fields: dict[str, Any] = {"exit_path": page, "country": "Sweden", "device_type": "mobile"}
        rows.append(SessionRow(session_id, project_id, at_ms - 1_000, at_ms, revision=1, **fields))
        event = {"event_id": str(uuid4()), "project_id": project_id, "session_id": session_id}
        event |= {"event_type": "click", "path": page}
        events.append({**event, "timestamp": moment(at_ms), "received_at": moment(at_ms)})
        if number < 3:
            live = {(project_id, at_ms // MINUTE_MS * MINUTE_MS): [session_id]}
            views = {(project_id, page, at_ms // MINUTE_MS * MINUTE_MS): 2}
            RedisLiveCounters(scene_shop.databases.redis_url).put(live, views, f"test-{number}")
    client = connect(scene_shop.databases.clickhouse_url)
    insert_arrow(client, "sessions", session_table(rows), f"live-{now_ms}")
    insert_arrow(client, "events", pa.Table.from_pylist(events), f"live-{now_ms}")
    client.close()
    found = await reader.get("visitors/active")
    assert found["visitors_now"] == 3
    assert [one["page"] for one in found["visitors"]] == ["/a", "/a", "/b"]
    assert all(set(one) == {"page", "country", "device", "since"} for one in found["visitors"])
    views_of = {page["page"]: page for page in found["by_page"]}
    assert (views_of["/a"]["visitors"], views_of["/b"]["visitors"]) == (2, 1)
    assert views_of["/a"]["page_views"] >= 2
    # Without Redis what is stored says it.
    nowhere = {**scene_shop.databases.urls, "REDIS_URL": "redis://127.0.0.1:1/0"}
    async with api_client(replace(scene_shop.databases, urls=nowhere)) as away:
        same = Reader(away, scene_shop.read_key, scene_shop.scenes)
        data = await same.get("visitors/active")
    assert (data["visitors_now"], len(data["visitors"])) == (3, 3)
    assert {page["page_views"] for page in data["by_page"]} == {None}


@pytest.fixture
async def owner(reader: Reader, scene_shop: SceneShop) -> AsyncIterator[TestClient[Any, Any]]:
    """The call of owners, which no key is, behind a caller who is one."""
    app = web.Application()
    server = reader.client.server
    assert isinstance(server, TestServer)
    app[SERVICES] = server.app[SERVICES]

    async def as_owner(request: web.Request) -> web.StreamResponse:
        request[CALLER] = Caller(scene_shop.scenes.project_id, Access.OWNER)
        return await usage(request)

    app.router.add_get(PROJECT + "/usage", as_owner)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_usage_and_retention(
    reader: Reader, scene_shop: SceneShop, owner: TestClient[Any, Any]
) -> None:
    """Booked events by day, rows that are kept, and for how long; for owners alone."""
    assert (await reader.ask("usage", key=scene_shop.admin_key))[0] == 403
    project_id = scene_shop.scenes.project_id
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    entries = [
        {
            "project_id": project_id,
            "minute": minute,
            "outcome": outcome,
            "events": count,
            "source_topic": "raw",
            "source_partition": 0,
            "block_first": 0,
            "block_last": 0,
        }
        for outcome, count in (("received", 40), ("stored", 37), ("duplicate", 3))
    ]
    client = connect(scene_shop.databases.clickhouse_url)
    insert_arrow(client, "ledger_entries", pa.Table.from_pylist(entries), "usage")
    client.close()
    async with owner.get(f"/api/v1/projects/{project_id}/usage") as answer:
        data = (await answer.json())["data"]
    assert (data["events_used"], data["events_received"]) == (37, 40)
    assert data["by_day"] == [{"date": minute.date().isoformat(), "received": 40, "stored": 37}]
    kept = data["kept"]
    assert kept["events"]["rows"] >= len(scene_shop.scenes.events)
    assert kept["sessions"]["rows"] >= len(scene_shop.scenes.sessions)
    assert kept["insights"]["rows"] == len(scene_shop.scenes.insights)
    assert {kind: row["retention_days"] for kind, row in kept.items()} == KEPT_DAYS
