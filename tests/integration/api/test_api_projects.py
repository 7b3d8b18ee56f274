"""Projects, keys, members, invitations, filters, notes, public page: a whole life over HTTP."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from api.access import Access
from api.accounts.services import AccountOptions
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, connect_redis
from connectors.secret_texts import hash_of
from ingest_gateway.decode import DecodeLimits, decode
from ingest_gateway.judge import Project, judge
from ingest_gateway.request import BodyForm
from schemas.records import ProjectKey
from tests.integration.api import account_world as account_world_module
from tests.integration.api.account_world import (
    NO_LIMITS,
    World,
    account_world,
)
from tests.integration.api.test_cache_read import CountingRunner
from tests.stack import RunningStack


async def test_a_project_lives_over_http_alone(world: World) -> None:
    """Made, listed, changed, given keys, deleted: nothing needs another way in."""
    ann = await world.register()
    body = {"name": "Ann's Shop!", "allowed_domains": ["Shop.example", "*.shop.example"]}
    made = (await world.call("POST", "/projects", ann, json=body)).data
    assert made["slug"].startswith("ann-s-shop")
    assert made["role"] == "owner"
    assert made["allowed_domains"] == ["shop.example", "*.shop.example"]
    assert made["api_key"].startswith("gs_live_")
    path = f"/projects/{made['id']}"
    (listed,) = (await world.call("GET", "/projects", ann)).data
    assert (listed["id"], listed["role"]) == (made["id"], "owner")
    assert listed["stats"] == {"sessions_today": 0, "events_today": 0}
    assert "api_key" not in (await world.call("GET", path, ann)).data
    changed = await world.call("PATCH", path, ann, json={"name": "Bazaar"})
    assert (changed.data["name"], changed.data["slug"]) == ("Bazaar", made["slug"])
    reply = await world.call("DELETE", path, ann)
    assert (reply.status, reply.data["id"]) == (202, made["id"])
    assert (await world.call("GET", path, ann)).status == 404
    assert (await world.call("GET", "/projects", ann)).data == []


async def test_slugs_are_unique_also_at_once(world: World) -> None:
    """Projects of one name that are made together get a slug each."""
    ann = await world.register()
    name = f"Shop {uuid4().hex[:8]}"
    replies = await asyncio.gather(
        *(world.call("POST", "/projects", ann, json={"name": name}) for _ in range(12))
    )
    # 503: a busy machine that waited too long.
    assert {reply.status for reply in replies} <= {201, 503}
    slugs = [reply.data["slug"] for reply in replies if reply.status == 201]
    assert len(set(slugs)) == len(slugs) > 1


async def test_a_tenant_owns_its_projects(world: World) -> None:
    """An account's projects are of one tenant; deleting it removes them."""
    ann = await world.register()
    one, _ = await world.project(ann)
    two, _ = await world.project(ann)
    database = world.accounts.database
    query = "SELECT DISTINCT tenant_id::text AS id FROM projects WHERE id = ANY(%(ids)s::uuid[])"
    (tenant,) = await database.rows(query, ids=[one, two])
    await database.run("DELETE FROM tenants WHERE id = %(id)s", id=tenant["id"])
    assert (await world.call("GET", f"/projects/{one}", ann)).status == 404


async def test_settings_merge_key_by_key_and_null_takes_away(world: World) -> None:
    """What is not named stays; only what differs from the defaults is kept."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}"
    for settings in (
        {"events": {"mouse": False, "scroll": False}, "timezone": "Asia/Tokyo"},
        {"events": {"scroll": None, "network": True}},
    ):
        reply = await world.call("PATCH", path, ann, json={"settings": settings})
    assert reply.data["settings"] == {
        "events": {"mouse": False, "network": True},
        "timezone": "Asia/Tokyo",
    }
    reply = await world.call("PUT", path, ann, json={"settings": {"events": None}})
    assert reply.data["settings"] == {"timezone": "Asia/Tokyo"}


async def test_bad_settings_are_all_named_and_nothing_is_changed(world: World) -> None:
    """Each key at fault is in the details."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}"
    settings = {
        "events": {"mouse": "no", "smell": True},
        "sampling": {"sessionSampleRate": 101},
        "privacy": {"maskRegex": ["("], "level": 9, "ip": {"method": ["x"]}},
        "colour": "red",
    }
    reply = await world.call("PATCH", path, ann, json={"name": "Other", "settings": settings})
    assert reply.status == 400
    assert set(reply.document["error"]["details"]) == {
        "events.mouse",
        "events.smell",
        "sampling.sessionSampleRate",
        "privacy.maskRegex[0]",
        "privacy.level",
        "privacy.ip.method",
        "colour",
    }
    assert (await world.call("GET", path, ann)).data["name"] == "Shop"


async def test_bad_settings_that_are_there_do_not_forbid_a_new_name(world: World) -> None:
    """Only who changes settings is told of them."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    update = "UPDATE projects SET settings = '{\"colour\": 1}' WHERE id = %(id)s"
    await world.accounts.database.run(update, id=project_id)
    path = f"/projects/{project_id}"
    assert (await world.call("PATCH", path, ann, json={"name": "Other"})).status == 200
    body = {"settings": {"timezone": "UTC"}}
    assert (await world.call("PATCH", path, ann, json=body)).status == 400
    body = {"settings": {"colour": None}}
    assert (await world.call("PATCH", path, ann, json=body)).status == 200


@pytest.mark.parametrize(
    "domain", ["", "a b", "*", "*.", "ftp://x", "x/y", "http://", "-a.example"]
)
async def test_domains_that_could_never_match_are_refused(world: World, domain: str) -> None:
    """A misspelt domain is told when it is saved."""
    ann = await world.register()
    reply = await world.call(
        "POST", "/projects", ann, json={"name": "S", "allowed_domains": [domain]}
    )
    assert reply.status == 400


async def found_key(databases: RunningStack, text: str) -> ProjectKey | None:
    """A key as a gateway with an empty memory sees it now."""
    pool = await connect_postgres(databases.database_url)
    redis = connect_redis(databases.redis_url, timeout_s=2.0)
    try:
        store = KeyStore(PostgresKeySource(pool), RedisKeyCache(redis))
        return await store.find(hash_of(text))
    finally:
        await redis.aclose()
        await pool.close()


def judged(key: ProjectKey, event_type: str) -> tuple[int, list[str]]:
    """What the gateway's judge does with an event of this type: taken, reasons."""
    now_ms = 1_795_255_200_000
    event = {
        "event_id": str(uuid4()),
        "session_id": str(uuid4()),
        "event_type": event_type,
        "timestamp": now_ms,
        "page": {"url": "https://shop.example/", "path": "/"},
    }
    batch = decode(json.dumps({"events": [event]}).encode(), BodyForm.JSON, DecodeLimits())
    result = judge(batch, Project.of(key), now_ms, opted_out=False)
    return len(result.accepted), [refusal.reason.value for refusal in result.refusals]


@pytest.mark.parametrize(
    ("category", "event_type"), [("mouse", "click"), ("scroll", "scroll"), ("form", "form_submit")]
)
async def test_a_category_switched_off_over_http_is_refused_by_the_gateway(
    world: World, databases: RunningStack, category: str, event_type: str
) -> None:
    """The gateway has the key cached; after the change it refuses the kind, and takes others."""
    ann = await world.register()
    project_id, text = await world.project(ann)
    key = await found_key(databases, text)
    assert key is not None
    assert judged(key, event_type)[1] != ["type_disabled"]
    body = {"settings": {"events": {category: False}}}
    await world.call("PATCH", f"/projects/{project_id}", ann, json=body)
    key = await found_key(databases, text)
    assert key is not None
    assert judged(key, event_type) == (0, ["type_disabled"])
    assert judged(key, "page_view")[0] == 1


async def test_revoked_and_deleted_keys_are_unknown_to_gateways_at_once(
    world: World, databases: RunningStack
) -> None:
    """A key that a gateway has in its cache is gone with the answer."""
    ann = await world.register()
    project_id, first = await world.project(ann)
    path = f"/projects/{project_id}"
    body = {"name": "second", "permissions": ["read"], "rate_limit": 7}
    made = await world.call("POST", f"{path}/api-keys", ann, json=body)
    second = made.data["key"]
    assert second.startswith("gs_api_")
    assert made.data["key_prefix"] == second[:12]
    headers = {"X-GoSight-Key": second}
    assert (await world.call("GET", path, headers=headers)).data["role"] == "viewer"
    assert await found_key(databases, first) is not None
    listed = (await world.call("GET", f"{path}/api-keys", ann)).data
    assert [key["name"] for key in listed] == ["Default", "second"]
    assert not any("key" in key or "key_hash" in key for key in listed)
    assert (await world.call("DELETE", f"{path}/api-keys/{made.data['id']}", ann)).status == 200
    assert (await world.call("GET", path, headers=headers)).status == 401
    assert await found_key(databases, second) is None
    await world.call("DELETE", path, ann)
    assert await found_key(databases, first) is None
    (order,) = await world.accounts.database.rows(
        "SELECT * FROM project_erasures WHERE project_id = %(id)s", id=project_id
    )
    assert (order["name"], str(order["requested_by"])) == ("Shop", ann.id)
    assert order["finished_at"] is None


async def test_a_key_can_be_revoked_only_under_its_own_project(world: World) -> None:
    """BOLA: an admin elsewhere does not reach it, and it goes on."""
    ann, eve = await world.register(), await world.register("eve")
    project_id, _ = await world.project(ann)
    evil_id, _ = await world.project(eve)
    (key,) = (await world.call("GET", f"/projects/{project_id}/api-keys", ann)).data
    for path in (f"/projects/{evil_id}", f"/projects/{project_id}"):
        assert (await world.call("DELETE", f"{path}/api-keys/{key['id']}", eve)).status == 404
    (key,) = (await world.call("GET", f"/projects/{project_id}/api-keys", ann)).data
    assert key["is_active"]


@pytest.mark.parametrize(
    "body",
    [
        {"permissions": ["admin"]},
        {"permissions": ["read", "write"]},
        {"permissions": []},
        {"permissions": ["read"], "rate_limit": 0},
        {"permissions": ["read"], "expires_at": "2020-01-01T00:00:00Z"},
        {"permissions": ["read"], "expires_at": "2030-01-01"},
        {"permissions": ["read"], "key": "gs_api_" + "0" * 32},
        {"permissions": ["read"], "project_id": "00000000-0000-4000-8000-000000000001"},
        {"permissions": ["read"], "key_hash": "0" * 64},
    ],
    ids=str,
)
async def test_mass_assignment_of_keys_is_refused(world: World, body: dict[str, object]) -> None:
    """A key has one permission of two, and nothing of it can be chosen that is not offered."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    reply = await world.call("POST", f"/projects/{project_id}/api-keys", ann, json=body)
    assert reply.status == 400


@pytest.mark.parametrize(
    "expires_at",
    [
        "9999-12-31T23:59:59-05:00",
        "9999-12-31T23:59:59.9999Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
    ],
)
async def test_an_end_at_the_edge_of_time_is_refused(world: World, expires_at: str) -> None:
    """It can be stored and then never be read again: the list would fail for ever."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    key = {"permissions": ["read"], "expires_at": expires_at}
    token = {"name": "t", "scopes": ["read"], "expires_at": expires_at}
    for path, body in ((f"/projects/{project_id}/api-keys", key), ("/me/api-tokens", token)):
        reply = await world.call("POST", path, ann, json=body)
        assert (reply.status, reply.code) == (400, "VALIDATION_ERROR")
        assert list(reply.document["error"]["details"]) == ["expires_at"]
        body = {**body, "expires_at": "9998-12-31T23:59:59.9999-12:00"}
        assert (await world.call("POST", path, ann, json=body)).status == 201
        assert (await world.call("GET", path, ann)).data[-1]["expires_at"].startswith("9999-01-01")


async def test_a_shared_filter_is_seen_by_others_and_a_private_one_is_not(world: World) -> None:
    """Only its author or an admin changes one; another project sees nothing."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}/filters"
    author, other = [await world.join(ann, project_id, "member") for _ in range(2)]
    body = {"name": "Angry", "filter_type": "sessions", "filter": {"has_rage_click": True}}
    made = (await world.call("POST", path, author, json=body)).data
    assert (await world.call("POST", path, author, json=body)).status == 409
    one = f"{path}/{made['id']}"
    assert (await world.call("GET", path, other)).data == []
    assert (await world.call("PATCH", one, other, json={"name": "X"})).status == 404
    assert (await world.call("PATCH", one, ann, json={"name": "X"})).status == 404
    shared = await world.call("PATCH", one, author, json={"is_shared": True})
    assert shared.data["filter"] == {"has_rage_click": True}
    (seen,) = (await world.call("GET", path, other)).data
    assert (seen["name"], seen["is_own"]) == ("Angry", False)
    assert (await world.call("PATCH", one, other, json={"name": "X"})).status == 403
    assert (await world.call("DELETE", one, other)).status == 403
    eve = await world.register("eve")
    evil_id, _ = await world.project(eve)
    evil = f"/projects/{evil_id}/filters/{made['id']}"
    assert (await world.call("DELETE", evil, eve)).status == 404
    assert (await world.call("DELETE", one, ann)).status == 200


async def test_notes_are_of_the_project_and_changed_by_their_author(world: World) -> None:
    """Viewers read, members write, authors and admins change; spans of days are kept to."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}/notes"
    member, other = [await world.join(ann, project_id, "member") for _ in range(2)]
    viewer = await world.join(ann, project_id, "viewer")
    body = {"content": "Release 4.2", "note_date": "2026-11-20", "tags": ["release"]}
    made = (await world.call("POST", path, member, json=body)).data
    assert (made["author"], made["note_date"]) == ("member", "2026-11-20")
    assert (await world.call("POST", path, viewer, json=body)).status == 403
    one = f"{path}/{made['id']}"
    assert (await world.call("PATCH", one, other, json={"content": "X"})).status == 403
    assert (await world.call("PATCH", one, member, json={"tags": []})).data["tags"] == []
    for days, count in (
        ("", 1),
        ("?start_date=2026-11-20&end_date=2026-11-20", 1),
        ("?start_date=2026-11-21", 0),
        ("?end_date=2026-11-19", 0),
    ):
        assert len((await world.call("GET", path + days, viewer)).data) == count
    assert (await world.call("GET", f"{path}?start_date=yesterday", viewer)).status == 400
    assert (await world.call("DELETE", one, ann)).status == 200


async def test_the_public_page_shows_totals_and_ends_at_once(world: World) -> None:
    """Nobody needs to log in; nothing but totals is told; switched off it is 404."""
    ann = await world.register()
    project_id, _ = await world.project(ann, f"Public {uuid4().hex[:8]}")
    path = f"/projects/{project_id}/public-dashboard"
    assert (await world.call("GET", path, ann)).data == {"enabled": False, "slug": None}
    made = (await world.call("PUT", path, ann, json={"enabled": True})).data
    public = f"/public/{made['slug']}/overview"
    reply = await world.call("GET", public)
    assert set(reply.data) == {"name", "period", "summary"}
    assert set(reply.data["summary"]) == {
        "page_views",
        "page_views_change",
        "visitors",
        "visitors_change",
    }
    assert (await world.call("GET", f"{public}?days=8")).status == 400
    bob = await world.register("bob")
    other_id, _ = await world.project(bob)
    taken = {"enabled": True, "slug": made["slug"]}
    other = f"/projects/{other_id}/public-dashboard"
    assert (await world.call("PUT", other, bob, json=taken)).status == 409
    await world.call("PUT", path, ann, json={"enabled": False})
    assert (await world.call("GET", public)).status == 404
    for slug in ("nobody", "%00", "%FF", "..", "A" * 2_000):
        assert (await world.call("GET", f"/public/{slug}/overview")).status == 404


async def test_the_public_page_has_a_limit_by_address(databases: RunningStack) -> None:
    """Sixty a minute, whoever reads."""
    async with account_world(databases, limits={**NO_LIMITS, "public": 3}) as world:
        replies = [await world.call("GET", "/public/nobody/overview") for _ in range(4)]
    assert [reply.status for reply in replies] == [404, 404, 404, 429]
    assert replies[3].headers["Retry-After"] == "20"


async def test_a_crowd_on_the_public_page_costs_what_one_reader_costs(
    databases: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nobody has an answer yet."""
    monkeypatch.setattr(account_world_module, "ClickHouseRunner", CountingRunner)
    options = AccountOptions(is_registration_open=True)
    async with account_world(databases, options=options) as world:
        runner = world.services.queries
        assert isinstance(runner, CountingRunner)
        runner.asked = []
        ann = await world.register()
        project_id, _ = await world.project(ann)
        body = {"enabled": True}
        page = await world.call("PUT", f"/projects/{project_id}/public-dashboard", ann, json=body)
        path = f"/public/{page.data['slug']}/overview"
        replies = await asyncio.gather(*(world.call("GET", path) for _ in range(30)))
        assert {reply.data["name"] for reply in replies} == {"Shop"}
        assert len(runner.asked) == 2  # The period and the one before it.


def test_roles_are_in_order() -> None:
    """What the checks compare is the order of the specification."""
    order = [Access.VIEWER, Access.MEMBER, Access.ADMIN, Access.OWNER]
    assert sorted(order) == order
