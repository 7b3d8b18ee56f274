"""A visitor's data as a file, deleted projects and accounts, and the audit log of all that."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiohttp import ClientPayloadError, ClientSession

import api.reads.exports
from connectors.erasing_store import PROJECT_TABLES
from standalone.ports import choose_port
from tests.integration.api.account_world import PASSWORD, Person, World
from tests.integration.api.erasure_world import (
    ANN,
    ANNS,
    BOB,
    LAPTOP,
    PHONE,
    SHARED,
    STRANGER,
    VISITS,
    ErasureWorld,
    erasure_world,
)
from tests.integration.api.test_erasures import COUNTS, ROOT, Scene
from tests.stack import RunningStack


@pytest.fixture
async def scene(databases: RunningStack, world: World) -> AsyncIterator[Scene]:
    """Two projects with the same visitors."""
    owner = await world.register("owner")
    ours, _ = await world.project(owner, "Ours")
    theirs, _ = await world.project(await world.register("other"), "Theirs")
    shop = erasure_world(databases, ours, theirs)
    yield Scene(world, owner, shop)
    shop.client.close()


async def export(scene: Scene, visitor: str) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """The job and the lines of each file of the archive."""
    reply = await scene.api.call("GET", f"{scene.path}/users/{visitor}/data/export", scene.owner)
    assert reply.status == 202, reply.document
    job_id = reply.data["job_id"]
    assert scene.worker().run_once()
    assert (await scene.job(job_id))["state"] == "done"
    content = await download(scene, job_id, scene.owner)
    assert content is not None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return job_id, {
            name.removesuffix(".ndjson"): [
                json.loads(line) for line in archive.read(name).splitlines()
            ]
            for name in archive.namelist()
        }


async def download(scene: Scene, job_id: str, person: Person) -> bytes | None:
    """The file; None if there is none for them."""
    url = f"/api/v1{scene.path}/jobs/{job_id}/download"
    async with scene.api.client.get(url, headers=person.headers) as answer:
        if answer.status != 200:
            return None
        assert answer.content_type == "application/zip"
        return await answer.read()


def ids_of(shop: ErasureWorld, *names: str) -> set[str]:
    """Sessions of visits."""
    return {shop.session_id(shop.ours, name) for name in names}


async def test_an_export_has_every_row_of_a_visitor_and_no_other(scene: Scene) -> None:
    """By user, or by a browser: with the visit before they said who they are."""
    shop = scene.shop
    for visitor in (ANN, PHONE):
        job_id, files = await export(scene, visitor)
        profile = {
            "asked_for": visitor,
            "user_ids": [ANN],
            "anonymous_ids": sorted([PHONE, LAPTOP]),
            "shared_devices": [SHARED],
        }
        assert files["profile"] == [profile]
        assert {table: len(files[table]) for table in COUNTS} == COUNTS
        wanted = {
            row["event_id"]
            for row in shop.events(shop.ours)
            if row["session_id"] in ids_of(shop, *ANNS)
        }
        assert {row["event_id"] for row in files["events"]} == wanted
        for table in ("sessions", "insights", "replay_chunks"):
            assert {row["session_id"] for row in files[table]} == ids_of(shop, *ANNS)
        assert "data" not in files["replay_chunks"][0]
        assert {row["table"] for row in files["documents"]} == {"alert_history", "saved_filters"}
        assert BOB not in json.dumps(files)
        assert (await scene.job(job_id))["result"]["rows"]["events"] == COUNTS["events"]
    _, files = await export(scene, STRANGER)
    assert {row["session_id"] for row in files["events"]} == ids_of(shop, "a stranger")
    assert shop.rows("events", shop.ours, "1") != []
    ((left,),) = shop.client.query("SELECT count() FROM erasing_ids").result_rows
    assert left == 0


async def test_a_file_is_for_admins_for_a_day_and_gone_with_the_visitor(scene: Scene) -> None:
    """Nobody else gets it, nor anybody later, nor after an erasure."""
    job_id, _ = await export(scene, ANN)
    member = await scene.api.join(scene.owner, scene.shop.ours, "member")
    assert await download(scene, job_id, member) is None
    other, _ = await export(scene, BOB)
    await scene.ask_erasure(PHONE)
    assert scene.worker().run_once()
    assert await download(scene, job_id, scene.owner) is None
    assert await download(scene, other, scene.owner) is not None
    scene.sql(
        "UPDATE visitor_requests SET finished_at = now() - interval '25 hours' WHERE id = %s", other
    )
    assert await download(scene, other, scene.owner) is None
    scene.worker().tidy()
    parts = scene.sql(
        "SELECT count(*) FROM visitor_export_parts WHERE request_id IN (%s, %s)", job_id, other
    )
    assert parts == [(0,)]


async def test_a_download_is_whole_or_broken_off(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how long it is; who stops reading, or whose file goes meanwhile, gets no end."""
    monkeypatch.setattr(api.reads.exports, "READER_TIMEOUT_S", 0.5)
    job_id, _ = await export(scene, ANN)
    parts = 40
    scene.sql("DELETE FROM visitor_export_parts WHERE request_id = %s", job_id)
    scene.sql(
        "INSERT INTO visitor_export_parts (request_id, part, content) "
        "SELECT %s, n, decode(repeat('7a', 1048576), 'hex') FROM generate_series(0, %s) n",
        *(job_id, parts - 1),
    )
    size = f'{{"bytes": {parts * 1_048_576}}}'
    scene.sql("UPDATE visitor_requests SET receipt = %s WHERE id = %s", size, job_id)
    url = f"/api/v1{scene.path}/jobs/{job_id}/download"
    client = scene.api.client
    async with client.get(url, headers=scene.owner.headers) as answer:
        assert answer.content_length == parts * 1_048_576
        assert len(await answer.read()) == parts * 1_048_576
    head = f"Host: x\r\nAuthorization: Bearer {scene.owner.access_token}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=4096)
    writer.write(f"GET {url} HTTP/1.1\r\n{head}".encode())
    assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    await asyncio.sleep(1.5)  # It reads nothing meanwhile.
    got = 0
    with suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(1 << 20), 10):
            got += len(chunk)
    assert got < parts * 1_048_576
    writer.close()
    scene.sql("DELETE FROM visitor_export_parts WHERE request_id = %s AND part >= 5", job_id)
    with pytest.raises(ClientPayloadError):
        async with client.get(url, headers=scene.owner.headers) as answer:
            await answer.read()


async def test_a_deleted_project_is_in_no_store(scene: Scene) -> None:
    """All tables, keys and rows; its owner keeps a receipt, the other project everything."""
    shop = scene.shop
    theirs = {table: shop.rows(table, shop.theirs) for table in COUNTS}
    aggregates = shop.their_aggregates()
    await export(scene, ANN)
    reply = await scene.api.call("DELETE", scene.path, scene.owner)
    assert reply.status == 202
    assert scene.worker().run_once()
    for table in PROJECT_TABLES:
        ((count,),) = shop.client.query(
            f"SELECT count() FROM {table} WHERE project_id = {{p:String}}",
            parameters={"p": shop.ours},
        ).result_rows
        assert count == 0, table
    needles = {ANN, BOB, PHONE, STRANGER, *ids_of(shop, *VISITS)}
    assert list(shop.search(needles, shop.ours)) == []
    assert {table: shop.rows(table, shop.theirs) for table in COUNTS} == theirs
    assert shop.their_aggregates() == aggregates
    (told,) = (await scene.api.call("GET", "/me/erasures", scene.owner)).data
    assert (told["id"], told["name"]) == (shop.ours, "Ours")
    assert told["finished_at"] is not None
    rows = told["receipt"]["rows"]
    assert (rows["events"], rows["sessions"], rows["insights"]) == (53, 8, 8)
    assert told["receipt"]["postgresql"]["visitor_export_parts"] == 1


async def test_the_audit_log_tells_owners_of_each_change(scene: Scene) -> None:
    """One line a change, newest first, page by page; nothing secret; nobody else reads it."""
    api, path, owner = scene.api, scene.path, scene.owner
    member = await api.join(owner, scene.shop.ours, "viewer")
    await api.call("PATCH", f"{path}/members/{member.id}", owner, json={"role": "admin"})
    key = await api.call("POST", f"{path}/api-keys", owner, json={"permissions": ["read"]})
    await api.call("DELETE", f"{path}/api-keys/{key.data['id']}", owner)
    settings = {"name": "Named anew", "settings": {"retention": {"sessions": 30}}}
    await api.call("PATCH", path, owner, json=settings)
    await api.call("PUT", f"{path}/public-dashboard", owner, json={"enabled": True})
    guest = {"email": f"{uuid4().hex}@example.com", "role": "member"}
    invited = await api.call("POST", f"{path}/members", owner, json=guest)
    invitation = invited.data["invitation"]["id"]
    await api.call("DELETE", f"{path}/invitations/{invitation}", owner)
    await scene.ask_erasure()
    await api.call("GET", f"{path}/users/{BOB}/data/export", member)
    await api.call("DELETE", f"{path}/members/{member.id}", owner)
    # What is refused leaves no line.
    assert (await api.call("PATCH", path, owner, json={"settings": {"no": 1}})).status == 400
    lines = (await api.call("GET", f"{path}/audit", owner)).data
    assert [line["action"] for line in reversed(lines)] == [
        "member.added",
        "member.changed",
        "key.created",
        "key.revoked",
        "project.changed",
        "public_page.changed",
        "member.invited",
        "invitation.deleted",
        "visitor.erased",
        "visitor.exported",
        "member.removed",
    ]
    assert lines[1]["actor"] == {"id": member.id, "name": "viewer"}
    assert lines[6]["details"] == {"fields": ["name", "settings"], "settings": ["retention"]}
    text = json.dumps(lines)
    for secret in (ANN, BOB, guest["email"], key.data["key"], "token"):
        assert secret not in text
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.call("GET", f"{path}/audit", owner, params={"per_page": "4", **cursor})
        seen += page.data
        if page.document["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": page.document["meta"]["next_cursor"]}
    assert seen == lines
    only = await api.call("GET", f"{path}/audit", owner, params={"action": "visitor.erased"})
    assert [line["action"] for line in only.data] == ["visitor.erased"]
    for bad in ({"cursor": "YXVkaXQvMA"}, {"cursor": "!"}, {"action": "no"}, {"per_page": "0"}):
        assert (await api.call("GET", f"{path}/audit", owner, params=bad)).status == 400


async def test_a_deleted_account_leaves_no_person_behind(scene: Scene) -> None:
    """Logins and tokens die at once; projects of their own only if they say so."""
    api, leaver = scene.api, await scene.api.register("leaver")
    alone, key = await api.project(leaver, "Alone")
    shared, _ = await api.project(leaver, "Shared")
    heir = await api.join(leaver, shared, "owner")
    note = {"content": "kept", "note_date": "2026-11-20"}
    await api.call("POST", f"/projects/{shared}/notes", leaver, json=note)
    body = {"name": "t", "scopes": ["read"]}
    token = (await api.call("POST", "/me/api-tokens", leaver, json=body)).data["token"]
    second = await api.log_in(leaver)
    wrong = {"password": "not the right one"}
    assert (await api.call("DELETE", "/me", leaver, json=wrong)).status == 401
    refused = await api.call("DELETE", "/me", leaver, json={"password": PASSWORD})
    assert (refused.status, refused.code) == (409, "CONFLICT")
    assert "Alone" in refused.document["error"]["details"]["delete_projects"]
    assert "Shared" not in json.dumps(refused.document)
    assert (await api.call("GET", "/me", leaver)).status == 200
    body = {"password": PASSWORD, "delete_projects": True}
    assert (await api.call("DELETE", "/me", leaver, json=body)).status == 200
    for headers in (
        leaver.headers,
        second.headers,
        {"Authorization": f"Bearer {token}"},
    ):
        assert (await api.call("GET", "/me", headers=headers)).status == 401
    renewed = {"refresh_token": leaver.refresh_token}
    assert (await api.call("POST", "/auth/refresh", json=renewed)).status == 401
    events = f"/projects/{alone}/events"
    assert (await api.call("GET", events, headers={"X-GoSight-Key": key})).status == 401
    assert scene.worker().run_once()  # Its project is erased like any other.
    with psycopg.connect(scene.shop.databases.database_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
            assert not any(leaver.email in text for (text,) in rows), table
    (kept,) = (await api.call("GET", f"/projects/{shared}/notes", heir)).data
    assert kept["content"] == "kept"
    lines = (await api.call("GET", f"/projects/{shared}/audit", heir)).data
    assert lines[0]["action"] == "account.deleted"
    assert lines[0]["actor"] == {"id": leaver.id, "name": None}


async def test_the_process_does_what_is_asked(scene: Scene, tmp_path: Path) -> None:
    """`python -m api.erasures` finds an order, does it, tells of it, and ends when asked to."""
    port = choose_port(0)
    job_id = await scene.ask_erasure()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.erasures"],
            cwd=ROOT,
            env={
                **os.environ,
                **scene.shop.databases.urls,
                "METRICS_HOST": "127.0.0.1",
                "METRICS_PORT": str(port),
                "ERASURE_POLL_SECONDS": "0.1",
            },
            stdout=log,
            stderr=log,
        )
    try:
        while (await scene.job(job_id))["state"] != "done":
            assert process.poll() is None, (tmp_path / "log").read_text()
            await asyncio.sleep(0.1)
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/ready") as answer:
                assert answer.status == 200, await answer.text()
            async with client.get("/metrics") as answer:
                told = r'gosight_erasures_orders_total\{kind="erasure",outcome="done"\} [1-9]'
                assert re.search(told, await answer.text())
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(40)
    assert code == 0
    assert ANN not in (tmp_path / "log").read_text()
