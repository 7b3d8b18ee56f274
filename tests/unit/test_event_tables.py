"""docs/events.md says what the code does, and its examples do what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from flows.core.session_bodies import BODY_KINDS
from flows.core.session_event import Click, Moves, SessionEvent
from ingest_gateway.bodies import FORM_BY_QUERY, FORM_BY_TYPE
from ingest_gateway.errors import STATUS
from ingest_gateway.judge import Project
from schemas.event_types import PAYLOAD_BY_NUMBER
from schemas.json_batch import batch_from_json
from schemas.reasons import DropReason, Outcome, RejectReason
from schemas.records import CATEGORY_DEFAULTS, ProjectSettings
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch
from schemas.validate import payloads_taken, validate_event
from tests.event_tables import CLIENT_KINDS, DOCUMENT, comments, filled, frame, tables
from tests.gateway_world import World, gateway_world, make_key
from tests.session_records import live_batches
from tests.unit.test_docs import fences

TEXT = DOCUMENT.read_text(encoding="utf-8")
ALL_ON = {"events": dict.fromkeys(CATEGORY_DEFAULTS, True)}
REPLAY = "replay"


def part(heading: str) -> str:
    """The text under a heading, down to the next one of its rank or above."""
    rank = heading.partition(" ")[0]
    after = TEXT.partition(f"\n{heading}\n")[2]
    assert after, heading
    return re.split(rf"^#{{1,{len(rank)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str) -> list[Any]:
    """JSON in code blocks."""
    return [json.loads(content) for language, content in fences(text) if language == "json"]


def first_cells(text: str) -> list[str]:
    """What stands in code at the beginning of each row."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


EXAMPLES: list[dict[str, Any]] = [each for block in blocks(part("## Payloads")) for each in block]
MISTAKES = [
    (text, re.findall("`([^`]+)`", ignored))
    for text, ignored in re.findall(
        r"^\| `([^`]+)` \| [^|]* \| ([^|]*)\|$",
        part("## What is accepted and not understood"),
        re.MULTILINE,
    )
]


def body_of(events: Sequence[Any]) -> bytes:
    """The request of the page with these events."""
    [batch] = blocks(frame())
    return json.dumps({**batch, "events": events}).encode()


async def taken(
    world: World, events: Sequence[Any], ignored: Sequence[str] = ()
) -> list[SessionEvent]:
    """Send events as JSON, all of which must be accepted; what detectors get of them."""
    world.source.add(make_key(settings=ALL_ON))
    response = await world.post(body_of(events), headers={"Content-Type": "application/json"})
    answer = await response.json()
    wanted = {"success": True, "events_accepted": len(events), "events_rejected": 0}
    assert answer == (wanted | {"ignored_fields": ignored} if ignored else wanted)
    assert response.status == 202
    values = [raw.SerializeToString() for raw in world.sink.raw()]
    return [event for batch in live_batches(values) for event in batch.events]


def test_tables_are_those_of_the_code() -> None:
    """`python -m tests.event_tables` writes them anew."""
    assert filled(TEXT) == TEXT


@pytest.mark.parametrize("name", tables())
def test_a_changed_table_would_be_noticed(name: str) -> None:
    """What stands between the marks is replaced as a whole."""
    begin = f"<!-- {name}:begin -->"
    assert TEXT.count(begin) == 1
    assert filled(TEXT.replace(begin, f"{begin}\nsomething else")) == TEXT


def test_each_field_has_a_meaning() -> None:
    """A field that is added to a message is explained where it is declared."""
    told = {(message, name) for (message, name), text in comments().items() if text}
    shown = {"Event", "EventBatch", "PageContext", "DeviceInfo", "TargetElement", "Rect"}
    shown |= {"Position", "MousePosition"}
    members: Sequence[Any] = Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    shown |= {member.message_type.name for member in members}
    missing = {key for key in comments() if key[0] in shown} - told
    assert {name for _, name in missing} <= {member.name for member in members}


def test_each_type_has_an_example() -> None:
    """One of each, in the order of the payloads."""
    assert sorted(each["event_type"] for each in EXAMPLES) == sorted(k.name for k in CLIENT_KINDS)


async def test_examples_are_accepted_and_understood() -> None:
    """Sent as JSON with the batch of the page, each gets in with the payload of its type."""
    async with gateway_world() as world:
        events = await taken(world, EXAMPLES)
        sent = [each for raw in world.sink.raw() for each in raw.events]
        assert [chunk.event_count for chunk in world.sink.chunks()] == [1]
    assert len(sent) == len(EXAMPLES) - 1
    for event in sent:
        assert event.WhichOneof("payload") == PAYLOAD_BY_NUMBER[event.event_type]
    bodies = {event.kind: event.body for event in events}
    assert {kind for kind, body in bodies.items() if body is not None} == set(BODY_KINDS)
    assert {event.page.path for event in events} == {"/cart"}


@pytest.mark.parametrize("kind", CLIENT_KINDS, ids=lambda kind: kind.name)
def test_examples_pass_at_a_glance_as_protobuf(kind: Any) -> None:
    """Nothing of an example has to be cut or masked."""
    [example] = [each for each in EXAMPLES if each["event_type"] == kind.name]
    read = batch_from_json(body_of([example]))
    [event] = read.events
    assert isinstance(event, Event)
    event.ClearField("custom")  # What has it is never taken at a glance.
    body = EventBatch(events=[event], sent_at=read.sent_at).SerializeToString()
    project = Project.of(make_key(settings=ALL_ON))
    seen = project.screen.look(body, project.payloads, read.sent_at, 10)
    assert (seen is None) == (kind.name == REPLAY)  # Which goes another way.


def test_there_are_mistakes_to_try() -> None:
    """The rows of the section are found."""
    assert len(MISTAKES) == 6


@pytest.mark.parametrize(("text", "ignored"), MISTAKES)
async def test_what_is_not_understood_is_accepted(text: str, ignored: list[str]) -> None:
    """Detectors get no body of it, or one in which nothing is said; the answer names the names."""
    event = {**json.loads(text), "timestamp": blocks(frame())[0]["sent_at"]}
    async with gateway_world() as world:
        [found] = await taken(world, [event], ignored)
    body = found.body
    if isinstance(body, Click):
        assert (body.x, body.target.selector, body.target.tag) == (None, "", "")
    else:
        assert body is None or body == Moves(())


@pytest.mark.parametrize("kind", CLIENT_KINDS, ids=lambda kind: kind.name)
async def test_only_a_custom_event_needs_a_payload(kind: Any) -> None:
    """All other types are accepted without one."""
    [example] = [each for each in EXAMPLES if each["event_type"] == kind.name]
    bare = {name: value for name, value in example.items() if name != "payload"}
    read = batch_from_json(body_of([bare]))
    [event] = read.events
    assert isinstance(event, Event)
    project = Project.of(make_key(settings=ALL_ON))
    reason = validate_event(event, project.settings, read.sent_at, read.sent_at, None)
    assert reason == (RejectReason.BAD_PAYLOAD if kind.name == "custom_event" else None)


def test_errors_are_those_of_the_gateway() -> None:
    """Each with its status over HTTP and gRPC."""
    told = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \| (\d+) \|", TEXT, re.MULTILINE)
    wanted = [(kind.value, str(of.http), str(of.grpc)) for kind, of in STATUS.items()]
    assert told == wanted


def test_reasons_are_those_of_the_code() -> None:
    """Why an event is refused, and why one is left out."""
    reasons = first_cells(part("## Reasons"))
    assert reasons == [*RejectReason, Outcome.DUPLICATE, *DropReason]


def test_content_types_are_told() -> None:
    """All that the gateway reads, and no other."""
    request = part("## The request")
    named = set(re.findall(r"\b(?:application|text)/[a-z.-]+", request))
    assert named == set(FORM_BY_TYPE) - {""}
    assert set(re.findall(r"\?f=(\w+)", request)) <= set(FORM_BY_QUERY)


def test_reactions_go_with_the_mouse() -> None:
    """What the page says of the switch of `dom_mutation`; all others have their category's."""
    for name in CATEGORY_DEFAULTS:
        left = payloads_taken(ProjectSettings(disabled_categories=frozenset({name})))
        gone = {kind.name for kind in CLIENT_KINDS if kind.number not in left}
        own = {kind.name for kind in CLIENT_KINDS if kind.category == name}
        moved = {"dom_mutation"}
        assert gone == (own | moved if name == "mouse" else own - moved), name


def test_links_within_the_page_lead_somewhere() -> None:
    """Each has its heading."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
    assert len(anchors) == len(headings)
