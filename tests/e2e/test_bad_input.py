"""Every kind of bad event through the real gateway: answer, dead letter, ledger, retry."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.dead_letters import Filters, read_dead_letters
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.reasons import WITHHELD_REASONS, RejectReason, Stage
from schemas.topics import EVENTS_RAW
from schemas.v1.pipeline_pb2 import RejectedRecord
from tests.e2e.conftest import OwnProject, RunningMachine
from tests.factories import make_event, make_raw, raw_record

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples" / "events.raw" / "invalid"
GOOD = {
    "event_id": "good",
    "session_id": "d117ee51-aa04-46a6-89a8-d3d26391016b",
    "event_type": "page_view",
    "page": {"url": "https://shop.example/", "path": "/"},
}


def wait_for(check: Callable[[], Any], timeout_s: float = 30) -> Any:
    """The first true value of `check`."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found or time.monotonic() > deadline:
            assert found, "it did not come true in time"
            return found
        time.sleep(0.2)


def send(
    machine: RunningMachine, project: OwnProject, batch: dict[str, Any], **headers: str
) -> tuple[int, dict[str, Any]]:
    """Post a JSON batch; return status and answer."""
    request = urllib.request.Request(
        machine.addresses.gateway + "/v1/events",
        data=json.dumps(batch).encode(),
        headers={
            "Content-Type": "application/json",
            "X-GoSight-Key": project.write_key,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.load(answer)


def letters(machine: RunningMachine, project: OwnProject) -> list[RejectedRecord]:
    """The project's dead letters."""
    found = read_dead_letters(machine.addresses.kafka, Filters(project_id=project.project_id))
    return [letter.record for letter in found]


def dlq_retry(machine: RunningMachine, project: OwnProject) -> dict[str, Any]:
    """`gosight dlq retry` of this machine."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "cli", "dlq", "retry", "--json"),
            *("--project", project.project_id, "--data", machine.addresses.data),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_bad_event_is_refused_beside_a_good_one(machine: RunningMachine, path: Path) -> None:
    """202 with index and reason, the bytes in the dead-letter topic, the neighbour accepted."""
    example = json.loads(path.read_text())
    reason = RejectReason(example["reason"])
    project = machine.project(path.stem, **example.get("settings", {}))
    if reason == RejectReason.TYPE_DISABLED and "settings" not in example:
        project = machine.project(path.stem, events={})
    now_ms = int(time.time() * 1000)
    event = example["event"]
    if isinstance(event.get("timestamp"), int) and event["timestamp"] > 0:
        event["timestamp"] += now_ms - example["received_at_ms"]
    # The example's own clock error, if it has one, is the good event's, too.
    sent_at_ms = now_ms + example["sent_at"] - example["received_at_ms"]
    allowed = example.get("settings", {}).get("privacy", {}).get("allowUrls", ["/"])
    page = {"path": allowed[0].replace("*", "x")}
    good = {**GOOD, "page": page, "timestamp": sent_at_ms - 1_000}
    batch = {"sent_at": sent_at_ms, "events": [good, event]}
    status, answer = send(machine, project, batch)
    assert (status, answer["success"]) == (202, False)
    assert (answer["events_accepted"], answer["events_rejected"]) == (1, 1)
    (rejection,) = answer["rejections"]
    assert (rejection["index"], rejection["reason"]) == (1, reason)
    (letter,) = letters(machine, project)
    assert (letter.stage, letter.reason) == (Stage.GATEWAY, reason)
    assert letter.payload_withheld == (reason in WITHHELD_REASONS)
    assert bool(letter.payload) != letter.payload_withheld


def test_type_disabled_comes_in_after_the_setting_was_changed(machine: RunningMachine) -> None:
    """Refused, listed, still refused, then brought in once and booked."""
    from cli.project_store import connect

    project = machine.project("retry", events={"mouse": False})
    now_ms = int(time.time() * 1000)
    event = {**GOOD, "event_type": "click", "timestamp": now_ms, "payload": {}}
    _status, answer = send(machine, project, {"sent_at": now_ms, "events": [event]})
    assert answer["events_rejected"] == 1
    assert dlq_retry(machine, project)["sent"] == 0
    with connect(machine.addresses.database) as connection:
        connection.execute(
            "UPDATE projects SET settings = '{}' WHERE id = %s", (project.project_id,)
        )
    assert dlq_retry(machine, project)["sent"] == 1
    assert dlq_retry(machine, project)["sent"] == 0
    wait_for(lambda: stored(machine, project) == 1)


def stored(machine: RunningMachine, project: OwnProject) -> int:
    """Rows of the project."""
    return int(
        machine.client.query(
            "SELECT count() FROM events WHERE project_id = {project:String}",
            parameters={"project": project.project_id},
        ).result_rows[0][0]
    )


def test_poison_between_good_records(machine: RunningMachine) -> None:
    """A record that is no message goes to the dead letters; its neighbours are stored."""
    project = machine.project("poison")
    session = GOOD["session_id"]
    now_ms = int(time.time() * 1000)

    def good(event_id: str) -> OutRecord:
        event = make_event(event_id, str(session), at_ms=now_ms)
        raw = make_raw([event], str(session), project_id=project.project_id, received_at_ms=now_ms)
        return raw_record(raw)

    key = f"{project.project_id}:{session}".encode()
    poison = OutRecord(EVENTS_RAW.name, key, b"\xff\xfe no message", (("events", b"3"),))
    KafkaRecordProducer(machine.addresses.kafka).produce_all([good("p1"), poison, good("p2")])
    wait_for(lambda: stored(machine, project) == 2)
    (letter,) = wait_for(lambda: letters(machine, project))
    assert (letter.stage, letter.reason) == (Stage.STORAGE, RejectReason.UNDECODABLE)
    assert letter.payload == b"\xff\xfe no message"
    assert dlq_retry(machine, project)["not_sent"] == {"still undecodable": 1}
    rows = machine.client.query(
        "SELECT outcome, sum(events) FROM ledger_minutes "
        "WHERE project_id = {project:String} GROUP BY outcome",
        parameters={"project": project.project_id},
    ).result_rows
    assert {outcome: int(events) for outcome, events in rows} == {
        "received": 5,
        "stored": 2,
        "rejected": 3,
    }
