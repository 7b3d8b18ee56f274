"""Raw records of all kinds of traffic, and both ways from them to session events."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from cli.synthetic import Visitors
from flows.core.event_rows import RowBuilder
from flows.core.session_batches import BatchReader
from flows.core.session_event import SessionBatch
from flows.core.stored_events import STORED_COLUMNS, StoredReader
from schemas.clip import clip_event
from schemas.json_batch import batch_from_json
from schemas.log import PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.records import PrivacyPolicy
from schemas.scrubber import scrubber_of
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch
from tests.factories import NOW_MS, PROJECT, make_raw
from tests.scene_files import read_scene, scene_names, whole_events

_SCRUBBER = scrubber_of(PrivacyPolicy())  # That of a project without settings.
EXAMPLES = Path(__file__).parents[1] / "schemas" / "examples" / "events.raw" / "valid"


def parse_agent(text: str) -> ParsedAgent:
    """A parser that knows one browser."""
    if "Chrome" not in text:
        return ParsedAgent(text=text)
    return ParsedAgent(text=text, browser="Chrome", browser_version="156", system="Windows")


def find_place(address: str) -> Place:
    """A place for each address."""
    return Place("Sweden", "SE", "Skåne", f"City of {address}") if address else Place()


def polled(values: Sequence[bytes]) -> PolledBatch:
    """Records of one partition that hold these values."""
    count = len(values)
    return PolledBatch(
        topic="gosight.events.raw",
        partition=0,
        offsets=list(range(count)),
        values=list(values),
        keys=[b"p:s"] * count,
        created_ms=[0] * count,
        event_counts=[1] * count,
    )


def live_batches(values: Sequence[bytes]) -> list[SessionBatch]:
    """The batches that the stream gives."""
    found = BatchReader(parse_agent, find_place).read(polled(values))
    assert not found.poisons
    return list(found.batches)


def stored_rows(values: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """What a query of `STORED_COLUMNS` gives after the storage flow has written the records."""
    chunk = RowBuilder(parse_agent, find_place).build(polled(values))
    assert not chunk.poisons
    rows = chunk.table.to_pylist()
    for row in rows:
        row["received_at_ms"] = round(row["received_at"].timestamp() * 1000)
        row["timestamp_ms"] = round(row["timestamp"].timestamp() * 1000)
    rows.sort(key=lambda row: (row["project_id"], row["session_id"], row["timestamp_ms"]))
    return [tuple(row[column] for column in STORED_COLUMNS) for row in rows]


def stored_sessions(values: Sequence[bytes]) -> list[tuple[SessionBatch, ...]]:
    """The sessions that history gives."""
    return list(StoredReader().sessions(stored_rows(values)))


def raw_values(
    requests: Sequence[dict[str, Any]], sessions: Callable[[str], str] = str
) -> list[bytes]:
    """The records that the gateway makes of requests of the form of the scenes."""
    made: list[bytes] = []
    for request in requests:
        batch = request["batch"]
        body = {"sent_at": batch.get("sent_at", 0), "events": whole_events(request)}
        parsed = batch_from_json(msgspec.json.encode(body))
        by_session: dict[str, list[Event]] = {}
        for event in parsed.events:
            assert isinstance(event, Event), event
            clip_event(event, _SCRUBBER.scrub_field)
            _SCRUBBER.scrub_event(event)
            by_session.setdefault(sessions(event.session_id), []).append(event)
        for session_text, events in by_session.items():
            raw = make_raw(
                events,
                session_text,
                received_at_ms=request["received_at_ms"],
                sent_at_ms=batch.get("sent_at", 0),
                client_ip=request.get("client_ip", ""),
            )
            made.append(raw.SerializeToString())
    return made


def scene_values(name: str) -> list[bytes]:
    """The records of one scene."""
    return raw_values(read_scene(name, NOW_MS))


def all_scene_values() -> list[bytes]:
    """The records of all scenes."""
    return [value for name in scene_names() for value in scene_values(name)]


def example_values() -> list[bytes]:
    """The example of each type of event, a record each."""
    examples = [msgspec.json.decode(path.read_bytes()) for path in sorted(EXAMPLES.glob("*.json"))]
    return raw_values(
        [
            {
                "received_at_ms": event["timestamp"] + 100,
                "client_ip": "89.160.20.112",
                "batch": {"events": [event]},
            }
            for event in examples
        ]
    )


def synthetic_values(count: int, size: int = 10) -> Iterator[bytes]:
    """Records of made-up visits; times advance by 40 ms an event."""
    now_ms = NOW_MS
    chance = random.Random(11)
    for batch in islice(Visitors(5).batches(size), count):
        for event in batch["events"]:
            now_ms += 40
            event["timestamp"] = now_ms - chance.randint(0, 3_000)
        yield from raw_values(
            [{"received_at_ms": now_ms, "client_ip": "203.0.113.7", "batch": batch}]
        )


def strange_values() -> list[bytes]:
    """Payloads at their edges: missing, empty, out of bounds, without ids."""
    made = []
    for kind, members in (
        (20, ("click",)),
        (23, ("mouse_move",)),
        (70, ("performance",)),
        (60, ("js_error",)),
        (30, ("scroll",)),
        (11, ("page_exit",)),
        (1, ("session_start",)),
        (2, ("session_end",)),
        (111, ("identify",)),
        (150, ("goal",)),
        (151, ("purchase",)),
        (121, ("dom_mutation",)),
        (300, ()),
    ):
        for member in (None, *members):
            event = Event(session_id="s1", event_type=kind)  # type: ignore[arg-type]
            event.timestamp.millis = NOW_MS + kind
            event.page.url = "https://shop.example/app?utm_source=News#/plan"
            if member is not None:
                getattr(event, member).SetInParent()
            made.append(event)
    numbers = (11, 11, 71, 121, 20, 1, 2, 23, 23, 111)
    wild = [Event(session_id="s1", event_type=number) for number in numbers]
    for x, y, after_ms in ((-(2**31), 5, -7), (2**31 - 1, -(2**31), 2**63 - 1), (6, 7, 900)):
        wild[7].mouse_move.positions.add(x=x, y=y, timestamp=after_ms)
    wild[8].mouse_move.positions.add(x=1, y=2, timestamp=2**40)
    wild[9].identify.user_id, wild[9].user_id = "ann", "of the batch"
    wild[0].page_exit.max_scroll_depth = 400
    wild[0].page_exit.time_on_page_ms = 2**40
    wild[1].page_exit.max_scroll_depth = -4
    wild[1].page_exit.time_on_page_ms = -2
    wild[2].performance.cumulative_layout_shift = 0.1
    wild[2].performance.ttfb = -7
    wild[3].dom_mutation.click_event_id = "A0B1C2D3-0000-4000-8000-000000000020"
    wild[3].dom_mutation.kinds.extend(["mutation", "focus"])
    wild[4].click.target.href = ""
    wild[4].click.target.classes.extend(["a", "b"])
    wild[4].click.button = 2  # type: ignore[assignment]
    wild[4].click.dom_observed = False
    wild[4].timestamp.millis = NOW_MS + 10_000_000
    wild[5].session_start.utm_source = "  Mail "
    wild[5].session_start.entry_url = "https://shop.example/?utm_medium=Ad"
    wild[5].session_start.referrer_domain = "news.example"
    wild[6].session_end.end_reason = 9  # type: ignore[assignment]
    raws: list[RawBatch] = [
        make_raw(made, "s1", project_id=PROJECT, received_at_ms=NOW_MS + 1_000, sent_at_ms=NOW_MS),
        make_raw(wild, "s1", project_id=PROJECT, received_at_ms=NOW_MS, sent_at_ms=NOW_MS - 9_000),
    ]
    return [raw.SerializeToString() for raw in raws]
