"""What all calls share: limits, other origins, slow bodies, examples that work."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

import api.bodies
from api.access import Access
from api.accounts.passwords import Passwords
from api.accounts.routes import ACCOUNT_ROUTES
from api.accounts.services import AccountOptions
from api.route import Route
from connectors.redis import RedisTokenBuckets, connect_redis
from tests.integration.api.account_world import (
    NO_LIMITS,
    PASSWORD,
    Person,
    World,
    account_world,
    person_of,
)
from tests.integration.api.estate import Estate, make_estate
from tests.stack import RunningStack

RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
DASHBOARD = "https://dash.example"


async def test_the_hundred_and_first_read_in_a_minute_is_refused(databases: RunningStack) -> None:
    """With the three headers on every answer, and when to come again; another account goes on."""
    async with account_world(databases, limits={}) as world:
        ann, bob = await world.register(), await world.register("bob")
        replies = [await world.call("GET", "/me", ann) for _ in range(101)]
        other = await world.call("GET", "/me", bob)
        world.clock.forward(0.61)
        later = await world.call("GET", "/me", ann)
    assert [reply.status for reply in replies] == [200] * 100 + [429]
    assert replies[0].headers["X-RateLimit-Remaining"] == "99"
    last = replies[100]
    assert last.code == "RATE_LIMITED"
    assert [last.headers[name] for name in RATE] == ["100", "0", "1795255260"]
    assert last.headers["Retry-After"] == "1"
    assert (other.status, later.status) == (200, 200)


async def test_logging_in_is_limited_by_address_and_by_email(databases: RunningStack) -> None:
    """Ten a minute from one address, whoever it is for; before the password is looked at."""
    async with account_world(databases, limits={}) as world:
        bodies = [
            {"email": f"p{number}@example.com", "password": "wrong horse battery"}
            for number in range(11)
        ]
        replies = [await world.call("POST", "/auth/login", json=body) for body in bodies]
    assert [reply.status for reply in replies] == [401] * 10 + [429]


async def test_a_guesser_does_not_lock_the_owner_out(databases: RunningStack) -> None:
    """From the guesser's address the right password is refused, from any other it gets in."""
    options = AccountOptions(is_registration_open=True, trusted_proxy_count=1)
    async with account_world(databases, options=options) as world:
        ann = await world.register()
        wrong = {"email": ann.email, "password": "wrong horse battery"}
        right = {"email": ann.email, "password": PASSWORD}

        async def status(address: str, body: dict[str, str]) -> int:
            headers = {"X-Forwarded-For": address}
            reply = await world.call("POST", "/auth/login", json=body, headers=headers)
            return reply.status

        for number in range(4):
            for _ in range(5):
                assert await status(f"203.0.113.{number}", wrong) in (401, 429)
        assert await status("203.0.113.0", right) == 429
        assert await status("198.51.100.7", right) == 200


async def test_guesses_at_once_are_no_more_than_guesses_in_turn(databases: RunningStack) -> None:
    """Five a minute, also if none of twenty has failed yet when the others come."""
    options = AccountOptions(is_registration_open=True)
    async with account_world(databases, options=options) as world:
        ann = await world.register()
        costly = Passwords(1, memory_kib=16_384, rounds=2, lanes=1)
        update = "UPDATE accounts SET password_hash = %(hash)s WHERE id = %(id)s"
        await world.accounts.database.run(update, hash=await costly.hash(PASSWORD), id=ann.id)
        costly.close()
        wrong = {"email": ann.email, "password": "wrong horse battery"}
        replies = await asyncio.gather(
            *(world.call("POST", "/auth/login", json=wrong) for _ in range(20))
        )
        assert sorted(reply.status for reply in replies) == [401] * 5 + [429] * 15
        world.clock.forward(60)
        assert (await world.log_in(ann)).id == ann.id


async def test_an_address_cannot_be_chosen_by_the_client(databases: RunningStack) -> None:
    """Without a trusted proxy, X-Forwarded-For changes nothing about the limit."""
    async with account_world(databases, limits={**NO_LIMITS, "auth": 2}) as world:
        statuses = [
            (
                await world.call(
                    "POST",
                    "/auth/login",
                    json={"email": "a@example.com", "password": "x"},
                    headers={"X-Forwarded-For": f"203.0.113.{number}"},
                )
            ).status
            for number in range(3)
        ]
    assert statuses == [401, 401, 429]


async def test_bad_credentials_are_limited_by_address(databases: RunningStack) -> None:
    """Trying keys and tokens ends in 429, with the headers."""
    async with account_world(databases, limits={**NO_LIMITS, "address": 3}) as world:
        replies = [
            await world.call("GET", "/me", headers={"Authorization": f"Bearer gst_{n:040d}"})
            for n in range(4)
        ]
    assert [reply.status for reply in replies] == [401, 401, 401, 429]
    assert all(name in reply.headers for reply in replies for name in RATE)


async def test_limits_are_shared_through_redis(databases: RunningStack) -> None:
    """Two processes let through together what one may."""
    redis = connect_redis(databases.redis_url, timeout_s=2.0)
    name = "two processes"
    buckets = [RedisTokenBuckets(redis), RedisTokenBuckets(redis)]
    taken = [await buckets[turn % 2].take_one(name, rate_per_s=0.001, burst=5) for turn in range(6)]
    assert [one.is_granted for one in taken] == [True] * 5 + [False]
    assert [one.left for one in taken] == [4, 3, 2, 1, 0, 0]
    assert taken[5].wait_s > 900
    assert await buckets[0].wait_for_one(name, rate_per_s=0.001, burst=5) > 900
    await redis.delete(f"rl:{name}")
    assert await buckets[0].wait_for_one(name, rate_per_s=0.001, burst=5) == 0
    await redis.delete(f"rl:{name}")
    await redis.aclose()


async def test_only_named_origins_may_call_from_a_browser(databases: RunningStack) -> None:
    """A dashboard's page gets its answers, others are told nothing; credentials stay off."""
    options = AccountOptions(cors_origins=frozenset({DASHBOARD}))
    async with account_world(databases, options=options) as world:
        preflight = {"Access-Control-Request-Method": "PATCH", "Origin": DASHBOARD}
        async with world.client.options("/api/v1/me", headers=preflight) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == DASHBOARD
            assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        reply = await world.call("GET", "/me", headers={"Origin": DASHBOARD})
        assert reply.status == 401
        assert reply.headers["Access-Control-Allow-Origin"] == DASHBOARD
        assert reply.headers["Vary"] == "Origin"
        for origin in ("https://evil.example", "https://dash.example.evil", "null", ""):
            reply = await world.call("GET", "/me", headers={"Origin": origin})
            assert not any(name.startswith("Access-Control") for name in reply.headers)
            preflight["Origin"] = origin
            async with world.client.options("/api/v1/me", headers=preflight) as answer:
                assert not any(name.startswith("Access-Control") for name in answer.headers)


async def test_answers_carry_security_headers(world: World) -> None:
    """Failures and successes alike; nothing of an answer may be kept."""
    ann = await world.register()
    for reply in (await world.call("GET", "/me", ann), await world.call("GET", "/nowhere")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


async def test_a_stream_says_what_every_answer_says(databases: RunningStack) -> None:
    """A page may read an export like any other answer, and who asks about it can name it."""
    options = AccountOptions(is_registration_open=True, cors_origins=frozenset({DASHBOARD}))
    async with account_world(databases, options=options) as world:
        ann = await world.register()
        project_id, _ = await world.project(ann)
        asked = {"Origin": DASHBOARD, "X-Request-Id": "asked-by-a-test"}
        told = [
            (await world.call("GET", f"/projects/{project_id}/{path}", ann, headers=asked)).headers
            for path in ("sessions", "export/sessions?format=csv", "export/events?format=ndjson")
        ]
        names = {
            name for name in told[0] if name.startswith(("X-", "Access-", "Vary", "Content-S"))
        }
        assert {"X-Request-ID", "X-RateLimit-Remaining", "Access-Control-Allow-Origin"} <= names
        for headers in told:
            assert names <= set(headers)
            assert headers["X-Request-Id"] == "asked-by-a-test"
            assert headers["Access-Control-Allow-Origin"] == DASHBOARD
        # What is answered before any of our code has an id, too.
        reply = await world.call("GET", "/me", headers={"Expect": "a miracle"}, data=b"")
        assert (reply.status, bool(reply.headers["X-Request-Id"])) == (417, True)


async def test_a_body_that_never_ends_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that stops sending gets 408 and its connection is closed."""
    monkeypatch.setattr(api.bodies, "BODY_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.client.port)
    writer.write(
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"email":'
    )
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"REQUEST_TIMEOUT" in answer
    writer.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_as_encoded_is_the_senders_fault(
    world: World, encoding: str
) -> None:
    """Anybody may send it, so it is no failure of the server."""
    headers = {
        "Content-Type": "application/json",
        "Content-Encoding": encoding,
        "Connection": "close",
    }
    reply = await world.call("POST", "/auth/login", data=b"xxxx", headers=headers)
    assert (reply.status, reply.code) == (400, "VALIDATION_ERROR")


def filled(route: Route, estate: Estate, person: Person) -> dict[str, Any]:
    """The example of the document with this person's own values in place of the made-up ones."""
    text = json.dumps(route.example)
    text = text.replace("ann@example.com", person.email).replace(
        "$refresh_token", person.refresh_token
    )
    text = text.replace("$invitation", estate.ids["invitation_token"])
    body: dict[str, Any] = json.loads(text)
    return body


@pytest.mark.parametrize(
    "route", ACCOUNT_ROUTES, ids=lambda route: f"{route.method} {route.path.removeprefix('/api')}"
)
async def test_examples_of_the_document_work(world: World, route: Route) -> None:
    """Each call, sent as documented by its owner, gives the documented status and data."""
    async with world.client.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    estate = await make_estate(world)
    person = estate.people[Access.OWNER]
    body: dict[str, Any] | None = None
    if route.path.endswith("/accept"):
        person, estate.ids["invitation_token"] = await an_invited_person(world, estate)
    else:
        estate.ids["invitation_token"] = ""
    if route.body is not None:
        if route.path.endswith("/register"):
            person = Person("", "new-" + person.email, "", "")
        body = filled(route, estate, person)
    headers = person.headers if person.access_token else {}
    reply = await world.call(route.method, estate.path(route), headers=headers, json=body)
    assert reply.status == route.status, reply.document
    told = document["paths"][route.path][route.method.lower()]["responses"][str(route.status)]
    schema = told["content"]["application/json"]["schema"]
    faults = [
        fault.message
        for fault in OAS31Validator({**schema, "components": document["components"]}).iter_errors(
            reply.document
        )
    ]
    assert faults == []
    told_fields = set(re.findall(r'"(\w+)":', json.dumps(reply.document)))
    assert not told_fields & {"password_hash", "token_hash", "key_hash", "account_id", "tenant_id"}


async def an_invited_person(world: World, estate: Estate) -> tuple[Person, str]:
    """Somebody with an account who was invited before they had it."""
    email = f"late-{estate.project_id[:8]}@example.com"
    owner = estate.people[Access.OWNER]
    body = {"email": email, "role": "member"}
    path = f"/projects/{estate.project_id}/members"
    token = (await world.call("POST", path, owner, json=body)).data["invitation"]["token"]
    register = {"email": email, "password": PASSWORD, "name": "Late"}
    return person_of(await world.call("POST", "/auth/register", json=register)), token
