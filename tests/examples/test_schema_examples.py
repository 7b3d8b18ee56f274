"""Every example in schemas/examples through the code that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from schemas.codec import CodecError, decode_raw, payload_json
from schemas.event_types import EVENT_KINDS, SERVER_ONLY
from schemas.json_batch import JsonBatch, JsonFault, batch_from_json, event_to_json
from schemas.project_settings import parse_settings
from schemas.reasons import RejectReason
from schemas.records import CATEGORY_DEFAULTS
from schemas.topics import BY_NAME, EVENTS_RAW
from schemas.v1 import pipeline_pb2, replay_pb2
from schemas.v1.events_pb2 import Event
from schemas.validate import validate_event

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
VALID = sorted((EXAMPLES / "events.raw" / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "events.raw" / "invalid").glob("*.json"))
RECORDS = sorted((EXAMPLES / "records").glob("*/valid/*.txtpb"))
BROKEN_RECORDS = sorted((EXAMPLES / "records").glob("*/invalid/*.hex"))

ALL_ON = parse_settings({"events": dict.fromkeys(CATEGORY_DEFAULTS, True)})


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _load(path: Path) -> dict[str, Any]:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])


def _read(event: dict[str, Any], sent_at: int = 0) -> JsonBatch:
    return batch_from_json(msgspec.json.encode({"sent_at": sent_at, "events": [event]}))


def _message_class(topic_name: str) -> type[Message]:
    name = BY_NAME[topic_name].message
    found: type[Message] = getattr(pipeline_pb2, name, None) or getattr(replay_pb2, name)
    assert issubclass(found, Message)
    return found


def test_every_type_of_event_has_an_example() -> None:
    """A new type of event needs an example that proves that its payload comes through."""
    expected = {kind.name for kind in EVENT_KINDS if kind.number not in SERVER_ONLY}
    assert {path.stem for path in VALID} == expected


@pytest.mark.parametrize("path", VALID, ids=_name)
def test_valid_event_comes_through_unchanged_and_is_accepted(path: Path) -> None:
    """JSON to message to bytes to message to JSON gives the same event."""
    original = _load(path)
    (event,) = _read(original).events
    assert isinstance(event, Event)
    again = Event.FromString(event.SerializeToString())
    assert event_to_json(again) == original
    time_ms = original["timestamp"]
    assert validate_event(event, ALL_ON, time_ms, time_ms, None) is None


@pytest.mark.parametrize("path", VALID, ids=_name)
def test_stored_payload_is_the_example_s_payload(path: Path) -> None:
    """The stored JSON of a payload is its canonical JSON, with sorted keys."""
    original = _load(path)
    (event,) = _read(original).events
    assert isinstance(event, Event)
    stored = payload_json(event)
    assert msgspec.json.decode(stored) == original.get("payload", {})
    assert stored == msgspec.json.encode(msgspec.json.decode(stored), order="sorted").decode()


@pytest.mark.parametrize("path", INVALID, ids=_name)
def test_invalid_event_is_refused_with_its_reason(path: Path) -> None:
    """Each invalid event is refused for the reason that the file and its name say."""
    case = _load(path)
    reason = RejectReason(case["reason"])
    assert path.stem.startswith(reason.value)
    settings = parse_settings(case.get("settings", {}))
    (event,) = _read(case["event"], case["sent_at"]).events
    if isinstance(event, JsonFault):
        assert event.reason is reason
        assert event.detail
    else:
        found = validate_event(event, settings, case["sent_at"], case["received_at_ms"], None)
        assert found is reason


def test_every_reason_that_json_can_have_has_an_example() -> None:
    """Left out are reasons of other stages, and sizes, which make no small example."""
    elsewhere = {"too_large", "opted_out", "undecodable", "poison"}
    expected = {reason.value for reason in RejectReason} - elsewhere
    assert {_load(path)["reason"] for path in INVALID} == expected


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_record_comes_through_bytes_unchanged(path: Path) -> None:
    """The value of a record survives being written and read, and uses no unknown field."""
    message_class = _message_class(path.parts[-3])
    record = text_format.Parse(path.read_text(encoding="utf-8"), message_class())
    value = record.SerializeToString()
    assert message_class.FromString(value) == record
    assert value


@pytest.mark.parametrize("path", BROKEN_RECORDS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_broken_record_cannot_be_decoded(path: Path) -> None:
    """Damaged values are told apart from good ones by their reader."""
    value = bytes.fromhex(path.read_text(encoding="ascii"))
    message_class = _message_class(path.parts[-3])
    with pytest.raises(DecodeError):
        message_class.FromString(value)
    if path.parts[-3] == EVENTS_RAW.name:
        with pytest.raises(CodecError):
            decode_raw(value)


def test_every_topic_with_a_message_has_examples() -> None:
    """A topic without an example is not described."""
    described = {path.parts[-3] for path in RECORDS}
    assert described == {
        name
        for name, topic in BY_NAME.items()
        if hasattr(pipeline_pb2, topic.message) or hasattr(replay_pb2, topic.message)
    }
