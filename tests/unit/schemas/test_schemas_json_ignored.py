"""Names that nothing reads are found, and none that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.event_types import NUMBER_BY_NAME
from schemas.json_batch import IGNORED_MAX, batch_from_json
from schemas.json_ignored import NAME_CHARS_MAX, ignored_names
from schemas.json_messages import ALIASES, camel_case
from schemas.v1.events_pb2 import Event

VALID = Path(__file__).parents[3] / "schemas" / "examples" / "events.raw" / "valid"


def found(*events: Any) -> tuple[str, ...]:
    """What is ignored in a batch of these events."""
    return batch_from_json(json.dumps({"events": events}).encode()).ignored


def in_camel_case(value: Any) -> Any:
    """The same with all names of fields in camelCase; names in maps are such, too, for once."""
    if isinstance(value, dict):
        return {camel_case(name): in_camel_case(each) for name, each in value.items()}
    return [in_camel_case(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", sorted(VALID.glob("*.json")), ids=lambda path: path.stem)
def test_nothing_is_ignored_in_the_examples(path: Path) -> None:
    """In either spelling."""
    event = json.loads(path.read_text(encoding="utf-8"))
    assert found(event) == ()
    assert found(in_camel_case(event)) == ()


def test_no_alias_is_ignored() -> None:
    """Those of fields, of the type, of the page and of single values."""
    for member in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        message: Any = member.message_type
        kind = "web_vitals" if member.name == "performance" else member.name
        aliases = ALIASES.get(message.name)
        if aliases:
            payload = dict.fromkeys(aliases, 1)
            assert list(ignored_names({"payload": payload}, NUMBER_BY_NAME[kind])) == []
    assert found({"type": "click", "url": "/", "title": "T", "payload": {"x": 1, "y": 2}}) == ()
    assert found({"type": "web_vitals", "payload": {"metric": "LCP", "value": 1}}) == ()
    assert found({"type": "mouse_move", "payload": {"positions": [{"x": 1, "y": 2, "t": 3}]}}) == ()


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ({"type": "click", "click": {}}, ["click.click"]),
        ({"type": "click", "payload": {"pos": 1, "element": 2}},
         ["click.payload.pos", "click.payload.element"]),
        ({"type": "click", "payload": {"target": {"css": "a", "rect": {"x": 1}}}},
         ["click.payload.target.css", "click.payload.target.rect.x"]),
        ({"type": "mouse_move", "payload": {"positions": [{"x": 1, "y": 2, "time": 3}]}},
         ["mouse_move.payload.positions.time"]),
        ({"type": "click", "page": {"uri": "/"}, "device": {"ua": "x"}},
         ["click.page.uri", "click.device.ua"]),
        ({"type": "copy", "payload": {"text": "x"}}, ["copy.payload"]),
        ({"type": "click", "payload": {"pos": None}}, []),
        ({"type": "click", "payload": {"target": {"attributes": {"any": "x"}}}}, []),
        ({"type": "custom_event", "payload": {"name": "a", "properties": {"any": 1}}}, []),
        ({"type": "tap", "any": 1}, []),  # Refused: nobody knows what it may say.
        ({"any": 1}, []),
    ],
)  # fmt: skip
def test_names_that_nothing_reads(event: dict[str, Any], names: list[str]) -> None:
    """Each with where it stands; names in maps are the sender's own."""
    assert found(event) == tuple(names)


def test_one_event_of_a_type_is_looked_at() -> None:
    """The first that can be read, in the order of types."""
    events = [
        {"type": "click", "payload": {"button": []}, "first": 1},  # Cannot be read.
        {"type": "click", "second": 1},
        {"type": "scroll", "third": 1},
        {"type": "click", "fourth": 1},
    ]
    assert found(*events) == ("click.second", "scroll.third")


def test_what_is_told_is_bounded() -> None:
    """However many names there are, and however long."""
    many = {"type": "click", **{f"{place}{'n' * 500}": 1 for place in range(500)}}
    told = found(many, {**many, "type": "scroll"})
    assert len(told) == IGNORED_MAX
    assert max(map(len, told)) == len("click.") + NAME_CHARS_MAX
