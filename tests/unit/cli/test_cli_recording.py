"""Recorded traffic, moved to the present."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cli.recording import read_recording, read_recordings
from cli.sending import lanes_of
from connectors.lookups import load_place_reader
from samples import GEO_DATABASE, TRAFFIC, scene_files

NAMESPACE = UUID("7f0e3c52-4a9c-4e0e-9d0a-5b8a3a1d2c11")
OTHER_NAMESPACE = UUID("7f0e3c52-4a9c-4e0e-9d0a-5b8a3a1d2c12")
NOW_MS = 2_000_000_000_000
CLICK = "00000000-0000-4000-8000-00000000000c"


def write(path: Path, *lines: dict[str, Any]) -> Path:
    """A recording of these requests."""
    path.write_bytes(gzip.compress("\n".join(json.dumps(line) for line in lines).encode()))
    return path


def line(received_ms: int, sent_ms: int, event_ms: int, event_id: str) -> dict[str, Any]:
    """One request with one event."""
    event = {
        "event_id": event_id,
        "session_id": "s1",
        "event_type": "dom_mutation",
        "timestamp": event_ms,
        "payload": {"click_event_id": CLICK},
    }
    return {
        "received_at_ms": received_ms,
        "client_ip": "81.2.69.142",
        "user_agent": "A",
        "batch": {"project_key": "old", "sent_at": sent_ms, "events": [event]},
    }


def event_of(recording: Any, index: int = 0) -> dict[str, Any]:
    """The first event of a request."""
    found: dict[str, Any] = recording[index].batch["events"][0]
    return found


def test_the_last_request_arrives_now_and_distances_stay(tmp_path: Path) -> None:
    """One constant moves all times, so that the last receipt is the given moment."""
    path = write(tmp_path / "r.gz", line(1_000, 999, 900, "a"), line(5_000, 4_990, 4_500, "b"))
    recording = read_recording(path, ends_at_ms=NOW_MS, namespace=NAMESPACE)
    assert event_of(recording, 1)["timestamp"] == NOW_MS - 500
    assert event_of(recording, 1)["timestamp"] - event_of(recording)["timestamp"] == 3_600


def test_a_wrong_clock_is_corrected_before_the_shift(tmp_path: Path) -> None:
    """A client four minutes slow is put right, because its `sent_at` will be the truth now."""
    path = write(tmp_path / "r.gz", line(1_000_000, 760_000, 759_000, "a"))
    recording = read_recording(path, ends_at_ms=NOW_MS, namespace=NAMESPACE)
    assert event_of(recording)["timestamp"] == NOW_MS - 1_000


def test_runs_do_not_share_ids_but_keep_references(tmp_path: Path) -> None:
    """Another run has other ids; inside a run equal ids stay equal, also inside payloads."""
    path = write(tmp_path / "r.gz", line(1_000, 999, 900, CLICK), line(2_000, 1_999, 900, "b"))
    one = read_recording(path, ends_at_ms=NOW_MS, namespace=NAMESPACE)
    again = read_recording(path, ends_at_ms=NOW_MS, namespace=NAMESPACE)
    other = read_recording(path, ends_at_ms=NOW_MS, namespace=OTHER_NAMESPACE)
    assert one == again
    assert event_of(one)["event_id"] != event_of(other)["event_id"]
    assert event_of(one, 1)["payload"]["click_event_id"] == event_of(one)["event_id"]
    assert event_of(one)["session_id"] == event_of(one, 1)["session_id"]


def test_the_body_carries_the_key_and_the_moment_of_sending(tmp_path: Path) -> None:
    """Key and `sent_at` of the recording are replaced."""
    path = write(tmp_path / "r.gz", line(1_000, 999, 900, "a"))
    delivery = read_recording(path, ends_at_ms=NOW_MS, namespace=NAMESPACE)[0]
    body = json.loads(delivery.body("gs_live_x", 77))
    assert (body["project_key"], body["sent_at"]) == ("gs_live_x", 77)


def test_requests_of_a_session_stay_in_one_lane_in_order() -> None:
    """Lanes can be sent at once; within one the order of the recording is kept."""
    deliveries = read_recording(TRAFFIC, ends_at_ms=NOW_MS, namespace=NAMESPACE)
    lanes = lanes_of(deliveries)
    assert sum(map(len, lanes)) == len(deliveries) == 2_372
    assert all(len({delivery.lane for delivery in lane}) == 1 for lane in lanes)
    order = {id(delivery): index for index, delivery in enumerate(deliveries)}
    for lane in lanes:
        places = [order[id(delivery)] for delivery in lane]
        assert places == sorted(places)


@pytest.mark.parametrize("path", [TRAFFIC, *scene_files()], ids=lambda path: path.name[:12])
def test_no_sample_event_is_in_the_future_or_too_old(path: Path) -> None:
    """Moved to now, every event lies in the last week and none behind now."""
    for delivery in read_recordings([path], ends_at_ms=NOW_MS, apart_ms=0, namespace=NAMESPACE):
        for event in delivery.batch["events"]:
            assert NOW_MS - 7 * 86_400_000 < event["timestamp"] <= NOW_MS


def test_every_sample_address_has_a_place() -> None:
    """The sample database knows the country of each visitor of the samples."""
    find = load_place_reader(str(GEO_DATABASE))
    deliveries = read_recordings(
        [TRAFFIC, *scene_files()], ends_at_ms=NOW_MS, apart_ms=0, namespace=NAMESPACE
    )
    assert {d.client_ip for d in deliveries if not find(d.client_ip).country_code} == set()
    assert find("8.8.8.8").country_code == ""
