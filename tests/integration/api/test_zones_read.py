"""Reads that name no time zone: in that of the account, with a key in that of the project."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from connectors.clickhouse import connect, insert_arrow
from tests.integration.api.account_world import Person, World
from tests.stack import RunningStack

pytestmark = pytest.mark.integration

# A day before the world's clock. At 15:00 in UTC a day begins in Tokyo.
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def store_views(databases: RunningStack, project_id: str) -> None:
    """Ten page views, one an hour, from 10:00 to 19:00 in UTC: five on either day of Tokyo."""
    rows = [
        {
            "event_id": str(uuid4()),
            "project_id": project_id,
            "session_id": str(uuid4()),
            "event_type": "page_view",
            "path": "/",
            "timestamp": NOON + timedelta(hours=hours),
            "received_at": NOON + timedelta(hours=hours),
        }
        for hours in range(-2, 8)
    ]
    client = connect(databases.clickhouse_url)
    insert_arrow(client, "events", pa.Table.from_pylist(rows), f"views-{project_id}")
    client.close()


async def views_by_day(world: World, path: str, who: Person | None, **more: Any) -> dict[str, int]:
    """Days with views, of the week."""
    reply = await world.call("GET", f"{path}/overview", who, **more)
    assert reply.status == 200, reply.document
    days = reply.data["charts"]["pageviews_over_time"]
    assert len(days) == 7
    return {day["date"]: day["value"] for day in days if day["value"]}


async def test_days_are_those_of_whoever_asks(world: World, databases: RunningStack) -> None:
    """An account in Tokyo, by login and by token, and another one."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    await asyncio.to_thread(store_views, databases, project_id)
    path = f"/projects/{project_id}"
    in_utc, in_tokyo = {"2026-11-20": 10}, {"2026-11-20": 5, "2026-11-21": 5}
    assert await views_by_day(world, path, owner) == in_utc
    assert (await world.call("PATCH", "/me", owner, json={"timezone": "Asia/Tokyo"})).status == 200
    assert await views_by_day(world, path, owner) == in_tokyo
    body = {"name": "t", "scopes": ["read"]}
    token = (await world.call("POST", "/me/api-tokens", owner, json=body)).data["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert await views_by_day(world, path, None, headers=headers) == in_tokyo
    # What is said counts more; a date is that of the zone, too.
    named = {"params": {"timezone": "UTC"}}
    assert await views_by_day(world, path, owner, **named) == in_utc
    day = {"start_date": "2026-11-21", "end_date": "2026-11-21"}
    one = await world.call("GET", f"{path}/events", owner, params=day)
    assert len(one.data) == 5
    period = (await world.call("GET", f"{path}/ledger", owner, params=day)).data["period"]
    assert period == {
        "start": "2026-11-20T15:00:00.000Z",
        "end": "2026-11-21T15:00:00.000Z",
        "timezone": "Asia/Tokyo",
    }
    member = await world.join(owner, project_id, "viewer")
    assert await views_by_day(world, path, member) == in_utc


async def test_a_key_reads_in_the_zone_of_its_project(
    world: World, databases: RunningStack
) -> None:
    """UTC if that has none, or one that is none."""
    owner = await world.register()
    for zone, wanted in (
        (None, {"2026-11-20": 10}),
        ("Asia/Tokyo", {"2026-11-20": 5, "2026-11-21": 5}),
        ("Mars/Olympus", {"2026-11-20": 10}),
    ):
        project_id, _ = await world.project(owner)
        await asyncio.to_thread(store_views, databases, project_id)
        path = f"/projects/{project_id}"
        body: dict[str, Any] = {"name": "r", "permissions": ["read"]}
        key = (await world.call("POST", f"{path}/api-keys", owner, json=body)).data["key"]
        await world.accounts.database.run(
            "UPDATE projects SET settings = jsonb_strip_nulls(jsonb_build_object('timezone', "
            "%(zone)s::text)) WHERE id = %(id)s",
            zone=zone,
            id=project_id,
        )
        headers = {"X-GoSight-Key": key}
        assert await views_by_day(world, path, None, headers=headers) == wanted, zone
