"""The live WebSocket on the real servers: who gets what, and when a connection ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from aiohttp import WSServerHandshakeError

from api.accounts.services import AccountOptions
from api.realtime.limits import RealtimeLimits
from api.realtime.service import REALTIME
from connectors.clickhouse import connect, insert_arrow
from connectors.live_counters import RedisLiveCounters
from tests.integration.api.account_world import Person, World
from tests.integration.api.realtime_world import (
    alert_record,
    connected,
    events_record,
    insight_record,
    live_world,
    produce,
    session_record,
)
from tests.stack import RunningStack

STREAMS = ("sessions", "events", "insights", "alerts")
DASHBOARD = "https://dash.example"
KINDS = frozenset(
    {"session.start", "session.end", "event", "insight", "alert.triggered", "alert.resolved"}
)


@pytest.fixture
async def live(databases: RunningStack) -> AsyncIterator[World]:
    """The account side with live WebSockets."""
    async with live_world(databases) as world:
        yield world


async def shop_of(world: World) -> tuple[Person, str]:
    """Somebody with a project."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    return owner, project_id


async def test_what_happens_reaches_its_project_and_nobody_else(
    live: World, databases: RunningStack
) -> None:
    """A visit, an insight and an alert reach two clients alike; another tenant gets its own."""
    owner, ours = await shop_of(live)
    other, theirs = await shop_of(live)
    async with (
        connected(live, ours, owner, *STREAMS) as first,
        connected(live, ours, owner, *STREAMS) as second,
        connected(live, theirs, other, *STREAMS) as foreign,
    ):
        session_id, insight_id = str(uuid4()), str(uuid4())
        began_s = time.monotonic()
        ended = {"revision": 7, "is_closed": True, "duration_ms": 61_000, "page_count": 4}
        await produce(
            databases,
            [
                session_record(ours, session_id),
                session_record(ours, session_id, revision=2),
                session_record(ours, session_id, **ended),
                insight_record(ours, insight_id, is_provisional=True),
                alert_record(ours),
                alert_record(ours, "still_firing"),
                alert_record(ours, "resolved", value=None),
                events_record(ours, session_id, 2),
                # A key that lies about whose it is reaches nobody.
                insight_record(ours, "forged")._replace(key=theirs.encode()),
            ],
        )
        for client in (first, second):
            while len(client.ids(*KINDS)) < 7:
                await client.next(*KINDS)
        assert time.monotonic() - began_s < 10
        mark = str(uuid4())
        await produce(
            databases,
            [
                session_record(theirs, mark),
                insight_record(theirs, mark),
                alert_record(theirs, rule_id=mark),
                events_record(theirs, mark),
            ],
        )
        while len(foreign.ids(*KINDS)) < 4:
            await foreign.next(*KINDS)
        for kind in KINDS - {"session.end", "alert.resolved"}:
            assert len(foreign.ids(kind)) == 1, kind
        text = json.dumps(foreign.got)
        assert mark in text
        assert session_id not in text
        assert insight_id not in text
        assert "forged" not in json.dumps([first.got, second.got]) + text
        assert mark not in json.dumps([first.got, second.got])
    got = {message["type"]: message["data"] for message in first.got if "data" in message}
    assert got["session.start"] == {
        "session_id": session_id,
        "user_id": "ann",
        "url": "https://shop.example/",
        "device": "mobile",
        "country": "Sweden",
    }
    assert got["session.end"] == {
        "session_id": session_id,
        "duration_ms": 61_000,
        "page_count": 4,
    }
    assert got["insight"] == {
        "insight_id": insight_id,
        "type": "rage_click",
        "path": "/cart",
        "provisional": True,
    }
    assert got["alert.triggered"]["rule_name"] == "Rage Click Spike"
    assert got["alert.triggered"]["metric_value"] == 11
    assert got["alert.resolved"]["metric_value"] is None
    assert set(got["event"]) == {"session_id", "event_type", "timestamp"}
    assert (got["event"]["session_id"], got["event"]["event_type"]) == (session_id, "page_view")
    assert sorted(first.ids(*KINDS)) == sorted(second.ids(*KINDS))
    assert len(set(first.ids(*KINDS))) == 7


async def test_a_channel_that_is_left_is_silent(live: World, databases: RunningStack) -> None:
    """What is not subscribed does not come; metrics comes by itself, pings are answered."""
    owner, project_id = await shop_of(live)
    async with connected(live, project_id, owner) as client:
        assert (await client.next("metrics"))["data"]["active_sessions"] == 0
        await client.subscribe("insights", "sessions")
        await client.send(type="unsubscribe", channels=["sessions", "metrics", "alerts"])
        assert (await client.next("unsubscribed"))["data"] == {"channels": ["insights"]}
        await client.send(type="ping")
        await client.next("pong")
        await produce(databases, [session_record(project_id, str(uuid4()))])
        await produce(databases, [insight_record(project_id, "seen")])
        assert (await client.next("insight", "session.start"))["type"] == "insight"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ('{"type": "hello"}', 4400),
        ('{"type": "auth"}', 4400),
        ('{"type": "auth", "token": "x", "more": 1}', 4400),
        ('{"type": "subscribe", "channels": ["everything"]}', 4400),
        ('{"type": "subscribe", "channels": []}', 4400),
        ('{"type": "subscribe", "channels": ["events"], "last_id": "1"}', 4400),
        (b'{"type": "ping"}', 4400),
        ('{"type": "ping"}', 4401),
        ('{"type": "subscribe", "channels": ["events"]}', 4401),
        ('{"type": "auth", "token": "nonsense"}', 4401),
        ('{"type": "auth", "token": "gst_' + "0" * 40 + '"}', 4401),
        ('{"type": "auth", "token": "gs_api_' + "0" * 32 + '"}', 4401),
        ('{"type": "ping", "x": "' + "x" * 5_000 + '"}', 1009),
    ],
)
async def test_who_says_something_wrong_is_closed(
    live: World, said: str | bytes, code: int
) -> None:
    """Before anything is told, with a code that says why."""
    _, project_id = await shop_of(live)
    async with connected(live, project_id) as client:
        await (
            client.socket.send_bytes(said)
            if isinstance(said, bytes)
            else client.socket.send_str(said)
        )
        assert await client.code() == code
        assert client.got == []


async def test_who_may_not_read_is_closed(live: World) -> None:
    """Another tenant, a project that is none, a key or token that may not read: 4403, all alike."""
    owner, project_id = await shop_of(live)
    stranger, _ = await shop_of(live)
    body = {"name": "w", "scopes": ["write"]}
    writing = (await live.call("POST", "/me/api-tokens", owner, json=body)).data["token"]
    body = {"name": "r", "scopes": ["read"]}
    reading = (await live.call("POST", "/me/api-tokens", owner, json=body)).data["token"]
    keys = {}
    for permission in ("read", "write"):
        body = {"name": permission, "permissions": [permission]}
        reply = await live.call("POST", f"/projects/{project_id}/api-keys", owner, json=body)
        keys[permission] = reply.data["key"]
    refused = [
        (project_id, stranger.access_token),
        (str(uuid4()), owner.access_token),
        ("no-id", owner.access_token),
        (project_id, writing),
        (project_id, keys["write"]),
        (str(uuid4()), keys["read"]),
    ]
    for path_id, token in refused:
        async with connected(live, path_id) as client:
            await client.send(type="auth", token=token)
            assert (await client.code(), client.got) == (4403, []), token[:8]
    for token, role in ((reading, "owner"), (keys["read"], "viewer")):
        async with connected(live, project_id) as client:
            assert (await client.log_in(token))["data"] == {"role": role}


async def test_alerts_are_for_members(live: World, databases: RunningStack) -> None:
    """A viewer is told so and keeps the rest; who becomes a viewer is told, too."""
    owner, project_id = await shop_of(live)
    viewer = await live.join(owner, project_id, "viewer")
    member = await live.join(owner, project_id, "member")
    async with live_world(databases, RealtimeLimits(look_s=0.02, recheck_s=0.1)) as world:
        async with connected(world, project_id, viewer) as client:
            answer = await client.subscribe("alerts", "insights")
            assert answer["data"] == {"channels": ["insights", "metrics"]}
            (told,) = [message for message in client.got if message["type"] == "error"]
            assert told["data"]["code"] == "FORBIDDEN"
            await produce(databases, [alert_record(project_id), insight_record(project_id, "i")])
            await client.next("insight")
        async with connected(world, project_id, member, "alerts") as client:
            await produce(databases, [alert_record(project_id)])
            await client.next("alert.triggered")
            path = f"/projects/{project_id}/members/{member.id}"
            await live.call("PATCH", path, owner, json={"role": "viewer"})
            assert (await client.next("error"))["data"]["code"] == "FORBIDDEN"


async def test_access_that_ends_ends_the_connection(live: World, databases: RunningStack) -> None:
    """Within a period: a removed member, a login that is over, a revoked key or token."""
    owner, project_id = await shop_of(live)
    member = await live.join(owner, project_id, "member")
    leaver = await live.join(owner, project_id, "member")
    body = {"name": "r", "scopes": ["read"]}
    token = (await live.call("POST", "/me/api-tokens", owner, json=body)).data
    body = {"name": "r", "permissions": ["read"]}
    key = (await live.call("POST", f"/projects/{project_id}/api-keys", owner, json=body)).data
    endings = [
        (member, "DELETE", f"/projects/{project_id}/members/{member.id}", owner, 4403),
        (leaver, "POST", "/auth/logout", leaver, 4401),
        (token["token"], "DELETE", f"/me/api-tokens/{token['id']}", owner, 4401),
        (key["key"], "DELETE", f"/projects/{project_id}/api-keys/{key['id']}", owner, 4401),
    ]
    async with live_world(databases, RealtimeLimits(look_s=0.02, recheck_s=0.2)) as world:
        for who, method, path, by, code in endings:
            async with connected(world, project_id, who, "sessions") as client:
                body = {} if method == "POST" else None
                assert (await live.call(method, path, by, json=body)).status == 200
                assert await client.code() == code, path


async def test_a_token_counts_until_it_expires_and_can_be_renewed(live: World) -> None:
    """At its end, not at the next look; a newer one of the same account goes on, no other does."""
    owner, project_id = await shop_of(live)
    member = await live.join(owner, project_id, "member")
    async with (
        connected(live, project_id, owner) as old,
        connected(live, project_id, owner) as renewed,
        connected(live, project_id, owner) as swapped,
    ):
        live.clock.forward(600)
        newer = await live.log_in(owner)
        await renewed.log_in(newer.access_token)
        await swapped.send(type="auth", token=member.access_token)
        assert await swapped.code() == 4401
        live.clock.forward(301)
        assert await old.code() == 4401
        await renewed.send(type="ping")
        await renewed.next("pong")
        async with connected(live, project_id) as late:
            await late.send(type="auth", token=owner.access_token)
            assert await late.code() == 4401


async def test_who_says_nothing_is_closed(databases: RunningStack) -> None:
    """Without auth in time 4401; who answers no ping 4408; who answers stays."""
    limits = RealtimeLimits(look_s=0.02, auth_s=0.3, ping_s=0.3, silence_s=1.0)
    async with live_world(databases, limits) as world:
        owner, project_id = await shop_of(world)
        async with connected(world, project_id) as client:
            assert await client.code() == 4401
        async with (
            connected(world, project_id, owner) as answering,
            connected(world, project_id, owner, autoping=False) as deaf,
        ):
            reading = asyncio.create_task(answering.code())
            assert await deaf.code() == 4408
            assert not reading.done()
            await world.client.app[REALTIME].say_goodbye(world.client.app)
            assert await reading == 1001


async def test_connections_are_limited(databases: RunningStack) -> None:
    """Five of an account and project, and as many as a process takes; a seat left is free."""
    async with live_world(databases) as world:
        owner, project_id = await shop_of(world)
        other_id, _ = await world.project(owner, "Other")
        member = await world.join(owner, project_id, "member")
        clients = [connected(world, project_id, owner) for _ in range(5)]
        for client in clients:
            await client.__aenter__()
        async with connected(world, project_id) as sixth:
            await sixth.send(type="auth", token=owner.access_token)
            assert await sixth.code() == 4429
        async with connected(world, other_id, owner), connected(world, project_id, member):
            pass
        await clients[0].__aexit__(None, None, None)
        async with connected(world, project_id, owner, "metrics"):
            pass
        for client in clients[1:]:
            await client.__aexit__(None, None, None)
        async with connected(world, project_id, owner) as chatty:
            for _ in range(40):
                await chatty.send(type="ping")
            assert await chatty.code() == 4429
    for limits in (
        RealtimeLimits(look_s=0.02, connections_max=1),
        RealtimeLimits(look_s=0.02, unknown_max=1),
    ):
        async with live_world(databases, limits) as world:
            owner, project_id = await shop_of(world)
            async with connected(world, project_id):
                with pytest.raises(WSServerHandshakeError) as refused:
                    await connected(world, project_id).__aenter__()
                assert refused.value.status == 503


async def test_only_named_pages_may_connect(databases: RunningStack) -> None:
    """Browsers say whose page it is; what is no WebSocket, or has a token in it, gets 400."""
    options = AccountOptions(is_registration_open=True, cors_origins=frozenset({DASHBOARD}))
    async with live_world(databases, options=options) as world:
        owner, project_id = await shop_of(world)
        path = f"/api/v1/projects/{project_id}/realtime"
        own = f"http://127.0.0.1:{world.client.port}"
        for origin in (DASHBOARD, own):
            async with connected(world, project_id, owner, origin=origin):
                pass
        for origin in ("https://evil.example", "null", DASHBOARD + ".evil.example"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await connected(world, project_id, origin=origin).__aenter__()
            assert refused.value.status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await connected(world, project_id, path=f"{path}?token=x").__aenter__()
        assert refused.value.status == 400
        reply = await world.call("GET", path, owner)
        assert (reply.status, reply.code) == (400, "VALIDATION_ERROR")
        async with connected(world, project_id, owner, path=f"/ws?project={project_id}") as alias:
            await alias.next("metrics")


async def test_metrics_are_what_the_reads_say(live: World, databases: RunningStack) -> None:
    """Sessions of the last five minutes and events stored in the last whole minute."""
    owner, project_id = await shop_of(live)
    now_ms = live.clock.now_ms
    minute_ms = (now_ms - 5_000) // 60_000 * 60_000 - 60_000
    live_sessions = {(project_id, now_ms // 60_000 * 60_000): [str(uuid4()) for _ in range(3)]}
    RedisLiveCounters(databases.redis_url).put(live_sessions, {}, "test")
    entry: dict[str, Any] = {
        "project_id": project_id,
        "source_topic": project_id,
        "source_partition": 0,
        "block_first": 0,
        "block_last": 0,
    }
    entries = [
        {**entry, "minute": at(minute_ms), "outcome": "received", "events": 40},
        {**entry, "minute": at(minute_ms), "outcome": "stored", "events": 37},
        {**entry, "minute": at(minute_ms - 60_000), "outcome": "stored", "events": 99},
    ]
    client = connect(databases.clickhouse_url)
    insert_arrow(client, "ledger_entries", pa.Table.from_pylist(entries), project_id)
    client.close()
    async with connected(live, project_id, owner, "visitors") as socket:
        figures = (await socket.next("metrics"))["data"]
        visitors = (await socket.next("visitors"))["data"]
        await produce(databases, [session_record(project_id, str(uuid4()))])
        changed = (await socket.next("visitors"))["data"]
    here = (await live.call("GET", f"/projects/{project_id}/visitors/active", owner)).data
    ledger = (
        await live.call(
            "GET",
            f"/projects/{project_id}/ledger",
            owner,
            params={
                "start_date": at(minute_ms).isoformat().replace("+00:00", "Z"),
                "end_date": at(minute_ms + 60_000).isoformat().replace("+00:00", "Z"),
            },
        )
    ).data
    assert figures == {
        "active_sessions": here["visitors_now"],
        "events_per_minute": ledger["totals"]["stored"],
    }
    assert figures == {"active_sessions": 3, "events_per_minute": 37}
    assert visitors == {"visitors_now": 3, "changes": {"started": 0, "ended": 0}}
    assert changed == {"visitors_now": 3, "changes": {"started": 1, "ended": 0}}


def at(at_ms: int) -> datetime:
    """A time as rows hold it."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
