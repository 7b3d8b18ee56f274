"""Every example of the OpenAPI document, sent to the running API: it does what it says.

Examples are taken from the document that is served. What stands in one as `$name` is a text that
only the API could have made: it is replaced by a real one.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from api.access import Access
from api.route import Route
from connectors.clickhouse import connect, insert_arrow
from tests.integration.api.account_world import PASSWORD, World, person_of
from tests.integration.api.estate import Estate, make_estate
from tests.integration.api.test_api_matrix import WITH_BODY, name_of
from tests.stack import RunningStack

pytestmark = pytest.mark.integration

FINGERPRINT = "0123456789abcdef"


async def example_of(world: World, route: Route) -> dict[str, Any]:
    """As the served document has it."""
    async with world.client.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    operation = document["paths"][route.path][route.method.lower()]
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["example"]
    return found


async def made_for(world: World, estate: Estate, name: str) -> tuple[str, dict[str, str]]:
    """A text that the API makes, and who may use it."""
    owner = estate.people[Access.OWNER]
    if name == "$refresh_token":
        person = await world.log_in(owner)
        return person.refresh_token, person.headers
    assert name == "$invitation"
    person = await world.register("guest")
    body = {"email": f"{uuid4().hex}@example.com", "role": "member"}
    path = f"/projects/{estate.project_id}/members"
    invited = (await world.call("POST", path, owner, json=body)).data["invitation"]
    body = {"email": body["email"], "password": PASSWORD, "name": "Guest"}
    guest = person_of(await world.call("POST", "/auth/register", json=body))
    return invited["token"], guest.headers


def store_error(databases: RunningStack, estate: Estate, now_ms: int) -> None:
    """Something for people to decide about."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    row = {
        "event_id": str(uuid4()),
        "project_id": estate.project_id,
        "session_id": str(uuid4()),
        "event_type": "js_error",
        "timestamp": at,
        "received_at": at,
        "error_fingerprint": FINGERPRINT,
    }
    client = connect(databases.clickhouse_url)
    insert_arrow(client, "events", pa.Table.from_pylist([row]), f"error-{estate.project_id}")
    client.close()


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
async def test_an_example_works(world: World, databases: RunningStack, route: Route) -> None:
    """It is taken as it stands, with the status and the shape that the document promises."""
    estate = await make_estate(world)
    body, headers = await example_of(world, route), estate.headers("owner")
    if "errors" in route.path:
        await asyncio.to_thread(store_error, databases, estate, world.clock.now_ms)
    if route.path.endswith("/auth/login"):
        # Who is to log in has to be there; another example may have made them already.
        await world.call("POST", "/auth/register", json={**body, "name": "Ann"})
    if route.access is Access.PUBLIC:
        headers = {}
    for name, value in body.items():
        if isinstance(value, str) and value.startswith("$"):
            body[name], headers = await made_for(world, estate, value)
    path = estate.path(route, error_id=FINGERPRINT)
    reply = await world.call(route.method, path, headers=headers, json=body)
    assert reply.status == route.status, reply.document
    assert route.answer is not None
    route.answer.model_validate(reply.data)
