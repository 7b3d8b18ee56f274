"""`gosight up`: ready, answering, stopped without a trace, quick the second time."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Running, gosight, start_machine

pytestmark = pytest.mark.integration
# It takes 6 to 9 s on an idle machine with two cores; the promise is 15 s.
SECOND_START_S_MAX = 30.0


def get(url: str, **headers: str) -> Any:
    """The JSON of a GET."""
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def post_event(running: Running, event_id: str) -> dict[str, Any]:
    """Send one page view; the gateway's answer."""
    event = {
        "event_id": event_id,
        "session_id": "visit",
        "event_type": "page_view",
        "timestamp": time.time_ns() // 1_000_000,
        "page": {"url": "https://shop.example/cart"},
    }
    request = urllib.request.Request(
        running.addresses["gateway"] + "/v1/events",
        data=json.dumps({"events": [event]}).encode(),
        headers={
            "Content-Type": "application/json",
            "X-GoSight-Key": running.addresses["write_key"],
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_for_events(running: Running, count: int) -> Any:
    """The overview once it counts so many events."""
    where = running.addresses
    url = f"{where['api']}/api/v1/projects/{where['project_id']}/overview"
    deadline = time.monotonic() + 30
    while True:
        data = get(url, **{"X-GoSight-Key": where["read_key"]})["data"]
        if data["summary"]["events"] >= count or time.monotonic() > deadline:
            return data
        time.sleep(0.2)


def processes_naming(folder: Path) -> list[str]:
    """Command lines of running processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


def test_up_stop_and_up_again(tmp_path: Path) -> None:
    """Events go in and come out; SIGTERM ends all; a second start is quick and has the data."""
    data = tmp_path / "data"
    first = start_machine(data)
    try:
        assert post_event(first, "one")["events_accepted"] == 1
        assert wait_for_events(first, 1)["summary"]["pageviews"] == 1
        for name in ("project.json", "environment.json"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    finally:
        code = first.stop()
    assert code == 0
    assert processes_naming(data) == []
    assert not (data / "environment.json").exists()

    second = start_machine(data)
    try:
        assert second.start_s < SECOND_START_S_MAX
        assert second.addresses == first.addresses
        assert post_event(second, "two")["events_accepted"] == 1
        assert wait_for_events(second, 2)["summary"]["events"] == 2
    finally:
        assert second.stop() == 0


def test_kafka_lost_is_mended_with_the_servers_alone(tmp_path: Path) -> None:
    """What keeps storage from starting keeps `up` from it; the runbook's steps need the servers."""
    data = tmp_path / "data"
    first = start_machine(data)
    try:
        assert post_event(first, "one")["events_accepted"] == 1
        assert wait_for_events(first, 1)["summary"]["events"] == 1
    finally:
        assert first.stop() == 0
    shutil.rmtree(data / "kafka")
    refused = gosight("up", "--json", "--any-ports", "--data", str(data))
    assert refused.returncode == 1
    assert "topics adopt" in refused.stderr

    servers = start_machine(data, "--servers-only")
    try:
        assert servers.addresses["KAFKA_BROKERS"]
        assert servers.run("doctor")["ok"] is True
        assert servers.run("topics", "adopt")["adopted"]
    finally:
        assert servers.stop() == 0
    assert processes_naming(data) == []

    second = start_machine(data)
    try:
        assert post_event(second, "two")["events_accepted"] == 1
        assert wait_for_events(second, 2)["summary"]["events"] == 2
        assert second.run("ledger", "--verify")["ok"] is True
    finally:
        assert second.stop() == 0


def test_a_folder_in_use_is_refused(machine: Running) -> None:
    """A second `gosight up` on the same data says who has it and leaves the first alone."""
    result = gosight("up", "--json", "--any-ports", "--data", str(machine.data))
    assert result.returncode == 1
    assert "in use" in result.stderr
    assert result.stdout == ""
    assert machine.run("ledger")["ok"] is True


def test_doctor_is_content(machine: Running) -> None:
    """Everything that the running machine needs is there."""
    assert machine.run("doctor")["ok"] is True
    assert machine.run("migrate", "verify")["ok"] is True
    assert machine.run("topics", "check")["ok"] is True


def test_loadgen_measures(machine: Running) -> None:
    """A short load is accepted whole, and every event reaches the ledger."""
    before = machine.run("ledger")["projects"][0]["received"]
    result = machine.run("loadgen", "--rate", "500", "--seconds", "2")
    assert result["accepted"] == 1_000
    assert result["errors"] == {}
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    deadline = time.monotonic() + 30
    while machine.run("ledger")["projects"][0]["received"] < before + 1_000:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert machine.run("ledger", "--verify")["ok"] is True
