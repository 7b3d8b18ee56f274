"""Goals and funnels: every number against a recount of the scenes, and the tables of the rule."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest

from connectors.clickhouse import connect, insert_arrow
from connectors.goal_book import GOALS_MAX
from tests.goal_recount import Step, conversions, funnel, people_of
from tests.integration.api.account_world import World
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader
from tests.integration.api.test_api_auth import until_somebody_waits
from tests.integration.api.test_reports_read import spans
from tests.recount import Recount
from tests.stack import RunningStack
from tests.stored_scenes import ZONES

pytestmark = pytest.mark.integration

FUNNELS: Sequence[tuple[int, Sequence[Step]]] = (
    (24, ({"type": "page", "pattern": "/"}, {"type": "page", "pattern": "/products/*"},
          {"type": "goal", "name": "add_to_cart"}, {"type": "goal", "name": "order"})),
    (24, ({"type": "page", "pattern": "/*"}, {"type": "page", "pattern": "/*"},
          {"type": "page", "pattern": "/*"})),
    (1, ({"type": "page", "pattern": "/*"}, {"type": "goal", "name": "order"},
         {"type": "goal", "name": "purchase"})),
    (720, ({"type": "goal", "name": "order"}, {"type": "page", "pattern": "/*"})),
)  # fmt: skip


async def made(reader: Reader, shop: SceneShop, what: str, **body: Any) -> str:
    """The id of a new goal or funnel."""
    status, document = await reader.ask(what, method="POST", body=body, key=shop.admin_key)
    assert status == 201, document
    return str(document["data"]["id"])


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_funnels(reader: Reader, scene_shop: SceneShop, zone: str) -> None:
    """People, shares and times, of all and by group, for days of either zone."""
    depths = set()
    (*_, whole) = spans(reader, zone)
    people = people_of(Recount(reader.scenes, whole))
    for hours, steps in FUNNELS:
        body = {"name": "Way", "steps": list(steps), "time_window_hours": hours}
        funnel_id = await made(reader, scene_shop, "funnels", **body)
        for span in spans(reader, zone):
            now = Recount(reader.scenes, span)
            for group in ("", "utm_source", "device_type"):
                asked = {"group": group} if group else {}
                found = await reader.get(f"funnels/{funnel_id}/report", **span.query, **asked)
                assert found == funnel(people, now, steps, hours, group), (span, group)
                depths.add(sum(step["visitors"] > 0 for step in found["steps"]))
    assert {0, 1, 2, 3, 4} <= depths


@pytest.mark.parametrize("zone", ZONES)
async def test_every_number_of_goals(reader: Reader, scene_shop: SceneShop, zone: str) -> None:
    """Completions, sessions, share, worth, sources and days, for days of either zone."""
    tag = uuid4().hex[:8]
    goals: list[tuple[Step, dict[str, Any]]] = [
        ({"type": "goal", "name": "order"}, {"name": "order", "track_method": "javascript"}),
        ({"type": "goal", "name": "add_to_cart"},
         {"name": "add_to_cart", "track_method": "javascript", "monetary_value": 2.5}),
        ({"type": "page", "pattern": "/app*"},
         {"name": f"p-{tag}", "track_method": "page_url", "match_pattern": "/app*"}),
    ]  # fmt: skip
    for step, body in goals:
        goal_id = await made(reader, scene_shop, "goals", **body)
        total = 0
        for span in spans(reader, zone):
            found = await reader.get(f"goals/{goal_id}/conversions", **span.query)
            now = Recount(reader.scenes, span)
            assert found == conversions(now, step, body.get("monetary_value", 0.0)), span
            total += found["conversions"]
        assert total > 0
        key = scene_shop.admin_key
        # One that is switched off has none, and is gone when it is deleted.
        _, document = await reader.ask(
            f"goals/{goal_id}", method="PATCH", body={"is_active": False}, key=key
        )
        assert document["data"]["is_active"] is False
        found = await reader.get(f"goals/{goal_id}/conversions", **reader.ever())
        assert (found["conversions"], found["sessions"], found["rate"]) == (0, 0, 0.0)
        assert (await reader.ask(f"goals/{goal_id}", method="DELETE", key=key))[0] == 200
        assert (await reader.ask(f"goals/{goal_id}/conversions"))[0] == 404


START = datetime(2026, 11, 20, tzinfo=UTC)
WAY: Sequence[Step] = (
    {"type": "page", "pattern": "/"},
    {"type": "page", "pattern": "/pricing"},
    {"type": "goal", "name": "signup"},
)
# Hours and what, of one person, and how far they get within 24 hours. Source: revenue.md, 6.
PEOPLE: Sequence[tuple[Sequence[tuple[float, str]], int]] = (
    (((0, "/"), (1, "/pricing"), (2, "signup")), 3),
    (((0, "/pricing"), (1, "/"), (2, "signup")), 1),
    (((0, "/"), (1, "/pricing"), (25, "signup")), 2),
    (((0, "/"), (23, "/"), (24, "/pricing"), (26, "signup")), 3),
    (((0, "/"),), 1),
    (((0, "/"), (1, "/pricing"), (24, "signup")), 3),  # The end of the window is in it.
    (((0, "/pricing"), (1, "signup")), 0),
    (((0, "/"), (0, "/pricing"), (0, "signup")), 3),  # At one time, by their ids.
    (((23.9, "/"), (30, "/pricing"), (40, "signup")), 3),  # In the next day, which counts.
    (((24, "/"), (25, "/pricing"), (26, "signup")), 0),  # Entered when the day was over.
    (((-1, "/"), (1, "/pricing"), (2, "signup")), 0),  # Entered before it began.
)


def rows_of(project_id: str) -> list[dict[str, Any]]:
    """The events of all of them; the ids of one person's events go up."""
    found = []
    for person, (events, _) in enumerate(PEOPLE):
        for number, (hours, what) in enumerate(events):
            is_page = what.startswith("/")
            at = START + timedelta(hours=hours)
            found.append(
                {
                    "event_id": str(UUID(int=(person + 1) * 1000 + number)),
                    "project_id": project_id,
                    "session_id": str(UUID(int=person + 1)),
                    "anonymous_id": "" if person == 0 else f"a{person}",
                    "event_type": "page_view" if is_page else "goal",
                    "timestamp": at,
                    "received_at": at,
                    "path": what if is_page else "/form",
                    "payload": "{}" if is_page else f'{{"name":"{what}"}}',
                }
            )
    return found


async def test_the_table_of_the_rule(world: World, databases: RunningStack) -> None:
    """Order, window, entries, and the ends of the day, by hand."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    client = connect(databases.clickhouse_url)
    insert_arrow(client, "events", pa.Table.from_pylist(rows_of(project_id)), f"way-{project_id}")
    client.close()
    path = f"/projects/{project_id}/funnels"
    body = {"name": "Signing up", "steps": list(WAY)}
    saved = (await world.call("POST", path, owner, json=body)).data
    assert saved["time_window_hours"] == 24
    day = {"start_date": "2026-11-20", "end_date": "2026-11-20"}
    report = await world.call("GET", f"{path}/{saved['id']}/report", owner, params=day)
    depths = [depth for _, depth in PEOPLE]
    assert [step["visitors"] for step in report.data["steps"]] == [
        sum(depth > place for depth in depths) for place in range(3)
    ]
    # A goal that the project defines is asked for as it says.
    goal = {"name": "signup", "track_method": "page_url", "match_pattern": "/pricing"}
    made_goal = await world.call("POST", f"/projects/{project_id}/goals", owner, json=goal)
    assert made_goal.status == 201
    report = await world.call("GET", f"{path}/{saved['id']}/report", owner, params=day)
    assert report.data["steps"][2]["visitors"] == 0


async def test_what_is_wrong_is_told(world: World) -> None:
    """Patterns with a star inside, one step, too many steps, taken names, too many goals."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    goals, funnels = (f"/projects/{project_id}/{name}" for name in ("goals", "funnels"))
    page = {"type": "page", "pattern": "/"}
    bad: list[tuple[str, dict[str, Any], str]] = [
        (goals, {"name": "a b", "track_method": "javascript"}, "name"),
        (goals, {"name": "a", "track_method": "page_url"}, "match_pattern"),
        (goals, {"name": "a", "track_method": "page_url", "match_pattern": "/a*b"},
         "match_pattern"),
        (goals, {"name": "a", "track_method": "javascript", "monetary_value": -1},
         "monetary_value"),
        (funnels, {"name": "a", "steps": [page]}, "steps"),
        (funnels, {"name": "a", "steps": [page] * 11}, "steps"),
        (funnels, {"name": "a", "steps": [page, {"type": "page", "pattern": "a*b"}]},
         "steps.1.page.pattern"),
        (funnels, {"name": "a", "steps": [page, page], "time_window_hours": 721},
         "time_window_hours"),
    ]  # fmt: skip
    for path, body, name in bad:
        reply = await world.call("POST", path, owner, json=body)
        assert (reply.status, list(reply.document["error"]["details"])) == (400, [name]), body
    goal = {"name": "a", "track_method": "javascript"}
    saved = (await world.call("POST", goals, owner, json=goal)).data
    assert (await world.call("POST", goals, owner, json=goal)).code == "CONFLICT"
    other = (await world.call("POST", goals, owner, json={**goal, "name": "b"})).data
    reply = await world.call("PATCH", f"{goals}/{other['id']}", owner, json={"name": "a"})
    assert reply.code == "CONFLICT"
    change = {"track_method": "page_url"}
    reply = await world.call("PATCH", f"{goals}/{saved['id']}", owner, json=change)
    assert list(reply.document["error"]["details"]) == ["match_pattern"]
    change = {"name": "a", "track_method": "page_url", "match_pattern": "thanks"}
    reply = await world.call("PUT", f"{goals}/{saved['id']}", owner, json=change)
    assert (reply.status, list(reply.document["error"]["details"])) == (400, ["match_pattern"])
    for number in range(GOALS_MAX - 2):
        body = {**goal, "name": f"n{number}"}
        assert (await world.call("POST", goals, owner, json=body)).status == 201
    assert (await world.call("POST", goals, owner, json={**goal, "name": "z"})).code == "CONFLICT"


async def test_a_goal_of_a_page_keeps_its_path_whoever_changes_it(world: World) -> None:
    """Two changes that are right by themselves do not make a goal that nothing can reach."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}/goals"
    body = {"name": "order", "track_method": "javascript", "match_pattern": "/thanks"}
    goal_id = (await world.call("POST", path, ann, json=body)).data["id"]
    async with world.accounts.database.transaction() as other:
        await other.run("UPDATE goals SET match_pattern = NULL WHERE id = %(id)s", id=goal_id)
        change = {"track_method": "page_url"}
        changing = asyncio.create_task(world.call("PATCH", f"{path}/{goal_id}", ann, json=change))
        await until_somebody_waits(world)
    reply = await changing
    assert (reply.status, list(reply.document["error"]["details"])) == (400, ["match_pattern"])
    (goal,) = (await world.call("GET", path, ann)).data
    assert (goal["track_method"], goal["match_pattern"]) == ("javascript", None)
