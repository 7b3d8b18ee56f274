"""`gosight alerts` as a child process on a real PostgreSQL, with receivers on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from standardwebhooks.webhooks import Webhook

from cli.alert_store import save_rule
from cli.project_store import connect, create_project
from connectors.alert_outbox import AlertOutbox
from flows.alert_writer import changes_of
from sql.migrate import migrate_up
from tests.alert_receivers import BOT_OK, OK, TOKEN, Answer, Receiver, bot_error, receiver
from tests.alert_transitions import TEN, make_transition
from tests.stack import RunningStack, fresh_databases

ROOT = Path(__file__).resolve().parents[3]
CONDITION = {"metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m"}


@pytest.fixture(scope="module")
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Databases with the schema and one project."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        with connect(stack.database_url) as connection:
            create_project(connection, "Shop")
        yield stack


class Command:
    """Calls `gosight alerts` with a bot and an allowed network."""

    def __init__(self, stack: RunningStack, bot: Receiver) -> None:
        self._environ = {
            **os.environ,
            **stack.urls,
            "NO_COLOR": "1",
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": bot.url,
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        }

    async def run(
        self, *arguments: str, stdin: Mapping[str, Any] | None = None
    ) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "alerts", *arguments,
            cwd=ROOT, env=self._environ, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(json.dumps(stdin or {}).encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def json(
        self, *arguments: str, stdin: Mapping[str, Any] | None = None, code: int = 0
    ) -> Any:
        """The document that a call prints."""
        found, out, err = await self.run(*arguments, "--json", stdin=stdin)
        assert found == code, out + err
        return json.loads(out)


def rule(*channels: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A document as a person writes it."""
    return {"name": "Rage", "condition": CONDITION, "channels": list(channels), **changes}


async def test_a_rule_is_saved_tested_muted_and_shown(databases: RunningStack) -> None:
    """From the document to a signed sample at a real receiver, and its secrets shown once."""
    async with receiver(BOT_OK) as bot, receiver(OK) as target:
        command = Command(databases, bot)
        hook = {"type": "webhook", "url": f"{target.url}/hook"}
        chat = {"type": "telegram", "config": {"chat_id": "-1001"}}
        saved = await command.json("save", "-", stdin=rule(hook, chat))
        (secret,) = saved["secrets"].values()
        assert saved["created"] is True
        tried = await command.json("test", saved["id"])
        assert tried["ok"] is True
        assert [one["type"] for one in tried["channels"]] == ["webhook", "telegram"]
        got = target.received[0]
        body = Webhook(secret).verify(got.body, got.headers)
        assert (body["event"], body["alert"]["state"]) == ("alert.test", "test")
        assert "[TEST] <b>Rage</b>" in bot.received[0].document["text"]
        (row,) = await command.json("list")
        assert row["channels"] == [target.url.removeprefix("http://"), "chat -1001"]
        assert secret not in json.dumps(row)
        assert await command.json("history") == []
        muted = await command.json("mute", saved["id"], "--minutes", "5")
        assert muted["muted_until"]
        assert (await command.json("mute", saved["id"], "--minutes", "0"))["muted_until"] is None
        # Saved again: the same secret, none shown.
        again = await command.json("save", "-", stdin=rule(hook, chat, id=saved["id"], name="New"))
        assert (again["created"], again["secrets"]) == (False, {})
        await command.json("test", saved["id"])
        Webhook(secret).verify(target.received[1].body, target.received[1].headers)


def channels(databases: RunningStack, rule_id: str) -> list[dict[str, Any]]:
    """As they are stored."""
    with psycopg.connect(databases.database_url) as connection:
        row = connection.execute(
            "SELECT channels FROM alert_rules WHERE id = %s", (rule_id,)
        ).fetchone()
    assert row is not None
    found: list[dict[str, Any]] = row[0]
    return found


async def test_a_secret_is_replaced_without_a_gap(databases: RunningStack) -> None:
    """Both sign for a day, or until the end is called; then the old one does not."""
    async with receiver(BOT_OK) as bot, receiver(OK) as target:
        command = Command(databases, bot)
        hook = {"type": "webhook", "url": target.url + "/"}
        saved = await command.json("save", "-", stdin=rule(hook))
        (old,) = saved["secrets"].values()
        (new,) = (await command.json("rotate-secret", saved["id"]))["secrets"].values()
        # Saving the rule meanwhile neither ends the old one nor lets it live longer.
        until = [one["old_secret_until"] for one in channels(databases, saved["id"])]
        await command.json("save", "-", stdin=rule(hook, id=saved["id"], name="New"))
        assert [one["old_secret_until"] for one in channels(databases, saved["id"])] == until
        ends_in = datetime.fromisoformat(until[0]) - datetime.now(UTC)
        assert timedelta(hours=23, minutes=58) < ends_in <= timedelta(hours=24)
        await command.json("test", saved["id"])
        await command.json("rotate-secret", saved["id"], "--finish")
        await command.json("test", saved["id"])
        assert "old_secret_until" not in channels(databases, saved["id"])[0]
        both, one = target.received
        for secret in (old, new):
            Webhook(secret).verify(both.body, both.headers)
        Webhook(new).verify(one.body, one.headers)
        assert " " in both.headers["webhook-signature"]
        assert " " not in one.headers["webhook-signature"]


async def test_a_rule_that_is_changed_is_checked_with_what_stays(databases: RunningStack) -> None:
    """What a document does not name stays, so it must go with the rest."""
    async with receiver(BOT_OK) as bot:
        command = Command(databases, bot)
        absence = {"condition_type": "absence", "condition": {"metric": "goals", "window": "1h"}}
        saved = await command.json("save", "-", stdin={**rule(), **absence})
        slow = {"metric": "avg_lcp", "threshold": 4_000, "window": "1h"}
        code, _, told = await command.run("save", "-", stdin=rule(id=saved["id"], condition=slow))
        assert (code, "absence is of a count" in told) == (1, True)
        kind = {"condition_type": "threshold"}
        await command.json("save", "-", stdin={**rule(id=saved["id"], condition=slow), **kind})
        (row,) = [one for one in await command.json("list") if one["id"] == saved["id"]]
        assert row["condition"] == "threshold avg_lcp > 4000 in 1h"


async def test_a_sample_that_is_not_taken_is_told(databases: RunningStack) -> None:
    """Each channel for itself; the exit code says that one did not take it."""
    async with (
        receiver(bot_error(400, "Bad Request: chat not found")) as bot,
        receiver(OK) as target,
    ):
        command = Command(databases, bot)
        channels = ({"type": "telegram", "chat_id": 7}, {"type": "webhook", "url": target.url})
        saved = await command.json("save", "-", stdin=rule(*channels))
        tried = await command.json("test", saved["id"], code=1)
        assert [one["ok"] for one in tried["channels"]] == [False, True]
        assert "chat not found" in tried["channels"][0]["error"]
        code, out, _ = await command.run("test", saved["id"])
        assert code == 1
        assert "not taken" in out


async def test_a_sample_tells_the_time_of_the_project(databases: RunningStack) -> None:
    """As its alerts do."""
    async with receiver(BOT_OK) as bot:
        command = Command(databases, bot)
        saved = await command.json("save", "-", stdin=rule({"type": "telegram", "chat_id": 7}))
        with psycopg.connect(databases.database_url) as connection:
            zone = "UPDATE projects SET settings = settings || %s"
            connection.execute(zone.encode(), (Jsonb({"timezone": "Asia/Tokyo"}),))
        try:
            await command.json("test", saved["id"])
        finally:
            with psycopg.connect(databases.database_url) as connection:
                connection.execute(b"UPDATE projects SET settings = settings - 'timezone'")
    assert " JST" in bot.received[0].document["text"]


async def test_a_taken_sample_switches_a_channel_on(databases: RunningStack) -> None:
    """Whoever has mended a receiver tests it, and it is on again."""
    async with receiver(BOT_OK) as bot, receiver(Answer(500), OK) as target:
        command = Command(databases, bot)
        saved = await command.json("save", "-", stdin=rule({"type": "webhook", "url": target.url}))
        with psycopg.connect(databases.database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO alert_channels SELECT id, left(encode(sha256(("
                "'webhook ' || (channels->0->>'url'))::bytea), 'hex'), 32), 20, now(), now(), 'x' "
                "FROM alert_rules WHERE id = %s",
                (saved["id"],),
            )
            off = (
                "SELECT count(*) FROM alert_channels WHERE disabled_at IS NOT NULL AND rule_id = %s"
            )
            (row,) = [one for one in await command.json("list") if one["id"] == saved["id"]]
            assert "(switched off 2" in row["channels"][0]
            await command.json("test", saved["id"], code=1)
            assert connection.execute(off.encode(), (saved["id"],)).fetchone() == (1,)
            await command.json("test", saved["id"])
            assert connection.execute(off.encode(), (saved["id"],)).fetchone() == (0,)
            (row,) = [one for one in await command.json("list") if one["id"] == saved["id"]]
            assert "off" not in row["channels"][0]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (rule({"type": "webhook", "url": "https://127.0.0.1/"}), "channels[0].url"),
        (rule({"type": "webhook", "url": "https://169.254.169.254/latest"}), "public address"),
        (rule({"type": "webhook", "url": "https://[::ffff:10.0.0.1]/"}), "public address"),
        (rule({"type": "webhook", "url": "http://8.8.8.8/"}), "https"),
        (rule({"type": "webhook", "url": "https://localhost/"}), "localhost"),
        (rule({"type": "webhook", "url": "https://nobody.invalid/"}), "no address"),
        (rule({"type": "pager"}), "channels[0].type"),
        (rule(condition={**CONDITION, "groupby": ["path"]}), "condition.groupby"),
        (rule(condition={**CONDITION, "window": "5 minutes"}), "condition.window"),
        (rule(cooldown_mins=-1), "cooldown_mins"),
        (rule(id="7"), "id"),
        (rule(colour="red"), "colour"),
    ],
)  # fmt: skip
def test_bad_rules_are_refused(
    databases: RunningStack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    document: dict[str, Any],
    told: str,
) -> None:
    """With the key at fault; targets that lead inside are refused when they are saved."""
    for name, url in databases.urls.items():
        monkeypatch.setenv(name, url)
    with pytest.raises(ValueError, match=re.escape(told)):
        save_rule(tmp_path, "shop", document)


async def test_history_shows_what_became_of_each_message(databases: RunningStack) -> None:
    """Rows with their deliveries, newest first."""
    async with receiver(BOT_OK) as bot, receiver(OK) as target:
        command = Command(databases, bot)
        saved = await command.json("save", "-", stdin=rule({"type": "webhook", "url": target.url}))
        with psycopg.connect(databases.database_url) as connection:
            found = connection.execute("SELECT id::text FROM projects").fetchone()
        assert found is not None
        made = make_transition(
            "fired", TEN, rule_id=saved["id"], project_id=found[0], group={"path": "/a"}
        )
        outbox = AlertOutbox(databases.database_url)
        with outbox.step() as step:
            step.write(changes_of(step, [made], "", TEN))
        outbox.close()
        (row,) = await command.json("history")
        assert (row["kind"], row["group"]) == ("fired", {"path": "/a"})
        assert [(one["channel"], one["status"]) for one in row["deliveries"]] == [
            ("webhook", "pending")
        ]
        code, out, _ = await command.run("history")
        assert code == 0
        assert "webhook fired: pending" in out
