"""Every route, called with every role, without a credential, and with another tenant's ids.

All of it is made from the route table: a route that is added is in it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from api.access import Access
from api.openapi import OPENAPI_PATH
from api.route import BASE, PROJECT, Route
from api.routes import ROUTES
from tests.integration.api.account_world import PASSWORD, Reply, World, account_world
from tests.integration.api.estate import MARK, Estate, make_estate
from tests.stack import RunningStack

TABLE = [route for route in ROUTES if route.path.startswith(BASE) and route.path != OPENAPI_PATH]
WITH_BODY = [route for route in TABLE if route.body is not None]
IN_PROJECT = [route for route in TABLE if route.in_project]
# A caller's role in their own project, what a scope leaves of it, and whether it is an account.
CALLERS: dict[str, Access] = {
    "viewer": Access.VIEWER,
    "member": Access.MEMBER,
    "admin": Access.ADMIN,
    "owner": Access.OWNER,
    "key write": Access.PUBLIC,
    "key read": Access.VIEWER,
    "key admin": Access.ADMIN,
    "token read": Access.OWNER,
    "token write": Access.OWNER,
}
# Handlers that ask for more than the table says, and of whom.
NEEDS_MORE = {
    ("DELETE", PROJECT + "/members/{user_id}"): Access.ADMIN,
}
FOR_ACCOUNTS = {("POST", PROJECT + "/filters")}
UNTOLD = re.compile(r"Traceback|psycopg|clickhouse|SELECT |password_hash|token_hash|key_hash", re.I)


def name_of(route: Route) -> str:
    """As tests are named."""
    return f"{route.method} {route.path.removeprefix(BASE)}"


@dataclass
class Street:
    """Two estates of two tenants in one world."""

    world: World
    ours: Estate
    theirs: Estate

    async def call(self, route: Route, path: str, headers: dict[str, str]) -> Reply:
        """One call with a body of the right form; what comes is no 500 and tells nothing."""
        body = None if route.body is None else filled(route.example)
        reply = await self.world.call(route.method, path, headers=headers, json=body)
        assert reply.status < 500 or reply.status == 503, reply.document
        assert not UNTOLD.search(json.dumps(reply.document)), reply.document
        return reply


def filled(example: dict[str, Any]) -> dict[str, Any]:
    """An example with values that nobody has used."""
    replaced = {
        "email": f"{uuid4().hex}@example.com",
        "name": f"n {uuid4().hex}",
        "old_password": PASSWORD,
    }
    return {name: replaced.get(name, value) for name, value in example.items()}


@pytest.fixture
async def street(databases: RunningStack) -> AsyncIterator[Street]:
    """A fresh one: calls may destroy what they are about."""
    async with account_world(databases) as world:
        yield Street(world, await make_estate(world), await make_estate(world))


def expected(route: Route, caller: str) -> set[int] | None:
    """Statuses with which this caller has to be refused; None if they are let in."""
    role = CALLERS[caller]
    is_account = not caller.startswith("key")
    is_login = is_account and not caller.startswith("token")
    if route.access is Access.PUBLIC:
        return None
    if route.access is Access.ACCOUNT and not is_account:
        return {403}
    if (route.is_personal and not is_login) or role < route.access:
        return {403}
    if caller == "token read" and not route.is_read:
        return {403}
    if caller == "token write" and route.is_read:
        return {403}
    if role < NEEDS_MORE.get((route.method, route.path), Access.PUBLIC):
        return {403}
    if (route.method, route.path) in FOR_ACCOUNTS and not is_account:
        return {403}
    return None


@pytest.mark.parametrize("route", TABLE, ids=name_of)
async def test_every_role_gets_what_the_table_says(street: Street, route: Route) -> None:
    """Whoever is less is refused with 403, whoever is enough is let in; nobody gets a 500."""
    callers = sorted(CALLERS, key=lambda caller: expected(route, caller) is None)
    for caller in callers:
        refused = expected(route, caller)
        path = street.ours.path(route)
        reply = await street.call(route, path, street.ours.headers(caller))
        if refused is not None:
            assert reply.status in refused, f"{caller}: {reply.document}"
            continue
        # It may be gone, used or taken by now, but is not forbidden.
        if route.path.endswith(("/invitations/accept", "/auth/register")):
            assert reply.status in (201, 403), f"{caller}: {reply.document}"
        elif route.access is Access.PUBLIC and "/auth/" in route.path:
            assert reply.status in (200, 400, 401), f"{caller}: {reply.document}"
        else:
            assert reply.status != 403, f"{caller}: {reply.document}"
        if not route.is_read:
            street.ours = await make_estate(street.world)


async def test_nobody_gets_in_without_a_credential(street: Street) -> None:
    """On no route: none, a made-up one, an expired one get 401, whatever the path names."""
    owner = street.ours.people[Access.OWNER]
    credentials: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer " + owner.refresh_token},
        {"Authorization": "Bearer gst_" + "0" * 40},
        {"X-GoSight-Key": "gs_api_" + "0" * 32},
    ]
    guarded = [route for route in TABLE if route.access is not Access.PUBLIC]
    for route in guarded:
        for path in (street.ours.path(route), street.ours.path(route, project_id="no-id")):
            for headers in credentials:
                reply = await street.call(route, path, headers)
                assert (reply.status, reply.code) == (401, "UNAUTHORIZED"), name_of(route)
                assert MARK not in json.dumps(reply.document), name_of(route)
    street.world.clock.forward(900)
    for route in guarded:
        reply = await street.call(route, street.ours.path(route), owner.headers)
        assert (reply.status, reply.code) == (401, "TOKEN_EXPIRED"), name_of(route)


def test_what_is_public_is_a_closed_list() -> None:
    """A route that is added is behind a role unless it is named here."""
    assert {name_of(route) for route in TABLE if route.access is Access.PUBLIC} == {
        "POST /auth/register",
        "POST /auth/login",
        "POST /auth/refresh",
        "GET /public/{slug}/overview",
        "GET /projects/{project_id}/realtime",  # Who connects says who they are in a message.
    }


async def test_another_tenant_learns_nothing(street: Street) -> None:
    """On no route: their owners, keys and tokens get 404 for our project, as for one that is none.

    Our ids under their own project are 404, too, and nothing of ours is changed.
    """
    before = await snapshot(street.world, street.ours)
    for route in IN_PROJECT:
        nowhere = street.ours.path(route, project_id=str(uuid4()))
        for caller in ("owner", "viewer", "key read", "key admin", "key write", "token read"):
            headers = street.theirs.headers(caller)
            ours = await street.call(route, street.ours.path(route), headers)
            none = await street.call(route, nowhere, headers)
            assert (ours.status, none.status) == (404, 404), f"{caller}: {name_of(route)}"
            assert ours.document == none.document
        # A visitor's id is whatever a site chose: of another project it names somebody else.
        if re.search(r"\{(?!project_id|visitor\})\w+\}", route.path):
            foreign = street.ours.path(route, project_id=street.theirs.project_id)
            reply = await street.call(route, foreign, street.theirs.headers("owner"))
            assert reply.status in (400, 404, 503), f"{name_of(route)}: {reply.document}"
            assert MARK not in json.dumps(reply.document)
    assert await snapshot(street.world, street.ours) == before


async def test_another_account_reaches_nothing_of_mine(street: Street) -> None:
    """Logins and tokens are their account's alone."""
    owner = street.ours.people[Access.OWNER]
    found = 0
    for route in TABLE:
        if "{" in route.path and route.access is Access.ACCOUNT:
            path = street.ours.path(route)
            reply = await street.call(route, path, street.theirs.headers("owner"))
            assert reply.status == 404, name_of(route)
            found += 1
    assert found == 2
    assert (await street.world.call("GET", "/me", owner)).status == 200
    assert len((await street.world.call("GET", "/me/api-tokens", owner)).data) == 3


async def test_a_field_that_is_not_offered_is_refused(street: Street) -> None:
    """Mass assignment: every body knows its fields, and names the one that it does not know."""
    owner = street.ours.people[Access.OWNER]
    before = await snapshot(street.world, street.ours)
    for route in filter(street.ours.has_all_of, WITH_BODY):
        for extra in ("id", "account_id", "project_id", "tenant_id", "is_active", "created_at"):
            body = {**filled(route.example), extra: str(uuid4())}
            path = street.ours.path(route)
            reply = await street.world.call(route.method, path, owner, json=body)
            assert reply.status == 400, name_of(route)
            assert extra in reply.document["error"]["details"], name_of(route)
    assert await snapshot(street.world, street.ours) == before


async def test_a_parameter_that_is_not_offered_is_refused(street: Street) -> None:
    """A filter that a call has not is told, on every route, and nothing is done without it."""
    before = await snapshot(street.world, street.ours)
    for route in filter(street.ours.has_all_of, TABLE):
        path = f"{street.ours.path(route)}?no_such_parameter=1"
        reply = await street.call(route, path, street.ours.headers("owner"))
        assert (reply.status, reply.code) == (400, "VALIDATION_ERROR"), name_of(route)
        details = reply.document["error"]["details"]
        assert details["no_such_parameter"] == "is not a parameter of this call", name_of(route)
    assert await snapshot(street.world, street.ours) == before


BAD_BODIES = {
    "cut off": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "not UTF-8": b"\xff\xfe{}",
    "no number": b'{"a": NaN}',
    "beyond numbers": b'{"a": 1e999}',
    "NUL": b'{"name": "a\\u0000b"}',
    "half a character": b'{"name": "\\ud800"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
}


async def test_bodies_that_are_none_are_refused(street: Street) -> None:
    """Damaged, deep, endless, of another kind: 400 on every route that takes a body."""
    owner = street.ours.people[Access.OWNER]
    headers = {**owner.headers, "Content-Type": "application/json"}
    for route in filter(street.ours.has_all_of, WITH_BODY):
        path = street.ours.path(route)
        for name, content in BAD_BODIES.items():
            reply = await street.world.call(route.method, path, headers=headers, data=content)
            assert (reply.status, reply.code) == (400, "VALIDATION_ERROR"), name_of(route) + name
        plain = {**owner.headers, "Content-Type": "text/plain"}
        reply = await street.world.call(route.method, path, headers=plain, data=b"{}")
        assert reply.status == 400, name_of(route)


async def test_oversized_bodies_are_refused(street: Street) -> None:
    """Over a mebibyte is 413 on every route that takes a body, with and without a length."""
    owner = street.ours.people[Access.OWNER]
    headers = {**owner.headers, "Content-Type": "application/json"}
    content = b'{"name": "' + b"x" * (1024 * 1024 + 1) + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 65_536):
            yield content[start : start + 65_536]

    for route in filter(street.ours.has_all_of, WITH_BODY):
        path = street.ours.path(route)
        for data in (io.BytesIO(content), pieces()):
            reply = await street.world.call(route.method, path, headers=headers, data=data)
            assert (reply.status, reply.code) == (413, "PAYLOAD_TOO_LARGE"), name_of(route)


async def snapshot(world: World, estate: Estate) -> list[str]:
    """All rows that hang on a project."""
    rows: list[str] = []
    for table in (
        "api_keys",
        "project_members",
        "invitations",
        "saved_filters",
        "notes",
        "public_dashboards",
        "alert_rules",
        "goals",
        "funnels",
    ):
        found = await world.accounts.database.rows(
            f"SELECT t::text FROM {table} t WHERE project_id = %(id)s ORDER BY 1",
            id=estate.project_id,
        )
        rows += [row["t"] for row in found]
    found = await world.accounts.database.rows(
        "SELECT p::text AS t FROM projects p WHERE id = %(id)s", id=estate.project_id
    )
    assert len(found) == 1
    return rows + [row["t"] for row in found]
