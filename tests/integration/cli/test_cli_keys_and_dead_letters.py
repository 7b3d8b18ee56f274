"""Projects, keys and refused events against a running machine."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import psycopg
import pytest

from tests.integration.cli.conftest import Running, gosight

pytestmark = pytest.mark.integration
# Source: api.md, section 5: revoked within 10 s everywhere.
REVOKED_WITHIN_S = 10.0


def send(running: Running, key: str, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and answer of a batch."""
    request = urllib.request.Request(
        running.addresses["gateway"] + "/v1/events",
        data=json.dumps({"events": events}).encode(),
        headers={"Content-Type": "application/json", "X-GoSight-Key": key},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


def event(
    event_id: str, kind: str = "page_view", path: str = "/", **payload: Any
) -> dict[str, Any]:
    """A small event of now."""
    return {
        "event_id": event_id,
        "session_id": "visit",
        "event_type": kind,
        "timestamp": time.time_ns() // 1_000_000,
        "page": {"url": "https://shop.example" + path, "path": path},
        "payload": payload,
    }


def wait_for(check: Any, timeout_s: float = 30.0) -> Any:
    """The first truthy answer of `check`."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.3)


def test_a_key_lives_from_creation_to_revocation(machine: Running) -> None:
    """A made key works at once, is listed without itself, and is refused after its revocation."""
    project = machine.run("projects", "create", "Key life")
    made = machine.run("keys", "create", "--project", project["slug"], "--permission", "write")
    assert send(machine, made["key"], event("k1"))[0] == 202
    listed = machine.run("keys", "list", "--project", project["id"])
    assert made["key"] not in json.dumps(listed)
    assert made["id"] in [row["id"] for row in listed]
    assert machine.run("keys", "revoke", made["id"])["cache_told"] is True
    assert wait_for(lambda: send(machine, made["key"], event("k2"))[0] == 401, REVOKED_WITHIN_S)
    assert project["id"] in [row["id"] for row in machine.run("projects", "list")]


def test_an_unknown_key_or_project_is_told(machine: Running) -> None:
    """Ids that do not exist end with exit code 1 and a hint."""
    data = ("--data", str(machine.data))
    nobody = "00000000-0000-4000-8000-000000000000"
    assert "gosight keys list" in gosight("keys", "revoke", nobody, *data).stderr
    assert "gosight projects list" in gosight("keys", "create", "-p", "nope", *data).stderr


def test_refused_events_are_listed_and_brought_in_after_a_fix(machine: Running) -> None:
    """An event of a switched-off kind comes in, once, after the kind is switched on."""
    off = json.dumps({"events": {"clipboard": False}})
    project = machine.run("projects", "create", "Dead letters", "--settings", off)
    copied = event("c1", "copy")
    late = {**event("c2", "copy"), "timestamp": copied["timestamp"] - 86_400_000}
    too_old = {**event("c3"), "timestamp": copied["timestamp"] - 9 * 86_400_000}
    status, answer = send(machine, project["write_key"], copied, late, too_old, event("c4"))
    assert (status, answer["events_rejected"]) == (202, 3)

    def listed(*filters: str) -> Any:
        return machine.run("dlq", "list", "--project", project["slug"], *filters)

    assert wait_for(lambda: listed()["total"] == 3)
    assert listed()["by_reason"] == {"too_old": 1, "type_disabled": 2}
    assert listed("--reason", "too_old")["total"] == 1
    assert listed("--since", "1h", "--limit", "1")["total"] == 3
    assert len(listed("--limit", "1")["rejections"]) == 1

    def retry(*options: str) -> Any:
        return machine.run("dlq", "retry", "--project", project["slug"], *options)

    assert retry()["not_sent"] == {"still type_disabled": 2, "still too_old": 1}
    with psycopg.connect(machine.addresses["database"]) as connection:
        on = json.dumps({"events": {"clipboard": True}})
        connection.execute("UPDATE projects SET settings = %s WHERE id = %s", (on, project["id"]))
    assert retry("--dry-run")["sent"] == 2
    assert retry()["sent"] == 2
    assert (retry()["sent"], retry()["already_sent"]) == (0, 2)

    def ledger() -> Any:
        return machine.run("ledger", "--project", project["slug"])["projects"][0]

    assert wait_for(lambda: ledger()["stored"] == 3)
    totals = ledger()
    assert (totals["received"], totals["rejected"], totals["unaccounted"]) == (6, 3, 0)
    url = f"{machine.addresses['api']}/api/v1/projects/{project['id']}/events?event_type=copy"
    request = urllib.request.Request(url, headers={"X-GoSight-Key": project["read_key"]})
    with urllib.request.urlopen(request, timeout=10) as found:
        events = json.load(found)["data"]
    # Each keeps its own time, a day apart, although both were received anew.
    times = sorted(item["timestamp"] for item in events)
    assert len(times) == 2
    assert times[0][:10] != times[1][:10]
    assert times[0][10:] == times[1][10:]
    assert retry("--again")["sent"] == 2
    assert wait_for(lambda: ledger()["duplicate"] == 2)
