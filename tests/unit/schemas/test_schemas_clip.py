"""Events are cut to size; what fits is not touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.clip import MAP_KEYS_MAX, POSITIONS_MAX
from schemas.v1.events_pb2 import Event
from schemas.validate import clip_event


@pytest.mark.parametrize(
    ("member", "names", "length"),
    [
        ("page", ("url",), 2048),
        ("page", ("referrer",), 2048),
        ("page", ("path",), 1024),
        ("page", ("title",), 1024),
        ("device", ("user_agent",), 1024),
        ("click", ("target", "text"), 50),
        ("click", ("target", "selector"), 1024),
        ("click", ("target", "href"), 2048),
        ("js_error", ("message",), 1024),
        ("js_error", ("stack",), 8192),
        ("network_request", ("url",), 2048),
        ("form_abandon", ("last_field",), 1024),
    ],
)
def test_texts_are_cut_at_their_length(member: str, names: tuple[str, ...], length: int) -> None:
    """A text of exactly the length stays, one more character is cut."""
    for extra, expected in ((0, False), (1, True)):
        event = Event()
        holder: Any = getattr(event, member)
        for name in names[:-1]:
            holder = getattr(holder, name)
        setattr(holder, names[-1], "é" * (length + extra))
        assert clip_event(event) is expected
        assert getattr(holder, names[-1]) == "é" * length
        assert not clip_event(event)


@pytest.mark.parametrize("name", ["user_id", "anonymous_id", "page_view_id", "external_id"])
def test_ids_are_cut_but_those_of_event_and_session(name: str) -> None:
    """Ids of events and sessions become UUIDs whole, so that no two of them become one."""
    event = Event(session_id="s" * 400, event_id="e" * 400)
    setattr(event, name, "i" * 257)
    assert clip_event(event)
    assert len(getattr(event, name)) == 256
    assert len(event.session_id) == len(event.event_id) == 400


def test_many_ids_that_are_short_enough_stay() -> None:
    """Each id has its own limit, not all of them together."""
    event = Event(user_id="u" * 200, anonymous_id="a" * 200)
    assert not clip_event(event)


@pytest.mark.parametrize(
    "event",
    [
        Event(page={"title": "a\0b"}),
        Event(user_id="a\0b"),
        Event(custom={"k": "a\0b"}),
        Event(click={"target": {"text": "a\0b"}}),
        Event(click={"target": {"classes": ["a\0b"]}}),
    ],
)
def test_nul_is_removed(event: Event) -> None:
    """No text keeps a NUL, which ends texts in some stores."""
    assert clip_event(event)
    stored = event.SerializeToString()
    assert b"ab" in stored
    assert b"\0" not in stored


@pytest.mark.parametrize("member", ["custom_event", "identify", None])
def test_maps_keep_their_first_keys(member: str | None) -> None:
    """Surplus keys go in alphabetical order, over-long keys go, over-long values are cut."""
    event = Event()
    values = (
        event.custom
        if member is None
        else event.custom_event.properties
        if member == "custom_event"
        else event.identify.traits
    )
    for number in range(MAP_KEYS_MAX):
        values[f"key{number:02}"] = "v"
    assert not clip_event(event)
    values["key00"] = "v" * 1025
    values["a" * 101] = "dropped for its key"
    values["z"] = "dropped as the last one"
    assert clip_event(event)
    assert sorted(values) == [f"key{number:02}" for number in range(MAP_KEYS_MAX)]
    assert values["key00"] == "v" * 1024


def test_lists_are_cut() -> None:
    """Positions of a mouse move, classes and console arguments."""
    move = Event(mouse_move={"positions": [{"x": number} for number in range(POSITIONS_MAX + 1)]})
    assert clip_event(move)
    assert [position.x for position in move.mouse_move.positions] == list(range(POSITIONS_MAX))
    assert not clip_event(move)
    console = Event(console_error={"args": ["x" * 1025, *["a"] * 60]})
    assert clip_event(console)
    assert len(console.console_error.args) == 50
    assert len(console.console_error.args[0]) == 1024


@settings(deadline=None, max_examples=100)
@given(
    st.text(max_size=80),
    st.dictionaries(st.text(max_size=110), st.text(max_size=30), max_size=60),
)
def test_cutting_twice_is_cutting_once(text: str, values: dict[str, str]) -> None:
    """What was cut fits, and what fits is not changed."""
    event = Event(
        user_id=text * 4,
        custom=values,
        page={"title": text, "query_params": values},
        click={"target": {"text": text, "attributes": values, "classes": [text]}},
    )
    before = event.SerializeToString(deterministic=True)
    changed = clip_event(event)
    after = event.SerializeToString(deterministic=True)
    assert changed is (before != after)
    assert not clip_event(event)
