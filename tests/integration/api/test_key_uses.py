"""Uses of keys, counted by processes and shown in the list of keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create_app
from connectors.database import Database
from connectors.errors import RetryableError
from connectors.key_uses import KeyUses
from connectors.postgres import connect_postgres
from connectors.secret_texts import hash_of
from tests.integration.api.account_world import World
from tests.stack import RunningStack

pytestmark = pytest.mark.integration


async def test_the_list_shows_how_often_a_key_was_used(
    world: World, databases: RunningStack
) -> None:
    """By several processes at once; every call with it counts, of no other key any does."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    path = f"/api/v1/projects/{project_id}"
    body = {"name": "r", "permissions": ["read"]}
    key = (await world.call("POST", f"{path}/api-keys", owner, json=body)).data
    assert (key["request_count"], key["last_used_at"]) == (0, None)
    pool = await connect_postgres(databases.database_url)
    times = iter(range(1_800_000_000, 1_900_000_000))
    uses = [KeyUses(Database(pool), lambda: next(times)) for _ in range(3)]
    try:
        app = create_app(replace(world.services, count_use=uses[0].count), world.accounts)
        async with TestClient(TestServer(app)) as client:
            for status in (200, 200, 403):
                method = "GET" if status == 200 else "POST"
                headers = {"X-GoSight-Key": key["key"]}
                async with client.request(method, f"{path}/goals", headers=headers) as answer:
                    assert answer.status == status
        for one in uses[1:]:
            one.count(hash_of(key["key"]))
            one.count("0" * 64)
        await asyncio.gather(*(one.write() for one in uses))
        await asyncio.gather(*(one.write() for one in uses))  # Nothing is left.
    finally:
        await pool.close()
    shown = {row["id"]: row for row in (await world.call("GET", f"{path}/api-keys", owner)).data}
    assert shown[key["id"]]["request_count"] == 5
    assert shown[key["id"]]["last_used_at"] == "2027-01-15T08:00:05.000Z"
    assert [row["request_count"] for name, row in shown.items() if name != key["id"]] == [0]


async def test_what_could_not_be_written_is_kept(world: World, databases: RunningStack) -> None:
    """Until PostgreSQL is there; what came meanwhile is in it. Nothing is counted twice."""
    owner = await world.register()
    project_id, text = await world.project(owner)
    away = await connect_postgres("postgresql://nobody@127.0.0.1:1/none")
    pool = await connect_postgres(databases.database_url)
    uses = KeyUses(Database(away))
    try:
        uses.count(hash_of(text))
        with pytest.raises(RetryableError):
            await uses.write()
        uses.count(hash_of(text))
        uses._database = Database(pool)
        uses.start()
        await uses.close()
    finally:
        await away.close()
        await pool.close()
    (shown,) = (await world.call("GET", f"/projects/{project_id}/api-keys", owner)).data
    assert shown["request_count"] == 2
