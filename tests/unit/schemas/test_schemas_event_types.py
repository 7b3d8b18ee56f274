"""The table of event types agrees with the wire format."""

from __future__ import annotations

from schemas.event_types import (
    CATEGORY_BY_NUMBER,
    ERROR_TYPES,
    EVENT_KINDS,
    NAME_BY_NUMBER,
    NUMBER_BY_NAME,
    PAYLOAD_BY_NUMBER,
    SERVER_ONLY,
    number_of,
)
from schemas.records import CATEGORY_DEFAULTS
from schemas.v1.events_pb2 import Event, EventType

RENAMED = {"EVENT_TYPE_WEBSOCKET": "websocket_open", "EVENT_TYPE_CUSTOM": "custom_event"}


def test_every_type_of_the_enum_is_in_the_table_under_its_short_name() -> None:
    """Two types are stored under another name than the enum's."""
    expected = {
        number: RENAMED.get(name, name.removeprefix("EVENT_TYPE_").lower())
        for name, number in EventType.items()
        if number
    }
    assert expected == NAME_BY_NUMBER
    assert {name: number for number, name in expected.items()} == NUMBER_BY_NAME


def test_every_payload_of_the_wire_format_belongs_to_a_type() -> None:
    """No member of the oneof is unused, and none is made up."""
    members = {field.name for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert {kind.payload for kind in EVENT_KINDS if kind.payload} == members


def test_types_without_a_payload_are_those_of_the_protocol() -> None:
    """Six types and all insights carry nothing."""
    without = {name for name, number in NUMBER_BY_NAME.items() if not PAYLOAD_BY_NUMBER[number]}
    insights = {NAME_BY_NUMBER[number] for number in SERVER_ONLY}
    assert without - insights == {
        "page_hidden",
        "copy",
        "cut",
        "paste",
        "text_select",
        "text_deselect",
    }
    assert min(SERVER_ONLY) == 200


def test_every_category_can_be_switched_by_a_project() -> None:
    """Only insights, which clients cannot send, have no switch."""
    assert set(CATEGORY_BY_NUMBER.values()) - {"insight"} == set(CATEGORY_DEFAULTS)


def test_error_types_are_the_four_that_are_copied_to_the_errors_topic() -> None:
    """Source: events.md, section 8."""
    assert {NAME_BY_NUMBER[number] for number in ERROR_TYPES} == {
        "js_error",
        "unhandled_rejection",
        "resource_error",
        "console_error",
    }


def test_aliases_are_taken_and_unknown_names_are_not() -> None:
    """Enum names and `custom` are known; other spellings are not."""
    assert number_of("click") == number_of("EVENT_TYPE_CLICK") == 20
    assert number_of("custom") == number_of("EVENT_TYPE_CUSTOM") == 110
    assert number_of("EVENT_TYPE_WEBSOCKET") == number_of("websocket_open") == 82
    for name in ("", "Click", "EVENT_TYPE_UNSPECIFIED", "unspecified", "tap"):
        assert number_of(name) is None
