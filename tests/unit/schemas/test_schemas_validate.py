"""Which events come in. Faults that JSON can have are in schemas/examples."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.event_types import EVENT_KINDS, SERVER_ONLY
from schemas.project_settings import parse_settings
from schemas.reasons import RejectReason
from schemas.records import ProjectSettings
from schemas.v1.events_pb2 import Event
from schemas.validate import DAY_MS, LIMITS, Limits, is_event_name, url_path, validate_event

RECEIVED = 1_795_255_931_958
DEFAULTS = ProjectSettings()
NAN, INFINITE = float("nan"), float("inf")


def _event(**fields: Any) -> Event:
    base: dict[str, Any] = {
        "event_type": 20,
        "session_id": "s1",
        "timestamp": {"millis": RECEIVED},
        "page": {"path": "/a"},
    }
    return Event(**{**base, **fields})


def _judge(
    event: Event, settings: ProjectSettings = DEFAULTS, event_bytes: int | None = None
) -> RejectReason | None:
    return validate_event(event, settings, 0, RECEIVED, event_bytes)


@pytest.mark.parametrize("page", [{"path": "/a"}, {"url": "https://x.example/a"}, {"path": "chat"}])
def test_minimal_event_is_accepted(page: dict[str, str]) -> None:
    """Type, time, session and a url or a path are enough; so it is for chats without a URL."""
    assert _judge(_event(page=page)) is None
    assert _judge(_event(page=page, channel_type="whatsapp")) is None


@pytest.mark.parametrize("kind", EVENT_KINDS, ids=lambda kind: kind.name)
def test_only_the_payload_of_its_type_fits(kind: Any) -> None:
    """A payload of another type is refused for every type, and so are insights from clients."""
    category_on = parse_settings({"events": {kind.category: True}}) if kind.number < 200 else None
    event = _event(event_type=kind.number, click={})
    if kind.number in SERVER_ONLY:
        assert _judge(event) is RejectReason.UNKNOWN_EVENT_TYPE
        return
    assert category_on is not None
    expected = None if kind.payload == "click" else RejectReason.BAD_PAYLOAD
    assert _judge(event, category_on) is expected


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (30, {"scroll": {"velocity": NAN}}),
        (30, {"scroll": {"velocity": INFINITE}}),
        (30, {"scroll": {"scroll_depth_percent": -1}}),
        (11, {"page_exit": {"max_scroll_depth": 101}}),
        (31, {"scroll_milestone": {"milestone": 101}}),
        (71, {"performance": {"cumulative_layout_shift": NAN}}),
        (150, {"goal": {"value": NAN}}),
        (151, {"purchase": {"value": -INFINITE}}),
        (110, {"custom_event": {"name": ""}}),
        (110, {"custom_event": {"name": "naïve"}}),
        (110, {}),
    ],
)
def test_numbers_and_names_that_make_no_sense_are_refused(
    number: int, payload: dict[str, Any]
) -> None:
    """Percentages, numbers that are none, and names of custom events."""
    assert _judge(_event(event_type=number, **payload)) is RejectReason.BAD_PAYLOAD


@pytest.mark.parametrize("member", ["current_time", "duration", "watch_duration"])
def test_media_times_are_numbers(member: str) -> None:
    """Media are off by default; switched on, their numbers are checked."""
    settings = parse_settings({"events": {"media": True}})
    assert _judge(_event(event_type=90, media={member: NAN}), settings) is RejectReason.BAD_PAYLOAD
    assert _judge(_event(event_type=90, media={member: 1.5}), settings) is None


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (30, {"scroll": {"scroll_depth_percent": 100, "velocity": -3.5}}),
        (11, {"page_exit": {"max_scroll_depth": 0}}),
        (110, {"custom_event": {"name": "n" * 100}}),
        (13, {}),
        (111, {"identify": {}}),
    ],
)
def test_edges_of_what_is_allowed_are_accepted(number: int, payload: dict[str, Any]) -> None:
    """The last values before refusal."""
    assert _judge(_event(event_type=number, **payload)) is None


def test_names_of_custom_events() -> None:
    """One to a hundred ASCII letters, digits and underscores."""
    assert is_event_name("Coupon_2")
    for name in ("", "a b", "a-b", "é", "\u0663", "a" * 101, "a\n"):
        assert not is_event_name(name)


def test_missing_time_and_wrong_time_are_told_apart() -> None:
    """No time is a missing field; zero is a bad one."""
    event = _event()
    event.ClearField("timestamp")
    assert _judge(event) is RejectReason.MISSING_FIELD
    assert _judge(_event(timestamp={})) is RejectReason.BAD_TIMESTAMP
    assert _judge(_event(timestamp={"millis": -1})) is RejectReason.BAD_TIMESTAMP


def test_age_is_measured_on_the_corrected_time() -> None:
    """Exactly seven days are accepted; a wrong clock neither saves nor loses an event."""
    old = RECEIVED - LIMITS.age_ms_max
    assert validate_event(_event(timestamp={"millis": old}), DEFAULTS, 0, RECEIVED, 1) is None
    older = _event(timestamp={"millis": old - 1})
    assert validate_event(older, DEFAULTS, 0, RECEIVED, 1) is RejectReason.TOO_OLD
    behind = RECEIVED - 30 * DAY_MS
    slow_clock = _event(timestamp={"millis": behind - 500})
    assert validate_event(slow_clock, DEFAULTS, behind, RECEIVED, 1) is None
    ahead = _event(timestamp={"millis": RECEIVED + 400 * DAY_MS})
    assert validate_event(ahead, DEFAULTS, 0, RECEIVED, 1) is None


def test_size_is_bounded_by_kind_of_event() -> None:
    """A recording may be larger than any other event."""
    limits = Limits(event_bytes_max=100, replay_event_bytes_max=200)
    small, middle, large = (
        _event(event_type=120, replay={"data": b"x" * n}) for n in (1, 100, 200)
    )
    for event, expected in ((small, None), (middle, None), (large, RejectReason.TOO_LARGE)):
        assert validate_event(event, DEFAULTS, 0, RECEIVED, None, limits) is expected
    click = _event(click={"target": {"text": "x" * 100}})
    assert validate_event(click, DEFAULTS, 0, RECEIVED, None, limits) is RejectReason.TOO_LARGE


def test_upper_bound_of_the_size_is_not_taken_for_the_size() -> None:
    """A small event of a large batch is accepted although the bound exceeds the limit."""
    assert _judge(_event(), event_bytes=10**6) is None
    large = _event(click={"target": {"text": "x" * 70_000}})
    assert _judge(large, event_bytes=10**6) is RejectReason.TOO_LARGE


@pytest.mark.parametrize("number", [40, 41, 42])
def test_input_event_with_a_value_is_refused_before_all_other_faults(number: int) -> None:
    """Its bytes may not be kept, whatever else is wrong with it."""
    members = {40: "input_change", 41: "input_focus", 42: "input_blur"}
    typed: dict[str, Any] = {members[number]: {"target": {"attributes": {"value": "typed"}}}}
    event = _event(event_type=number, session_id="", page={}, timestamp={}, **typed)
    assert _judge(event) is RejectReason.RAW_VALUE
    harmless = _event(
        event_type=number, **{members[number]: {"target": {"attributes": {"value": ""}}}}
    )
    assert _judge(harmless) is None


@pytest.mark.parametrize(
    "page",
    [
        {"path": "/checkout/pay"},
        {"path": "/checkout/pay?step=2"},
        {"url": "https://x.example/checkout/pay#a"},
        {"url": "https://x.example/checkout/pay", "path": "/elsewhere"},
    ],
)
def test_blocked_page_is_found_by_path_and_by_url(page: dict[str, str]) -> None:
    """A client cannot pass by naming another path."""
    settings = parse_settings({"privacy": {"blockUrls": ["/checkout/*"]}})
    assert _judge(_event(page=page), settings) is RejectReason.BLOCKED_URL
    assert _judge(_event(page={"path": "/cart"}), settings) is None
    assert _judge(_event(page=page, session_id=""), settings) is RejectReason.BLOCKED_URL
    for unknown in (0, 99, 200):
        event = _event(page=page, event_type=unknown)
        assert _judge(event, settings) is RejectReason.BLOCKED_URL


def test_session_bookkeeping_comes_in_from_blocked_pages() -> None:
    """Sessions begin and end wherever the person is."""
    settings = parse_settings({"privacy": {"blockUrls": ["*"]}})
    assert _judge(_event(event_type=1), settings) is None
    assert _judge(_event(event_type=2), settings) is None
    assert _judge(_event(event_type=10), settings) is RejectReason.BLOCKED_URL


def test_event_without_page_is_missing_a_field_and_not_blocked() -> None:
    """An allow list blocks pages, not their absence."""
    settings = parse_settings({"privacy": {"allowUrls": ["/shop/*"]}})
    assert _judge(_event(page={}), settings) is RejectReason.MISSING_FIELD


def test_categories_are_switched_by_the_project() -> None:
    """Off by default: network, media, clipboard, selection."""
    for number in (80, 90, 130, 140):
        assert _judge(_event(event_type=number)) is RejectReason.TYPE_DISABLED
    settings = parse_settings({"events": {"network": True, "page": False}})
    assert _judge(_event(event_type=80), settings) is None
    assert _judge(_event(event_type=10), settings) is RejectReason.TYPE_DISABLED


def test_reaction_marker_goes_with_the_mouse_and_not_with_the_recorder() -> None:
    """Without the markers every click of a project without replay would look dead."""
    marker = _event(event_type=121, dom_mutation={"mutation_count": 1})
    assert _judge(marker, parse_settings({"events": {"replay": False}})) is None
    without_mouse = parse_settings({"events": {"mouse": False}})
    assert _judge(marker, without_mouse) is RejectReason.TYPE_DISABLED


def test_path_of_a_url() -> None:
    """A bare host is the root; what cannot be parsed has no path."""
    assert url_path("https://x.example/a/b?c=d#e") == "/a/b"
    assert url_path("https://x.example") == "/"
    assert url_path("/a?b") == "/a"
    assert url_path("") == ""
    assert url_path("http://[broken") == ""
