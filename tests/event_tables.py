"""The tables and examples of docs/events.md: `python -m tests.event_tables` writes them.

They are made of the list of types, the messages with the comments of their fields, the limits and
schemas/examples. Each stands between `<!-- name:begin -->` and `<!-- name:end -->`; tests compare
them and send the examples through the gateway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from ingest_gateway.answers import response_bytes
from ingest_gateway.errors import ErrorKind
from ingest_gateway.request import BodyForm, IngestResult, Refused
from ingest_gateway.settings import GatewaySettings
from schemas.clip import (
    LIST_ITEMS_MAX,
    MAP_KEY_CHARS_MAX,
    MAP_KEYS_MAX,
    MAP_VALUE_CHARS_MAX,
    POSITIONS_MAX,
)
from schemas.event_types import EVENT_KINDS, SERVER_ONLY, EventKind
from schemas.identifiers import AHEAD_TOLERATED_MS, SKEW_TOLERATED_MS
from schemas.json_bounds import CONTAINERS_MAX, DEPTH_MAX, VALUES_MAX
from schemas.json_messages import ALIASES, camel_case
from schemas.payload_text import short_names
from schemas.reasons import RejectReason
from schemas.records import CATEGORY_DEFAULTS
from schemas.text_fields import (
    DEVICE_FIELDS,
    EVENT_ID_FIELDS,
    ID_CHARS_MAX,
    PAGE_FIELDS,
    PAYLOAD_FIELDS,
    SDK_VERSION_CHARS_MAX,
    TextField,
)
from schemas.v1.common_pb2 import DeviceInfo, PageContext, TargetElement
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch
from schemas.validate import DAY_MS, LIMITS

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "events.md"
EXAMPLES = ROOT / "schemas" / "examples" / "events.raw" / "valid"
PROTO_FILES = ("common", "events", "ingest")
LINE_CHARS_MAX = 100

CLIENT_KINDS = tuple(kind for kind in EVENT_KINDS if kind.number not in SERVER_ONLY)
# Members of the oneof in the order in which types carry them; None: types without a payload.
PAYLOADS: tuple[str | None, ...] = tuple(dict.fromkeys(kind.payload for kind in CLIENT_KINDS))
# What all examples have in common and the page shows once, in the batch around them.
SHARED = ("session_id", "page", "anonymous_id", "device", "user_id", "page_view_id", "custom")
# What batches say for events that do not say it themselves. Source: schemas.json_batch.
DEFAULTS = ("session_id", "user_id", "anonymous_id", "page", "device", "custom")

_PAYLOAD_FIELDS = Event.DESCRIPTOR.oneofs_by_name["payload"].fields
_MESSAGES: Mapping[str, Any] = {field.name: field.message_type for field in _PAYLOAD_FIELDS}
_FIELD = re.compile(r"\s+(?:optional |repeated )?(?:map<\w+, \w+>|\w+) (\w+) = \d+;(?: // (.*))?")
_NUMBERS = {
    FieldDescriptor.TYPE_INT32: "whole number",
    FieldDescriptor.TYPE_INT64: "whole number",
    FieldDescriptor.TYPE_FLOAT: "number",
    FieldDescriptor.TYPE_DOUBLE: "number",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_BYTES: "base64",
}


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _table(head: Sequence[str], rows: Iterator[str]) -> str:
    return "\n".join((_row(*head), "|" + "---|" * len(head), *rows))


@cache
def comments() -> Mapping[tuple[str, str], str]:
    """What the proto files say behind each field, by message and field."""
    found: dict[tuple[str, str], str] = {}
    message = ""
    for name in PROTO_FILES:
        for line in (ROOT / "schemas" / "v1" / f"{name}.proto").read_text("utf-8").splitlines():
            if line.startswith("message "):
                message = line.split()[1]
            elif (field := _FIELD.match(line)) is not None:
                found[message, field.group(1)] = field.group(2) or ""
    return found


def _either(words: Sequence[str]) -> str:
    *others, last = [f"`{word}`" for word in words]
    return f"{', '.join(others)} or {last}"


def _type(field: Any, text: TextField | None) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return f"object of {MAP_KEYS_MAX} texts"
    if field.enum_type is not None:
        names = short_names(field.enum_type)
        return _either([name for _, name in sorted(names.items()) if name != "unspecified"])
    if field.type == FieldDescriptor.TYPE_STRING:
        if field.is_repeated:
            return f"list of {LIST_ITEMS_MAX} texts"
        return f"text, {text.chars_max:,}" if text is not None else "text"
    return _NUMBERS[field.type]


def _may_be_unspecified(field: Any) -> bool:
    return field.enum_type is not None and short_names(field.enum_type)[0] == "unspecified"


def _fields(message: Any, texts: Sequence[TextField], prefix: str = "") -> Iterator[str]:
    """Rows of a message; those of messages inside it follow, elements are only linked."""
    text_of = {text.name: text for text in texts}
    for field in message.fields:
        name = prefix + field.name
        says = comments()[message.name, field.name]
        inner: Any = field.message_type
        mark = "?" if field.has_presence or _may_be_unspecified(field) else ""
        if inner is None or inner.GetOptions().map_entry:
            yield _row(f"`{name}`{mark}", _type(field, text_of.get(field.name)), says)
        elif inner is TargetElement.DESCRIPTOR:
            yield _row(f"`{name}`{mark}", "[element](#elements)", says)
        else:
            kind = f"list of {POSITIONS_MAX} objects" if field.is_repeated else "object"
            yield _row(f"`{name}`{mark}", kind, says)
            yield from _fields(inner, (), f"{name}[]." if field.is_repeated else f"{name}.")


_HEAD = ("Field", "Type", "Meaning")


def batch() -> str:
    """Fields of a batch itself."""
    rows = (
        _row(
            f"`{field.name}`",
            _type_on_batch(field),
            comments()[EventBatch.DESCRIPTOR.name, field.name],
        )
        for field in EventBatch.DESCRIPTOR.fields
    )
    return _table(_HEAD, rows)


def _type_on_batch(field: Any) -> str:
    if field.message_type is not None:
        return "list of events"
    if field.name == "sdk_version":
        return f"text, {SDK_VERSION_CHARS_MAX}"
    return _type(field, None)


def event() -> str:
    """Fields of all events."""

    def rows() -> Iterator[str]:
        for field in Event.DESCRIPTOR.fields:
            name = field.name
            if field.containing_oneof in (None, *_presence_oneofs()) and name != "project_id":
                says = comments()["Event", name]
                where = "batch, event" if name in DEFAULTS else "event"
                yield _row(f"`{name}`", _type_on_event(field), where, says)
        yield _row("`payload`", "object", "event", "[What its type carries](#types).")

    return _table(("Field", "Type", "May stand in", "Meaning"), rows())


def _presence_oneofs() -> list[Any]:
    return [oneof for oneof in Event.DESCRIPTOR.oneofs if oneof.name != "payload"]


def _type_on_event(field: Any) -> str:
    if field.name == "event_type":
        return "text"
    if field.name == "timestamp":
        return "whole number"
    if field.name in ("page", "device"):
        return f"[object](#{field.name})"
    if field.name in EVENT_ID_FIELDS:
        return f"text, {ID_CHARS_MAX}"
    return _type(field, None)


def types() -> str:
    """All types of events that may be sent."""
    rows = (
        _row(
            kind.number,
            f"`{kind.name}`",
            kind.category,
            f"[`{kind.payload}`](#{kind.payload})" if kind.payload else "none",
        )
        for kind in CLIENT_KINDS
    )
    return _table(("Number", "Type", "Category", "Payload"), rows)


def categories() -> str:
    """Which categories a project has to switch on."""
    return ", ".join(f"`{name}`" for name, is_on in CATEGORY_DEFAULTS.items() if not is_on)


def server_types() -> str:
    """Types that are refused from clients."""
    return ", ".join(f"`{kind.name}`" for kind in EVENT_KINDS if kind.number in SERVER_ONLY)


def limits() -> str:
    """What is refused or cut."""
    settings = {
        field.alias: field.default for field in GatewaySettings.model_fields.values() if field.alias
    }

    def of(name: str) -> str:
        return f"`{name}`"

    whole = "the request: `TOO_LARGE`"
    unpacked = _size(settings["MAX_UNPACKED_BYTES"])
    rows = (
        ("body as sent", _size(settings["MAX_BODY_BYTES"]), whole, of("MAX_BODY_BYTES")),
        ("body unpacked", unpacked, whole, of("MAX_UNPACKED_BYTES")),
        ("events of a batch", settings["MAX_BATCH_EVENTS"], whole, of("MAX_BATCH_EVENTS")),
        ("events times the batch's defaults (JSON)", unpacked, whole, of("MAX_UNPACKED_BYTES")),
        ("values of a batch (JSON)", f"{VALUES_MAX:,}", whole, ""),
        ("objects and lists of a batch (JSON)", f"{CONTAINERS_MAX:,}", whole, ""),
        ("objects and lists in each other (JSON)", DEPTH_MAX, "the request: `INVALID_BODY`", ""),
        (
            "time until the body is there",
            f"{settings['REQUEST_TIMEOUT_SECONDS']:g} s",
            "the request: `TIMEOUT`",
            of("REQUEST_TIMEOUT_SECONDS"),
        ),
        ("one event, as protobuf", _size(LIMITS.event_bytes_max), "the event: `too_large`", ""),
        ("one `replay`", _size(LIMITS.replay_event_bytes_max), "the event: `too_large`", ""),
        ("age of an event", f"{LIMITS.age_ms_max // DAY_MS} days", "the event: `too_old`", ""),
        ("texts", "characters, see the fields", "the end is cut off", ""),
        ("entries of an object of texts", MAP_KEYS_MAX, "the last by name are left out", ""),
        ("characters of their names", MAP_KEY_CHARS_MAX, "the entry is left out", ""),
        ("characters of their values", f"{MAP_VALUE_CHARS_MAX:,}", "the end is cut off", ""),
        ("texts of a list", LIST_ITEMS_MAX, "the last are left out", ""),
        ("positions of a `mouse_move`", POSITIONS_MAX, "the last are left out", ""),
    )
    head = ("What", "At most", "Beyond it is refused or lost", "Setting")
    return _table(head, (_row(*row) for row in rows))


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count % 2**20 == 0 else f"{count // 1024} KiB"


def clocks() -> str:
    """How times are corrected."""
    skew_s, ahead_s = SKEW_TOLERATED_MS // 1000, AHEAD_TOLERATED_MS // 1000
    days = LIMITS.age_ms_max // DAY_MS
    steps = (
        f"If `sent_at` and the receipt are more than {skew_s} s apart, that is added to all times.",
        f"What is then more than {ahead_s} s after the receipt counts as of its moment.",
        f"What is more than {days} days before it is refused: `too_old`.",
    )
    return "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))


def aliases() -> str:
    """Other names of single fields."""

    def rows() -> Iterator[str]:
        for message, names in ALIASES.items():
            camel = {camel_case(name) for name in names if camel_case(name) != name}
            for field in dict.fromkeys(names.values()):
                others = [f"`{each}`" for each in names if names[each] == field]
                own = [each for each in others if each.strip("`") not in camel]
                yield _row(_owner(message), f"`{field}`", ", ".join(own))

    return _table(("Payload", "Field", "Also"), rows())


def _owner(message: str) -> str:
    """The payloads that are, or hold, this message."""
    owners = [
        name
        for name, payload in _MESSAGES.items()
        if message == payload.name
        or message in {each.message_type.name for each in payload.fields if each.message_type}
    ]
    return ", ".join(f"[`{name}`](#{name})" for name in owners)


def payload(member: str) -> str:
    """Fields of one payload and an example of each type that carries it."""
    table = _table(_HEAD, _fields(_MESSAGES[member], PAYLOAD_FIELDS.get(member, ())))
    return f"{table}\n\n{examples(member)}"


def answers() -> str:
    """What the gateway says to a batch that it took, and to one that it did not."""
    refused = [Refused(3, "a0b1c2d3-0000-4000-8000-000000000040", RejectReason.RAW_VALUE)]
    results = (
        IngestResult(BodyForm.JSON, accepted=10),
        IngestResult(BodyForm.JSON, accepted=9, refused=refused, refused_count=1),
        IngestResult(BodyForm.JSON, accepted=1, ignored=["click.payload.pos"]),
        IngestResult(BodyForm.JSON, error=ErrorKind.RATE_LIMITED),
    )
    told = [_pretty(json.loads(response_bytes(result))) for result in results]
    return "\n\n".join(f"```json\n{each}\n```" for each in told)


def examples(member: str | None) -> str:
    """The events of all types with this payload, as they stand in `events`."""
    events = [example(kind) for kind in CLIENT_KINDS if kind.payload == member]
    body = ",\n".join(_pretty(each, "  ") for each in events)
    return f"```json\n[\n{body}\n]\n```"


def example(kind: EventKind) -> dict[str, Any]:
    """The example of a type without what the batch around it says."""
    whole = json.loads((EXAMPLES / f"{kind.name}.json").read_text(encoding="utf-8"))
    return {name: value for name, value in whole.items() if name not in SHARED}


def frame() -> str:
    """The batch around the examples."""
    whole = json.loads((EXAMPLES / "click.json").read_text(encoding="utf-8"))
    shared = {name: whole[name] for name in DEFAULTS}
    return f"```json\n{_pretty({'sent_at': whole['timestamp'], **shared, 'events': []})}\n```"


def _pretty(value: Any, indent: str = "", name: str = "") -> str:
    """JSON in few lines: what fits into one stands in one."""
    lead = f"{indent}{json.dumps(name)}: " if name else indent
    short = lead + json.dumps(value, ensure_ascii=False)
    if len(short) <= LINE_CHARS_MAX or not isinstance(value, dict | list):
        return short
    inner = indent + "  "
    if isinstance(value, list):
        lines, ends = [_pretty(each, inner) for each in value], "[]"
    else:
        lines, ends = _packed([_pretty(each, inner, key) for key, each in value.items()]), "{}"
    return f"{lead}{ends[0]}\n" + ",\n".join(lines) + f"\n{indent}{ends[1]}"


def _packed(items: Sequence[str]) -> list[str]:
    """Neighbours in one line, as far as they fit."""
    lines: list[str] = []
    for item in items:
        joined = f"{lines[-1]}, {item.lstrip()}" if lines else item
        if lines and "\n" not in joined and len(joined) < LINE_CHARS_MAX:
            lines[-1] = joined
        else:
            lines.append(item)
    return lines


def tables() -> Mapping[str, str]:
    """All tables by name."""
    return {
        "batch": batch(),
        "limits": limits(),
        "clocks": clocks(),
        "event": event(),
        "page": _table(_HEAD, _fields(PageContext.DESCRIPTOR, PAGE_FIELDS)),
        "device": _table(_HEAD, _fields(DeviceInfo.DESCRIPTOR, DEVICE_FIELDS)),
        "element": _table(_HEAD, _fields(TargetElement.DESCRIPTOR, _element_texts())),
        "answers": answers(),
        "types": types(),
        "categories": categories(),
        "server-types": server_types(),
        "aliases": aliases(),
        "frame": frame(),
        "payloads": "\n\n".join(
            f"### {member}\n\n{payload(member)}" for member in PAYLOADS if member is not None
        )
        + f"\n\n### Types without a payload\n\n{examples(None)}",
    }


def _element_texts() -> tuple[TextField, ...]:
    found = [text for text in PAYLOAD_FIELDS["click"] if text.name == "target"]
    return found[0].fields


def filled(text: str) -> str:
    """The document with its tables made anew."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, found, rest = text.partition(begin)
        assert found, name
        _, found, after = rest.partition(end)
        assert found, name
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
