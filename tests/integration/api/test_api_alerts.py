"""Alert rules over HTTP on the real PostgreSQL: written, read by the flow, tried, told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from api.access import Access
from cli.main import app
from connectors.alert_book import RULES_MAX
from connectors.alert_outbox import AlertOutbox
from connectors.alert_rules import PostgresAlertRules
from flows.alert_writer import changes_of
from flows.core.alerts.signals import Control, encode_record
from schemas.alert_rules import AlertRule
from tests.alert_receivers import BOT_OK, OK, TOKEN, Answer, receiver
from tests.alert_transitions import MINUTE, TEN, make_transition
from tests.integration.api.account_world import NO_LIMITS, Person, World, account_world
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader
from tests.integration.api.test_trying_read import finished
from tests.stack import RunningStack

pytestmark = pytest.mark.integration

CONDITION = {"metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m"}
CHAT = {"type": "telegram", "chat_id": "-1001", "thread_id": 7}
HOOK = {"type": "webhook", "url": "https://127.0.0.1/some-path"}


class Shop:
    """A project, its owner, and calls about its alerts."""

    def __init__(self, world: World, owner: Person, project_id: str) -> None:
        self.world, self.owner, self.project_id = world, owner, project_id

    async def call(self, method: str, path: str = "", json: Any = None, **more: Any) -> Any:
        """A call of the owner, or of `who`."""
        who = more.pop("who", self.owner)
        url = f"/projects/{self.project_id}/alerts{path}"
        return await self.world.call(method, url, who, json=json, **more)

    async def make(self, *channels: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """A rule as it was saved."""
        body = {"name": "Rage", "condition": CONDITION, "channels": list(channels), **changes}
        reply = await self.call("POST", json=body)
        assert reply.status == 201, reply.document
        data: dict[str, Any] = reply.data
        return data


async def make_shop(world: World) -> Shop:
    """A fresh one."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    return Shop(world, owner, project_id)


async def test_a_secret_is_shown_once_and_stays(world: World) -> None:
    """In the answer that made it; not when the rule is read, changed, or listed."""
    shop = await make_shop(world)
    saved = await shop.make(CHAT, HOOK)
    (secret,) = saved["secrets"]
    assert secret["url"] == HOOK["url"]
    assert secret["secret"].startswith("whsec_")
    path = f"/{saved['id']}"
    changed = await shop.call("PATCH", path, {"channels": [HOOK], "cooldown_mins": 0})
    assert (changed.data["secrets"], changed.data["cooldown_mins"]) == ([], 0)
    assert [one["type"] for one in changed.data["channels"]] == ["webhook"]
    for reply in (changed, await shop.call("GET", path), await shop.call("GET")):
        assert secret["secret"] not in json.dumps(reply.document)
    row = await world.accounts.database.row(
        "SELECT channels FROM alert_rules WHERE id = %(id)s", id=saved["id"]
    )
    assert row is not None
    assert row["channels"][0]["secrets"] == [secret["secret"]]
    # A secret of one's own is taken and never shown.
    own = await shop.make({**HOOK, "secret": "of my own"})
    assert own["secrets"] == []
    assert "of my own" not in json.dumps(own)


async def test_a_rule_is_read_as_it_was_written(world: World) -> None:
    """Members read it, without the paths of webhooks; what is not named in a change stays."""
    shop = await make_shop(world)
    saved = await shop.make(
        CHAT,
        HOOK,
        description="Who clicks so often?",
        condition={**CONDITION, "group_by": ["path"], "filters": {"path": "/shop*"}},
        runbook_url="https://wiki.example/rage",
    )
    member = await world.join(shop.owner, shop.project_id, "member")
    read = (await shop.call("GET", f"/{saved['id']}", who=member)).data
    chat, hook = read["channels"]
    assert (chat["target"], chat["chat_id"], chat["thread_id"]) == ("chat -1001", "-1001", 7)
    assert (hook["target"], hook["url"]) == ("127.0.0.1:443", None)
    assert saved["channels"][1]["url"] == HOOK["url"]
    changed = await shop.call("PUT", f"/{saved['id']}", {"name": "Rage!", "is_active": False})
    same = {"name", "is_active", "updated_at", "channels", "secrets"}
    assert {key: value for key, value in changed.data.items() if key not in same} == {
        key: value for key, value in read.items() if key not in same
    }
    assert (changed.data["name"], changed.data["is_active"]) == ("Rage!", False)
    assert changed.data["updated_at"] > read["updated_at"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"condition": {**CONDITION, "metric": "luck"}}, "condition.metric"),
        ({"condition": {**CONDITION, "window": "5 minutes"}}, "condition.window"),
        ({"condition": {**CONDITION, "colour": "red"}}, "condition.colour"),
        ({"condition": {**CONDITION, "threshold": "many"}}, "condition.threshold"),
        ({"condition": {**CONDITION, "group_by": ["city"]}}, "condition.group_by"),
        ({"condition_type": "anomaly", "condition": {**CONDITION, "group_by": ["path"]}},
         "condition.group_by"),
        ({"condition_type": "absence", "condition": {"metric": "avg_lcp", "window": "5m"}},
         "condition.metric"),
        ({"cooldown_mins": 1_441}, "cooldown_mins"),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"channels": [{"type": "telegram", "chat_id": "nobody"}]}, "channels[0].chat_id"),
        ({"channels": [CHAT, {"type": "webhook", "url": "https://10.0.0.1/"}]}, "channels[1].url"),
        ({"channels": [{"type": "webhook", "url": "https://169.254.169.254/latest"}]},
         "channels[0].url"),
        ({"channels": [{"type": "webhook", "url": "https://[::ffff:10.0.0.1]/"}]},
         "channels[0].url"),
        ({"channels": [{"type": "webhook", "url": "http://8.8.8.8/"}]}, "channels[0].url"),
        ({"channels": [{"type": "webhook", "url": "https://localhost/"}]}, "channels[0].url"),
        ({"channels": [{"type": "webhook", "url": "https://nobody.invalid/"}]}, "channels[0].url"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_by_its_key(
    world: World, changes: dict[str, Any], key: str
) -> None:
    """When a rule is made and when it is changed; nothing is written. Nowhere inside is asked."""
    shop = await make_shop(world)
    saved = await shop.make(CHAT)
    made = await shop.call("POST", json={"name": "Rage", "condition": CONDITION, **changes})
    changed = await shop.call("PATCH", f"/{saved['id']}", changes)
    for reply in (made, changed):
        assert (reply.status, reply.code) == (400, "VALIDATION_ERROR")
        assert list(reply.document["error"]["details"]) == [key]
    (listed,) = (await shop.call("GET")).data
    assert listed == {name: value for name, value in saved.items() if name != "secrets"}


async def test_a_project_has_so_many_rules_and_no_more(world: World) -> None:
    """Also if the last ones come at once."""
    shop = await make_shop(world)
    await world.accounts.database.run(
        "INSERT INTO alert_rules (project_id, name, condition) SELECT %(project)s, n::text, "
        '\'{"metric": "errors", "threshold": 1, "window": "5m"}\' '
        "FROM generate_series(1, %(rules)s) n",
        project=shop.project_id,
        rules=RULES_MAX - 1,
    )
    body = {"name": "The last", "condition": CONDITION}
    replies = await asyncio.gather(*(shop.call("POST", json=body) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [201, *[409] * 4]
    assert {reply.code for reply in replies if reply.status == 409} == {"CONFLICT"}
    assert len((await shop.call("GET")).data) == RULES_MAX


async def test_the_flow_has_a_rule_within_ten_seconds(
    world: World, databases: RunningStack
) -> None:
    """Made, changed, switched off, deleted: by what the flow itself reads rules with."""
    shop = await make_shop(world)
    rules = PostgresAlertRules(databases.database_url)
    await asyncio.to_thread(rules.start)

    async def seen(rule_id: str, is_so: Callable[[AlertRule | None], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_so(rules.active().get(rule_id)):
                await asyncio.sleep(0.05)

    try:
        saved = await shop.make(CHAT)
        await seen(saved["id"], lambda rule: rule is not None and rule.threshold == 10)
        path = f"/{saved['id']}"
        await shop.call("PATCH", path, {"condition": {**CONDITION, "threshold": 3}})
        await seen(saved["id"], lambda rule: rule is not None and rule.threshold == 3)
        # Whatever number it was, it goes into a record that all rules share.
        await shop.call("PATCH", path, {"condition": {**CONDITION, "threshold": 1e30}})
        await seen(saved["id"], lambda rule: rule is not None and rule.threshold == 1e30)
        assert encode_record(Control(0, tuple(rules.active().values())))
        await shop.call("PATCH", path, {"is_active": False})
        await seen(saved["id"], lambda rule: rule is None)
        await shop.call("PATCH", path, {"is_active": True})
        await seen(saved["id"], lambda rule: rule is not None)
        assert (await shop.call("DELETE", path)).status == 200
        await seen(saved["id"], lambda rule: rule is None)
        assert (await shop.call("DELETE", path)).status == 404
    finally:
        await asyncio.to_thread(rules.close)


def fire(databases: RunningStack, shop: Shop, rule_id: str, *times_ms: int) -> None:
    """Firings of a rule, as the flow that delivers writes them."""
    outbox = AlertOutbox(databases.database_url)
    for at_ms in times_ms:
        made = make_transition(
            "fired", at_ms, rule_id=rule_id, project_id=shop.project_id, group={"path": f"/{at_ms}"}
        )
        with outbox.step() as step:
            step.write(changes_of(step, [made], "", at_ms))
    outbox.close()


async def test_the_history_tells_what_became_of_each_message(
    world: World, databases: RunningStack
) -> None:
    """Pages without gaps, filters, deliveries; it stays when the rule is gone."""
    shop = await make_shop(world)
    one = await shop.make(CHAT, HOOK, name="One")
    two = await shop.make(CHAT, name="Two")
    times = [TEN + n * MINUTE for n in range(5)]
    await asyncio.to_thread(fire, databases, shop, one["id"], *times)
    await asyncio.to_thread(fire, databases, shop, two["id"], TEN)
    period = {"start_date": "2026-01-31", "end_date": "2026-01-31"}

    async def pages(**query: Any) -> list[dict[str, Any]]:
        found, cursor = [], None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            reply = await shop.call("GET", "/history", params={**period, **query, **more})
            assert reply.status == 200, reply.document
            found += reply.data
            cursor = reply.document["meta"]["next_cursor"]
            if cursor is None:
                return found

    whole = await pages()
    assert len(whole) == 6
    assert await pages(per_page=1) == await pages(per_page=4) == whole
    assert [row["group"]["path"] for row in await pages(rule_id=one["id"])] == [
        f"/{at_ms}" for at_ms in reversed(times)
    ]
    newest = whole[0]
    assert (newest["kind"], newest["rule_name"]) == ("fired", "Rage Click Spike")
    assert [(sent["channel"], sent["status"]) for sent in newest["deliveries"]] == [
        ("telegram", "pending"),
        ("webhook", "pending"),
    ]
    assert newest["resolved_at"] is None
    assert await pages(open="true") == whole
    assert await pages(open="false") == []
    assert await pages(start_date="2026-02-01", end_date="2026-02-02") == []
    # Ten in the morning in UTC is the next day there.
    assert await pages(timezone="Pacific/Kiritimati") == []
    for cursor in ("nonsense", "YWxlcnRzLy0xLzAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMA"):
        reply = await shop.call("GET", "/history", params={**period, "cursor": cursor})
        assert (reply.status, list(reply.document["error"]["details"])) == (400, ["cursor"])
    await shop.call("DELETE", f"/{one['id']}")
    after = await pages()
    assert [{**row, "rule_id": None} for row in whole] == [
        {**row, "rule_id": None} for row in after
    ]
    assert {row["rule_id"] for row in after} == {None, two["id"]}


async def test_a_mute_ends(world: World) -> None:
    """Told, by the clock, and taken back; it is no edit."""
    shop = await make_shop(world)
    saved = await shop.make()
    path = f"/{saved['id']}"
    muted = (await shop.call("POST", f"{path}/mute", {"minutes": 90})).data["muted_until"]
    assert muted == "2026-11-21T11:30:00.000Z"
    read = (await shop.call("GET", path)).data
    assert (read["muted_until"], read["updated_at"]) == (muted, saved["updated_at"])
    assert (await shop.call("DELETE", f"{path}/mute")).data == {"muted_until": None}
    assert (await shop.call("GET", path)).data["muted_until"] is None
    assert (await shop.call("POST", f"{path}/mute", {"minutes": 0})).status == 400


async def test_a_secret_is_replaced(world: World) -> None:
    """The old one stays second for a day, or until it is ended."""
    shop = await make_shop(world)
    saved = await shop.make(CHAT, HOOK)
    path = f"/{saved['id']}"
    old = saved["secrets"][0]["secret"]

    async def stored() -> list[str]:
        row = await world.accounts.database.row(
            "SELECT channels FROM alert_rules WHERE id = %(id)s", id=saved["id"]
        )
        assert row is not None
        secrets: list[str] = row["channels"][1]["secrets"]
        return secrets

    made = (await shop.call("POST", f"{path}/rotate-secret", {})).data
    new = made["secrets"][0]["secret"]
    assert await stored() == [new, old]
    assert made["old_secret_until"] == "2026-11-22T10:00:00.000Z"
    hook = (await shop.call("GET", path)).data["channels"][1]
    assert hook["old_secret_until"] == made["old_secret_until"]
    ended = (await shop.call("POST", f"{path}/rotate-secret", {"finish": True})).data
    assert (ended["secrets"], await stored()) == ([], [new])


async def test_a_sample_goes_the_way_of_alerts(databases: RunningStack) -> None:
    """To real receivers, signed, without a trace; what did not take it is told; five a minute."""
    async with receiver(BOT_OK) as bot, receiver(OK, Answer(500)) as target:
        senders = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": bot.url}
        async with account_world(databases, limits=NO_LIMITS, senders=senders) as world:
            shop = await make_shop(world)
            saved = await shop.make(CHAT, {"type": "webhook", "url": target.url})
            path = f"/{saved['id']}/test"
            taken, second = [await shop.call("POST", path) for _ in range(2)]
            assert taken.data["ok"]
            assert [one["status"] for one in taken.data["channels"]] == [200, 200]
            assert not second.data["ok"]
            assert [one["ok"] for one in second.data["channels"]] == [True, False]
            assert second.data["channels"][1]["status"] == 500
            sent = target.received[0]
            Webhook(saved["secrets"][0]["secret"]).verify(sent.body, sent.headers)
            assert sent.document["event"] == "alert.test"
            assert bot.received[0].document["chat_id"] == "-1001"
            assert "[TEST]" in bot.received[0].document["text"]
            assert TOKEN not in json.dumps(taken.document)
            history = await shop.call("GET", "/history")
            assert history.data == []
            statuses = [(await shop.call("POST", path)).status for _ in range(4)]
            assert statuses == [200, 200, 200, 429]


async def test_a_rule_is_run_over_what_is_stored(reader: Reader, scene_shop: SceneShop) -> None:
    """As a job, with the firings of the command; a saved one by its id, with another bound."""
    key, project = scene_shop.admin_key, scene_shop.scenes.project_id
    condition = {"metric": "rage_clicks", "threshold": 0, "window": "1h", "group_by": ["path"]}
    period = {"start_date": reader.scenes.first_day, "end_date": reader.scenes.last_day}

    async def run(path: str, **body: Any) -> dict[str, Any]:
        status, document = await reader.ask(path, method="POST", body={**period, **body}, key=key)
        assert (status, document["data"]["state"]) == (202, "queued"), document
        job = await finished(reader, key, document["data"]["job_id"])
        assert (job["state"], job["kind"]) == ("done", "simulation"), job
        result: dict[str, Any] = job["result"]
        return result

    whole = await run("alerts/simulate", condition=condition)
    said = await asyncio.to_thread(
        CliRunner().invoke,
        app,
        [
            *("alerts", "simulate", json.dumps({"condition": condition}), "--json"),
            *("--project", project, "--from", f"{period['start_date']}T00:00:00Z"),
            *("--to", datetime.fromtimestamp(whole["end_ms"] / 1000, UTC).isoformat()),
        ],
        env=scene_shop.databases.urls,
    )
    assert said.exit_code == 0, said.output
    report = json.loads(said.stdout)

    def told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [(one["fired_at_ms"], one["group"], one["value"]) for one in found["firings"]]

    assert told(whole) == told(report)
    assert whole["firing_count"] == len(whole["firings"]) > 0
    known = [value for _, value in report["values"] if value is not None]
    assert max(point["max"] for point in whole["points"] if point["max"] is not None) == max(known)
    assert len(whole["points"]) <= 1_000
    status, made = await reader.ask(
        "alerts",
        method="POST",
        key=key,
        body={"name": "Rage", "condition": {**condition, "threshold": 1_000_000}},
    )
    assert status == 201
    rule_id = made["data"]["id"]
    assert (await run(f"alerts/{rule_id}/simulate"))["firings"] == []
    assert told(await run(f"alerts/{rule_id}/simulate", condition=condition)) == told(whole)


async def test_what_cannot_be_run_is_refused_at_once(reader: Reader, scene_shop: SceneShop) -> None:
    """A bad condition, too long a time, a rule of nobody."""
    key = scene_shop.admin_key
    bad: list[tuple[dict[str, Any], str]] = [
        ({"condition": {**CONDITION, "metric": "luck"}}, "condition.metric"),
        ({"condition": CONDITION, "start_date": "2026-01-01", "end_date": "2026-06-30"},
         "start_date"),
        ({"condition": CONDITION, "timezone": "Mars/Olympus"}, "timezone"),
    ]  # fmt: skip
    for body, name in bad:
        status, document = await reader.ask("alerts/simulate", method="POST", body=body, key=key)
        assert (status, list(document["error"]["details"])) == (400, [name])
    status, _ = await reader.ask(f"alerts/{uuid4()}/simulate", method="POST", body={}, key=key)
    assert status == 404


def test_who_may_what() -> None:
    """Members read, admins write; viewers have no part in it. The matrix tests each role."""
    from api.alerts.routes import ALERT_ROUTES

    reads = {route.path for route in ALERT_ROUTES if route.access is Access.MEMBER}
    assert all(route.access >= Access.MEMBER for route in ALERT_ROUTES)
    assert all(
        route.access is Access.ADMIN
        for route in ALERT_ROUTES
        if not route.is_read and not route.path.endswith("/simulate")
    )
    assert len(reads) == 5
