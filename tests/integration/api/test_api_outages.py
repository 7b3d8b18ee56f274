"""The account side while PostgreSQL is away or stuck, and Redis is away."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from tests.integration.api.account_world import PASSWORD, World, account_world
from tests.stack import RunningStack


async def test_postgresql_away_is_503_and_never_401(databases: RunningStack) -> None:
    """Neither a token nor a password is called wrong because of an outage."""
    async with account_world(databases) as world:
        ann = await world.register()
    nowhere = {**databases.urls, "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}
    async with account_world(replace(databases, urls=nowhere)) as world:
        body = {"email": ann.email, "password": PASSWORD}
        for reply in (
            await world.call("GET", "/me", ann),
            await world.call("POST", "/auth/login", json=body),
            await world.call("POST", "/auth/refresh", json={"refresh_token": ann.refresh_token}),
        ):
            assert (reply.status, reply.code) == (503, "UNAVAILABLE")
            assert reply.headers["Retry-After"] == "5"
            assert "127.0.0.1" not in str(reply.document)
        assert (await world.call("GET", "/me")).status == 401


async def test_a_row_that_is_held_does_not_hold_the_request(
    world: World, databases: RunningStack
) -> None:
    """Whoever waits for another transaction is answered 503 within seconds, and nothing changed."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}"
    with psycopg.connect(databases.database_url) as other:
        other.execute("SELECT 1 FROM projects WHERE id = %s FOR UPDATE", (project_id,))
        reply = await world.call("PATCH", path, ann, json={"name": "Other"})
        assert (reply.status, reply.code) == (503, "UNAVAILABLE")
        assert (await world.call("GET", path, ann)).data["name"] == "Shop"
    assert (await world.call("PATCH", path, ann, json={"name": "Other"})).status == 200


async def test_without_redis_everything_works(databases: RunningStack) -> None:
    """Changes are answered; caches are told later."""
    nowhere = {**databases.urls, "REDIS_URL": "redis://127.0.0.1:1/0"}
    async with account_world(replace(databases, urls=nowhere)) as world:
        ann = await world.register()
        project_id, _ = await world.project(ann)
        path = f"/projects/{project_id}"
        body = {"settings": {"events": {"mouse": False}}}
        assert (await world.call("PATCH", path, ann, json=body)).status == 200
        (key,) = (await world.call("GET", f"{path}/api-keys", ann)).data
        assert (await world.call("DELETE", f"{path}/api-keys/{key['id']}", ann)).status == 200
        assert (await world.call("DELETE", path, ann)).status == 202
