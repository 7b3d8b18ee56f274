"""Erasing a visitor from the real stores: all of it, nothing else, whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.erasures.orders import ERASURE_STEPS
from api.erasures.worker import Worker
from connectors.erasing_store import AGGREGATES
from connectors.write_gate import PostgresWriteGate
from tests.integration.api.account_world import Person, World
from tests.integration.api.erasure_world import (
    ANN,
    ANNS,
    BOB,
    LAPTOP,
    PHONE,
    SHARED,
    STRANGER,
    ErasureWorld,
    erasure_world,
)
from tests.stack import RunningStack

ROOT = Path(__file__).resolve().parents[3]
# Three visits say who she is, and one does not.
COUNTS = {"events": 27, "sessions": 4, "insights": 4, "replay_chunks": 8, "identities": 3}


@dataclass
class Scene:
    """A filled shop, its owner, and the API over it."""

    api: World
    owner: Person
    shop: ErasureWorld

    @property
    def path(self) -> str:
        """Of our project."""
        return f"/projects/{self.shop.ours}"

    def worker(self, **more: Any) -> Worker:
        """A worker on the same stores."""
        found = self.shop.databases
        return Worker(found.database_url, found.clickhouse_url, found.redis_url, **more)

    async def ask_erasure(self, visitor: str = ANN) -> str:
        """The id of the job."""
        reply = await self.api.call("DELETE", f"{self.path}/users/{visitor}/data", self.owner)
        assert reply.status == 202, reply.document
        return str(reply.data["job_id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """As the API tells it."""
        reply = await self.api.call("GET", f"{self.path}/jobs/{job_id}", self.owner)
        assert reply.status == 200, reply.document
        found: dict[str, Any] = reply.data
        return found

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of PostgreSQL."""
        with psycopg.connect(self.shop.databases.database_url) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
async def scene(databases: RunningStack, world: World) -> AsyncIterator[Scene]:
    """Two projects with the same visitors."""
    owner = await world.register("owner")
    ours, _ = await world.project(owner, "Ours")
    theirs, _ = await world.project(await world.register("other"), "Theirs")
    shop = erasure_world(databases, ours, theirs)
    yield Scene(world, owner, shop)
    shop.client.close()


async def check_only_ann_is_gone(
    scene: Scene, job_id: str, before: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """No store names her, everything else is as before, and all figures are those of the rows."""
    shop = scene.shop
    assert list(shop.search(shop.ids_of_ann(), shop.ours)) == []
    assert shop.others() == before
    assert shop.their_aggregates() == theirs
    for table in AGGREGATES:
        assert shop.aggregate(table, shop.ours) == shop.recount(table, shop.ours) != [], table
    ((sessions, users),) = shop.client.query(
        "SELECT sum(session_count), uniqMerge(user_count) FROM sessions_daily FINAL "
        "WHERE project_id = {p:String}",
        parameters={"p": shop.ours},
    ).result_rows
    assert (sessions, users) == (4, 1)
    job = await scene.job(job_id)
    assert job["state"] == "done"
    assert job["result"]["rows"] == COUNTS
    assert job["result"]["ids"] == {"user": 1, "anonymous": 2, "shared": 1}
    assert job["progress"] == {"done": 11, "total": 11}


async def test_an_erased_visitor_is_in_no_store(scene: Scene) -> None:
    """Rows before they said who they are, too; on a shared device only what was theirs."""
    before, theirs = scene.shop.others(), scene.shop.their_aggregates()
    assert len(list(scene.shop.search(scene.shop.ids_of_ann(), scene.shop.ours))) > 10
    job_id = await scene.ask_erasure()
    assert await scene.ask_erasure() == job_id  # Not twice at once.
    assert (await scene.job(job_id))["state"] == "queued"
    assert scene.worker().run_once()
    await check_only_ann_is_gone(scene, job_id, before, theirs)
    receipt = (await scene.job(job_id))["result"]
    assert (receipt["session_count"], receipt["redis_keys"]) == (4, 9)
    assert receipt["postgresql"]["alert_history"] == receipt["postgresql"]["saved_filters"] == 1
    assert len(receipt["days_recounted"]) == 2
    assert receipt["days_not_recounted"] == []
    first, last = scene.shop.now - timedelta(days=9), scene.shop.now + timedelta(days=1)
    reply = await scene.api.call(
        "GET",
        f"{scene.path}/ledger",
        scene.owner,
        params={"start_date": first.date().isoformat(), "end_date": last.date().isoformat()},
    )
    totals = reply.data["totals"]
    assert (totals["erased"], totals["recounted"]) == (27, 26)
    assert totals["balanced"]
    assert totals["matches_rows"]
    assert not scene.worker().run_once()


async def test_a_worker_killed_at_any_step_is_followed_by_one_that_ends_it(
    scene: Scene, databases: RunningStack
) -> None:
    """Before each step is noted, and in the middle of counting anew: the same in the end."""
    before, theirs = scene.shop.others(), scene.shop.their_aggregates()
    job_id = await scene.ask_erasure()
    points = [(step, "end") for step in ERASURE_STEPS]
    at = points.index(("aggregates", "end"))
    points[at:at] = [("aggregates", moment) for moment in ("begin", "1", "2", "8", "13")]
    for step, moment in [*points, ("receipt", "begin")]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.api.erasure_process", step, moment],
            cwd=ROOT,
            env={**os.environ, **databases.urls},
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL, (step, moment)
        assert not scene.worker().run_once()  # The lease of the dead one still holds.
        scene.sql("UPDATE visitor_requests SET leased_until = now() WHERE id = %s", job_id)
    assert scene.worker().run_once()
    await check_only_ann_is_gone(scene, job_id, before, theirs)


async def test_two_workers_never_have_one_order(scene: Scene) -> None:
    """The second finds nothing while the first is at it; a late one changes nothing any more."""
    job_id = await scene.ask_erasure()
    taken: list[bool] = []

    def meanwhile(step: str, moment: str) -> None:
        if moment == "begin":
            taken.append(scene.worker().run_once())
        if (step, moment) == ("collect", "end"):
            # As if this one had been frozen until another one was through.
            scene.sql("UPDATE visitor_requests SET leased_until = now() WHERE id = %s", job_id)
            assert scene.worker().run_once()

    assert scene.worker(on_step=meanwhile).run_once()
    assert not any(taken)
    ((step, attempts, receipt),) = scene.sql(
        "SELECT step, attempts, receipt FROM visitor_requests WHERE id = %s", job_id
    )
    assert (step, attempts) == ("finished", 2)
    assert receipt["rows"] == COUNTS


async def test_a_browser_is_its_user_unless_it_has_several(scene: Scene) -> None:
    """The id of her phone leads to all of Ann, that of a stranger's browser to the stranger."""
    by_phone = await scene.ask_erasure(PHONE)
    assert scene.worker().run_once()
    assert (await scene.job(by_phone))["result"]["rows"] == COUNTS
    by_stranger = await scene.ask_erasure(STRANGER)
    assert scene.worker().run_once()
    rows = (await scene.job(by_stranger))["result"]["rows"]
    assert (rows["events"], rows["sessions"], rows["identities"]) == (6, 1, 0)
    nobody = await scene.ask_erasure("nobody-of-this-name")
    assert scene.worker().run_once()
    assert set((await scene.job(nobody))["result"]["rows"].values()) == {0}
    assert scene.shop.rows("events", scene.shop.ours, f"user_id = '{BOB}'") != []


async def test_writers_know_of_an_erasure_before_it_looks(scene: Scene) -> None:
    """What is suppressed is known at the gate; a writer inside keeps the erasure waiting."""
    gate = PostgresWriteGate(scene.shop.databases.database_url, "test")
    assert scene.shop.ours not in gate.enter().visitors
    await scene.ask_erasure()
    is_looking, steps = threading.Event(), []

    def on_step(step: str, moment: str) -> None:
        steps.append((step, moment))
        if step == "collect":
            is_looking.set()

    thread = threading.Thread(target=scene.worker(on_step=on_step).run_once)
    thread.start()
    assert not is_looking.wait(1.0)  # It waits for the writer that has not heard of it.
    gate.leave()
    assert is_looking.wait(20)
    thread.join(60)
    erased = gate.enter().visitors[scene.shop.ours]
    gate.leave()
    gate.close()
    assert erased.until_ms(ANN, "") == erased.until_ms("", LAPTOP) is not None
    assert erased.until_ms(BOB, PHONE) is erased.until_ms("", SHARED) is None
    for name in ANNS:
        assert erased.has_session(scene.shop.session_id(scene.shop.ours, name))
    assert not erased.has_session(scene.shop.session_id(scene.shop.ours, "bob at his desk"))


async def test_days_whose_rows_have_expired_keep_their_aggregates(scene: Scene) -> None:
    """Counting anew would take the others' figures away; the receipt names the day."""
    shop = scene.shop
    bobs = f"session_id = '{shop.session_id(shop.ours, 'bob at his desk')}'"
    shop.client.command(f"ALTER TABLE events DELETE WHERE {bobs} SETTINGS mutations_sync = 2")
    before = shop.aggregate("events_hourly", shop.ours)
    job_id = await scene.ask_erasure()
    assert scene.worker().run_once()
    receipt = (await scene.job(job_id))["result"]
    assert len(receipt["days_not_recounted"]) == 1
    after = shop.aggregate("events_hourly", shop.ours)
    day = receipt["days_not_recounted"][0].replace("-", ", ").replace(", 0", ", ")
    assert [row for row in before if f"({day}, " in row] == [r for r in after if f"({day}, " in r]
    assert after != before  # The other day of hers was counted anew.


async def test_an_erasure_waits_for_stores_that_are_away(scene: Scene) -> None:
    """A store that does not answer puts the order back; the reason names no id."""
    job_id = await scene.ask_erasure()
    found = scene.shop.databases
    away = Worker(found.database_url, "http://x:y@127.0.0.1:1/z", found.redis_url)
    assert away.run_once()
    ((reason, waits),) = scene.sql(
        "SELECT last_error, leased_until > now() FROM visitor_requests WHERE id = %s", job_id
    )
    assert (reason, waits) == ("RetryableError after step none", True)
    assert not scene.worker().run_once()
    scene.sql("UPDATE visitor_requests SET leased_until = now() WHERE id = %s", job_id)
    assert scene.worker().run_once()
    assert (await scene.job(job_id))["state"] == "done"
