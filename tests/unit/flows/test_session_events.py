"""Session events of raw records and of stored rows, which must be equal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest

from flows.behaviour import record_of
from flows.core.behaviour import BehaviourMachine, decode_state, encode_state
from flows.core.detection_rules import rules_of_document
from flows.core.session_batches import BatchReader, page_key
from flows.core.session_bodies import BODY_KINDS, body_readers, unpacked
from flows.core.session_event import Click, Identified, PackedMoves, SessionEvent, Started
from flows.core.session_run import run_session
from flows.core.stored_events import STORED_COLUMNS, StoredReader, _body_readers
from schemas.event_types import EVENT_KINDS, SERVER_ONLY
from schemas.reasons import RejectReason
from sql.loader import load_query
from tests.factories import NOW_MS, PROJECT, make_event, make_raw
from tests.session_records import (
    all_scene_values,
    example_values,
    find_place,
    live_batches,
    parse_agent,
    polled,
    raw_values,
    stored_sessions,
    strange_values,
    synthetic_values,
)

SESSION = "7b6f3a0e-8f0e-4c2e-9a54-0f8a5d1c2b3a"

SOURCES: dict[str, Callable[[], Sequence[bytes]]] = {
    "examples": example_values,
    "scenes": all_scene_values,
    "synthetic": lambda: list(synthetic_values(300)),
    "strange": strange_values,
}


def by_session(events: Sequence[tuple[str, SessionEvent]]) -> dict[str, list[SessionEvent]]:
    """The events of each session, sorted; positions of the pointer are opened."""
    found: defaultdict[str, list[SessionEvent]] = defaultdict(list)
    for key, event in events:
        if isinstance(event.body, PackedMoves):
            event = msgspec.structs.replace(event, body=unpacked(event.body))
        found[key].append(event)
    return {key: sorted(made, key=lambda event: event.order) for key, made in found.items()}


def followed_link(href: str) -> list[dict[str, Any]]:
    """A click on a link, and that the page was scrolled after it, too late to be a jump."""
    target = {"tag": "a", "href": href, "selector": "#l"}
    click = {"position": {"x": 5, "y": 5}, "button": "left", "target": target, "dom_observed": True}
    scroll = {"scroll_top": 900, "scroll_depth_percent": 50}
    return [an_event(1, "click", 1_000, "", click), an_event(2, "scroll", 1_400, "", scroll)]


def views(*fragments: str) -> list[dict[str, Any]]:
    """Page views of one path, three seconds apart."""
    return [
        an_event(number, "page_view", number * 3_000, fragment, {"page_hash": fragment})
        for number, fragment in enumerate(fragments, 1)
    ]


def an_event(
    number: int, kind: str, at_ms: int, fragment: str, payload: dict[str, Any]
) -> dict[str, Any]:
    """One event as an SDK sends it; it happened so long after a minute ago."""
    return {
        "event_id": str(UUID(int=number)),
        "event_type": kind,
        "session_id": SESSION,
        "timestamp": NOW_MS - 60_000 + at_ms,
        "page": {"url": f"https://a.example/app{fragment}", "path": "/app"},
        "payload": payload,
    }


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_stored_rows_say_what_raw_records_said(source: str) -> None:
    """Live and stored, the same events are equal, and so are the facts of their batches."""
    values = SOURCES[source]()
    live = live_batches(values)
    stored = [batch for batches in stored_sessions(values) for batch in batches]
    live_events = [(batch.key, event) for batch in live for event in batch.events]
    stored_events = [(batch.key, event) for batch in stored for event in batch.events]
    assert by_session(stored_events) == by_session(live_events)
    assert {msgspec.structs.replace(batch, events=()) for batch in stored} == {
        msgspec.structs.replace(batch, events=()) for batch in live
    }


def test_every_type_is_read_and_the_examples_of_those_with_a_body_have_one() -> None:
    """No type is left out; a payload that bodies name is opened, and no other."""
    events = [event for batch in live_batches(example_values()) for event in batch.events]
    assert {event.kind for event in events} == {
        kind.name for kind in EVENT_KINDS if kind.number not in SERVER_ONLY
    }
    assert {event.kind for event in events if event.body is not None} == set(BODY_KINDS)
    assert set(_body_readers()) == set(BODY_KINDS)
    assert len(body_readers()) == len(BODY_KINDS)


def test_events_survive_msgpack() -> None:
    """What a state holds of an event comes back equal."""
    events = [event for batch in live_batches(all_scene_values()) for event in batch.events]
    data = msgspec.msgpack.encode(events)
    assert msgspec.msgpack.decode(data, type=list[SessionEvent]) == events


def test_a_session_start_puts_what_it_declares_on_its_page() -> None:
    """Declared fields are trimmed and win over those of the URL."""
    batch = live_batches(strange_values())[1]
    [start] = [event for event in batch.events if event.kind == "session_start"]
    assert isinstance(start.body, Started)
    assert start.body.utm == ("mail", "", "", "", "")
    assert start.body.referrer_domain == start.page.referrer_domain == "news.example"
    assert (start.page.utm_source, start.page.utm_medium) == ("mail", "ad")


@pytest.mark.parametrize("of_batch", ["", "u6"])
def test_an_identify_names_its_visitor(of_batch: str) -> None:
    """The user of the payload is the event's, whatever a batch says for all of its events."""
    event = make_event("e1", SESSION)
    event.event_type = 111  # type: ignore[assignment]
    event.identify.user_id, event.user_id = "u7", of_batch
    [batch] = live_batches([make_raw([event], SESSION).SerializeToString()])
    assert isinstance(batch.events[0].body, Identified)
    assert batch.events[0].visitor.user_id == "u7"


def test_times_are_corrected_and_clamped() -> None:
    """A clock that is behind is corrected; what is still ahead gets the time of receipt."""
    events = [
        make_event("e1", SESSION, at_ms=NOW_MS - 9_000),
        make_event("e2", SESSION, at_ms=NOW_MS + 100_000),
    ]
    raw = make_raw(events, SESSION, received_at_ms=NOW_MS, sent_at_ms=NOW_MS - 5_000)
    [batch] = live_batches([raw.SerializeToString()])
    assert [event.at_ms for event in batch.events] == [NOW_MS - 4_000, NOW_MS]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://a.example/app#/plan", "/app#/plan"),
        ("https://a.example/app#!plan", "/app#!plan"),
        ("https://a.example/app#reviews", "/app"),
        ("https://a.example/app", "/app"),
    ],
)
def test_only_a_route_in_the_fragment_makes_another_page(url: str, key: str) -> None:
    """A jump mark does not."""
    assert page_key(url, "/app") == key


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (followed_link("#faq"), []),
        (followed_link("#section%201"), []),
        (followed_link(" #tab=2"), []),
        (followed_link("#!next"), []),
        (followed_link("/faq#tab=2"), ["dead_click"]),
        (views("#/a", "#/b", "#/a"), ["u_turn"]),
        (views("#!a", "#!b", "#!a"), ["u_turn"]),
        (views("#a", "#b", "#a"), []),
    ],
)
def test_links_and_routes_mean_the_same_behind_the_gateway(
    events: list[dict[str, Any]], found: list[str]
) -> None:
    """What the gateway takes out of a fragment is not what detectors look at."""
    request = {"received_at_ms": NOW_MS, "batch": {"sent_at": NOW_MS, "events": events}}
    (batch,) = live_batches(raw_values([request]))
    made = run_session(rules_of_document({}).detectors(), batch.events)
    assert [finding.insight_type for finding in made] == found


def test_no_number_of_a_sender_is_too_large_for_a_session() -> None:
    """Whatever the gateway takes can be stored as a state and sent as a row or an insight."""
    wild = [
        an_event(1, "mouse_move", 0, "", {"positions": positions})
        for positions in (
            [{"x": x * (i % 2), "y": x, "timestamp": t + i * 60} for i in range(60)]
            for x, t in ((2**31 - 1, 0), (800, 2**63 - 1_000_000), (800, 10**15), (-(2**31), 0))
        )
    ]
    straight = [{"x": -(2**31) if i < 58 else 2**31 - 1, "y": 5, "timestamp": i} for i in range(60)]
    wild.append(an_event(1, "mouse_move", 0, "", {"positions": straight}))
    paid = {"order_id": "o", "value": -1e13, "currency": "KWD"}
    pages = [an_event(2, "page_view", 8_000, "", {})]
    for number, first in enumerate((*wild, None)):
        events = [first] if first else [an_event(i, "purchase", i, "", paid) for i in range(2_000)]
        outputs = []
        state = None
        machine = BehaviourMachine(lambda _project_id: rules_of_document({}), previews=True)
        for part, at_ms in ((events[:1_000], 0), (events[1_000:] + pages, 9_000)):
            request = {
                "received_at_ms": NOW_MS - 60_000 + at_ms,
                "batch": {"sent_at": NOW_MS - 60_000 + at_ms, "events": part},
            }
            (batch,) = live_batches(raw_values([request]))
            state, made = machine.on_event(state, batch, batch.received_at_ms)
            assert state is not None
            assert decode_state(encode_state(state)) == state, number
            outputs += made
        _, made = machine.on_time(state, NOW_MS + 3_600_000)
        rows = [record_of(one) for one in (*outputs, *made)]
        assert len(rows) > 1
        for one in (*outputs, *made):
            assert NOW_MS - 100_000 < one.ended_at_ms < NOW_MS + 100_000


def test_a_record_that_cannot_be_read_is_told_and_its_neighbours_go_on() -> None:
    """Poisons carry their place; batches carry theirs."""
    good = make_raw([make_event("e1", SESSION)], SESSION).SerializeToString()
    naked = make_raw([make_event("e1", SESSION)], SESSION, project_id="").SerializeToString()
    found = BatchReader(parse_agent, find_place).read(polled([good, b"\xff", naked, good]))
    assert found.offsets == [0, 3]
    assert [(poison.offset, poison.reason) for poison in found.poisons] == [
        (1, RejectReason.UNDECODABLE),
        (2, RejectReason.UNDECODABLE),
    ]


def test_equal_pages_and_elements_are_one_object() -> None:
    """What repeats from event to event is built once."""
    events = [make_event(f"e{n}", SESSION, kind=20) for n in range(2)]  # type: ignore[arg-type]
    values = [make_raw([event], SESSION).SerializeToString() for event in events]
    first, second = (batch.events[0] for batch in live_batches(values))
    assert first.page is second.page
    assert isinstance(first.body, Click)
    assert isinstance(second.body, Click)
    assert first.body.target is second.body.target
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    ("name", "more"), [("session_events", ()), ("events_of_period", ("stored_at_ms",))]
)
def test_the_queries_select_the_columns_in_order(name: str, more: tuple[str, ...]) -> None:
    """The reader takes columns by their place; what it does not take comes after them."""
    columns = load_query(name).split("SELECT\n", 1)[1].split("\nFROM", 1)[0]
    found = [
        re.split(r"\s+(?:AS\s+)?", line.strip().rstrip(","))[-1] for line in columns.split("\n")
    ]
    assert tuple(found) == STORED_COLUMNS + more


def test_a_stored_session_is_one_group_of_batches() -> None:
    """Rows received together are a batch; batches come in the order of receipt."""
    values = [
        make_raw(
            [make_event("e1", SESSION)], SESSION, received_at_ms=NOW_MS + 5
        ).SerializeToString(),
        make_raw([make_event("e2", SESSION)], SESSION, received_at_ms=NOW_MS).SerializeToString(),
    ]
    [batches] = stored_sessions(values)
    assert [batch.received_at_ms for batch in batches] == [NOW_MS, NOW_MS + 5]
    assert {batch.project_id for batch in batches} == {PROJECT}
    assert list(StoredReader().sessions([])) == []
