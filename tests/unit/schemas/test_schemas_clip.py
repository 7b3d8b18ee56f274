"""Events are cut to size; what fits is not touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.clip import MAP_KEYS_MAX, POSITIONS_MAX
from schemas.records import PrivacyPolicy
from schemas.scrubber import Scrubber
from schemas.v1.events_pb2 import Event
from schemas.validate import clip_event


def clip(event: Event) -> bool:
    """Cut an event of whose texts everything may be kept."""
    return clip_event(event, lambda text, _shape, _kind: text)


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
        assert clip(event) is expected
        assert getattr(holder, names[-1]) == "é" * length
        assert not clip(event)


@pytest.mark.parametrize("name", ["user_id", "anonymous_id", "page_view_id", "external_id"])
def test_ids_are_cut_but_those_of_event_and_session(name: str) -> None:
    """Ids of events and sessions become UUIDs whole, so that no two of them become one."""
    event = Event(session_id="s" * 400, event_id="e" * 400)
    setattr(event, name, "i" * 257)
    assert clip(event)
    assert len(getattr(event, name)) == 256
    assert len(event.session_id) == len(event.event_id) == 400


def test_many_ids_that_are_short_enough_stay() -> None:
    """Each id has its own limit, not all of them together."""
    event = Event(user_id="u" * 200, anonymous_id="a" * 200)
    assert not clip(event)


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
    assert clip(event)
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
    assert not clip(event)
    values["key00"] = "v" * 1025
    values["a" * 101] = "dropped for its key"
    values["z"] = "dropped as the last one"
    assert clip(event)
    assert sorted(values) == [f"key{number:02}" for number in range(MAP_KEYS_MAX)]
    assert values["key00"] == "v" * 1024


def test_lists_are_cut() -> None:
    """Positions of a mouse move, classes and console arguments."""
    move = Event(mouse_move={"positions": [{"x": number} for number in range(POSITIONS_MAX + 1)]})
    assert clip(move)
    assert [position.x for position in move.mouse_move.positions] == list(range(POSITIONS_MAX))
    assert not clip(move)
    console = Event(console_error={"args": ["x" * 1025, *["a"] * 60]})
    assert clip(console)
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
    changed = clip(event)
    after = event.SerializeToString(deterministic=True)
    assert changed is (before != after)
    assert not clip(event)


CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize("kept", range(len(CARD)))
def test_no_part_of_a_card_number_is_left_by_a_cut(kept: int) -> None:
    """A number that the limit runs through is masked as one that it does not reach."""
    event = Event()
    event.click.target.text = "x" * (49 - kept) + " " + CARD
    event.click.target.attributes["data-a"] = "x" * (1_023 - kept) + " " + CARD
    event.page.title = "x" * (1_023 - kept) + " " + CARD
    event.page.query_params["q"] = "x" * (1_023 - kept) + " " + CARD
    event.custom["note"] = "x" * (1_023 - kept) + " " + CARD
    assert clip_event(event, Scrubber(PrivacyPolicy()).scrub_field)
    target = event.click.target
    texts = (event.page.title, *event.page.query_params.values(), *event.custom.values())
    for text in (target.text, *target.attributes.values(), *texts):
        assert not any(letter.isdigit() for letter in text)
        assert text.endswith(" [redacted:card]"[: kept + 1])


def test_traits_are_cut_as_they_came() -> None:
    """What is not scrubbed when it fits is not scrubbed because it is long."""
    event = Event()
    event.identify.traits["note"] = f"{CARD} " * 60
    assert clip_event(event, Scrubber(PrivacyPolicy()).scrub_field)
    assert event.identify.traits["note"] == (f"{CARD} " * 60)[:1_024]
