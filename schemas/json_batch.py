"""The JSON form of a batch: read in all its dialects (and written in one: schemas.json_events).

In: the body of a request. Out: messages `Event`, or for each event that cannot be one a
`JsonFault`: one bad event does not sink its neighbours. What the batch says for all its events is
merged into those that do not say it. Values that a person typed are refused, not dropped in
silence. Pure. Source: events.md, section 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from schemas.codec import CodecError
from schemas.event_types import (
    CATEGORY_BY_NUMBER,
    INPUT_TYPES,
    NAME_BY_NUMBER,
    PAYLOAD_BY_NUMBER,
    number_of,
)
from schemas.json_bounds import DEPTH_MAX, is_too_dense, nesting_exceeds
from schemas.json_events import EVENT_TEXTS, batch_to_json, event_to_json
from schemas.json_ignored import ignored_names
from schemas.json_messages import JsonObject, camel_case, read_device, read_page, read_payload
from schemas.json_values import INT64, FieldError, text, text_map, whole_number
from schemas.reasons import RejectReason
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event

__all__ = [
    "JsonBatch",
    "JsonBatchError",
    "JsonBatchTooLargeError",
    "JsonFault",
    "batch_from_json",
    "batch_to_json",
    "event_to_json",
]

IGNORED_MAX = 20  # Names that are told.

_SHARED_TEXTS = ("session_id", "user_id", "anonymous_id")
_CAMEL = {name: camel_case(name) for name in (*EVENT_TEXTS, "event_type", "sent_at")}
_CAMEL |= {name: camel_case(name) for name in ("project_key", "sdk_version")}
_TEXT_BY_KEY = {key: name for name in EVENT_TEXTS for key in (_CAMEL[name], name)}
_PAGE_KEYS_ON_EVENTS = ("url", "path", "title", "referrer")

_ABSENT = (None, "")
_sent_at = whole_number(INT64)
_encode = msgspec.json.Encoder().encode


class JsonBatchError(CodecError):
    """The body is no batch at all: no JSON, nested too deeply, no object, or without events."""


class JsonBatchTooLargeError(JsonBatchError):
    """Small on the wire, large in memory: too many values, or too much copied into each event."""


@dataclass(frozen=True, slots=True)
class JsonFault:
    """An event that could not be read.

    `detail` says where and what was expected, never what was there. `original` is the event as
    JSON, with what it had from its batch filled in, so that it can be sent again alone; for
    reasons in `WITHHELD_REASONS` it must not be kept. Nor may it if it happened on a `page` that
    the project blocks; None for session bookkeeping, which is kept of any page.
    """

    reason: RejectReason
    detail: str
    original: bytes
    event_id: str = ""
    session_id: str = ""
    page: PageContext | None = None


@dataclass(frozen=True, slots=True)
class JsonBatch:
    """A batch; `events` are in the order of the body, `sent_at` is 0 where it is unknown.

    `ignored` says where names stand that nothing reads, in the first event of each type.
    """

    project_key: str
    sent_at: int
    sdk_version: str
    events: list[Event | JsonFault]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the batch says for all its events."""

    texts: Mapping[str, str]
    page: PageContext | None
    device: JsonObject
    device_message: DeviceInfo | None
    custom: Mapping[str, str]
    json: JsonObject


class _EventError(Exception):
    """Leaves the reading of one event."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def batch_from_json(
    body: bytes, events_max: int | None = None, shared_bytes_max: int | None = None
) -> JsonBatch:
    """Read a batch; `events_max` + 1 events at most are read, so that too many cost no more.

    `shared_bytes_max` bounds what the batch's own values take once they are in all its events.

    Raises:
        JsonBatchError: the body is no batch.
        JsonBatchTooLargeError: it has too many values, or its own are too much for so many events.
    """
    if is_too_dense(body):
        raise JsonBatchTooLargeError("more values than a batch may have")
    if nesting_exceeds(body, DEPTH_MAX):
        raise JsonBatchError(f"nested more than {DEPTH_MAX} deep")
    document = _parse(body)
    if not isinstance(document, dict):
        raise JsonBatchError("a batch must be an object")
    events = document.get("events")
    if not isinstance(events, list):
        raise JsonBatchError("a batch must have a list of events")
    if events_max is not None:
        del events[events_max + 1 :]
    shared = _read_shared(document)
    if shared_bytes_max is not None:
        spread_bytes = len(_encode(shared.json)) * len(events) if shared.json else 0
        if spread_bytes > shared_bytes_max:
            raise JsonBatchTooLargeError("the batch's own values are too much for so many events")
    read = [_read_event(data, shared) for data in events]
    return JsonBatch(
        project_key=_text_of(document, "project_key"),
        sent_at=_sent_at_of(document),
        sdk_version=_text_of(document, "sdk_version"),
        events=read,
        ignored=_ignored_of(events, read),
    )


def _parse(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors.
        pass
    # The tolerant and slow way. Browsers do send half of a surrogate pair, when a text was cut in
    # the middle of an emoji, and invalid UTF-8; neither may lose a batch.
    try:
        return _without_surrogates(json.loads(body.decode("utf-8-sig", "replace"), strict=False))
    except (ValueError, RecursionError):
        raise JsonBatchError("not JSON") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _get(data: JsonObject, name: str) -> Any:
    """The value under the name or its camelCase form; None if there is none."""
    value = data.get(name)
    return data.get(_CAMEL[name]) if value is None else value


def _text_of(data: JsonObject, name: str) -> str:
    """A text of the batch; a value that cannot be one is as good as none."""
    try:
        return text(_get(data, name) or "")
    except FieldError:
        return ""


def _sent_at_of(document: JsonObject) -> int:
    try:
        return int(_sent_at(_get(document, "sent_at")))
    except FieldError:
        return 0


def _read_shared(document: JsonObject) -> _Shared:
    texts = {name: value for name in _SHARED_TEXTS if (value := _text_of(document, name))}
    page = document.get("page")
    device = document.get("device")
    custom = document.get("custom")
    read = read_device(device) if isinstance(device, dict) else {}
    contexts = {"page": page, "device": device, "custom": custom}
    objects = {name: value for name, value in contexts.items() if isinstance(value, dict)}
    return _Shared(
        texts=texts,
        page=PageContext(**read_page(page)) if isinstance(page, dict) else None,
        device=read,
        device_message=DeviceInfo(**read) if read else None,
        custom=text_map(custom) if isinstance(custom, dict) else {},
        json={**texts, **objects},
    )


def _read_event(data: Any, shared: _Shared) -> Event | JsonFault:
    if not isinstance(data, dict):
        return JsonFault(RejectReason.BAD_PAYLOAD, "an event must be an object", _encode(data))
    try:
        return _build_event(data, shared)
    except _EventError as error:
        reason, detail = error.reason, error.detail
    except FieldError as error:
        reason, detail = RejectReason.BAD_PAYLOAD, str(error)
    return JsonFault(
        reason,
        detail,
        _encode(_filled(data, shared)),
        _text_of(data, "event_id"),
        _text_of(data, "session_id") or shared.texts.get("session_id", ""),
        _fault_page(data, shared),
    )


def _filled(data: JsonObject, shared: _Shared) -> JsonObject:
    """The event with what it had from its batch: read alone, it says what it said in there."""
    given = shared.json
    filled = dict(data)
    for name, value in shared.texts.items():
        if data.get(name) in _ABSENT and data.get(_CAMEL[name]) in _ABSENT:
            filled[name] = value
    if "page" in given and not _own_page(data):
        filled["page"] = given["page"]
    device, custom = data.get("device"), data.get("custom")
    if not isinstance(device, dict):
        filled.update({"device": given["device"]} if "device" in given else {})
    elif shared.device:
        own = read_device(device)
        others = {name: value for name, value in shared.device.items() if name not in own}
        filled["device"] = {**others, **device}
    if "custom" in given and (custom is None or isinstance(custom, dict)):
        filled["custom"] = {**given["custom"], **(custom or {})}
    return filled


def _build_event(data: JsonObject, shared: _Shared) -> Event:
    number = _event_type(data)
    payload = data.get("payload")
    if number in INPUT_TYPES or number == -1:
        _refuse_typed_value(data, payload, is_input=number != -1)
    if number == -1:
        raise _EventError(RejectReason.UNKNOWN_EVENT_TYPE, "event_type: is none of the known types")
    arguments: JsonObject = {"event_type": number}
    for key, value in data.items():
        name = _TEXT_BY_KEY.get(key)
        if name is None or value is None or value == "" or (key != name and data.get(name)):
            continue
        arguments[name] = value if type(value) is str else _at(name, text, value)
    for name, value in shared.texts.items():
        arguments.setdefault(name, value)
    timestamp = data.get("timestamp")
    if timestamp is not None:
        arguments["timestamp"] = {"millis": _millis(timestamp)}
    page = _own_page(data) or shared.page
    if page is not None:
        arguments["page"] = page
    device = data.get("device")
    if isinstance(device, dict):
        arguments["device"] = {**shared.device, **read_device(device)}
    elif shared.device_message is not None:
        arguments["device"] = shared.device_message
    custom = data.get("custom")
    if custom is not None:
        arguments["custom"] = {**shared.custom, **_at("custom", text_map, custom)}
    elif shared.custom:
        arguments["custom"] = shared.custom
    if payload is not None:
        member = PAYLOAD_BY_NUMBER.get(number)
        if member is not None:
            arguments[member] = _payload(member, number, payload)
    return Event(**arguments)


def _ignored_of(events: Sequence[Any], read: Sequence[Event | JsonFault]) -> tuple[str, ...]:
    """One event of each type stands for all: a sender writes them alike."""
    first: dict[int, JsonObject] = {}
    for data, event in zip(events, read, strict=True):
        if type(event) is Event:
            first.setdefault(event.event_type, data)
    found = (name for number, data in first.items() for name in ignored_names(data, number))
    return tuple(islice(found, IGNORED_MAX))


def _at(name: str, convert: Any, value: Any) -> Any:
    try:
        return convert(value)
    except FieldError as error:
        raise error.inside(name) from None


def _payload(member: str, number: int, payload: Any) -> JsonObject:
    try:
        return read_payload(member, NAME_BY_NUMBER[number], payload)
    except FieldError as error:
        raise error.inside("payload") from None


def _event_type(data: JsonObject) -> int:
    """The number of the type; 0 if none is given, -1 if it is not known."""
    name = _get(data, "event_type")
    if name is None:
        name = data.get("type")
    if name is None or name == "":
        return 0
    if type(name) is str:
        number = number_of(name)
        return -1 if number is None else number
    return name if type(name) is int and name in NAME_BY_NUMBER else -1


def _millis(timestamp: Any) -> int:
    if type(timestamp) is float and timestamp.is_integer():
        timestamp = int(timestamp)
    low, high = INT64
    if type(timestamp) is not int or not low <= timestamp <= high:
        raise _EventError(
            RejectReason.BAD_TIMESTAMP, "timestamp: must be a whole number of milliseconds"
        )
    return timestamp


def _fault_page(data: JsonObject, shared: _Shared) -> PageContext | None:
    if CATEGORY_BY_NUMBER.get(_event_type(data)) == "session":
        return None
    own = _own_page(data)
    return PageContext(**own) if own else shared.page


def _own_page(data: JsonObject) -> JsonObject:
    """What the event says of its page, also without a page around it."""
    page = data.get("page")
    own = read_page(page) if isinstance(page, dict) else {}
    for name in _PAGE_KEYS_ON_EVENTS:
        value = data.get(name)
        if type(value) is str and not own.get(name):
            own[name] = value
    return own


def _refuse_typed_value(data: JsonObject, payload: Any, is_input: bool) -> None:
    """Refuse an event that carries what a person typed, masked or not.

    Of a type that is not known, only a payload with a target can be an input's.
    """
    holders = [data] if is_input else []
    if isinstance(payload, dict):
        target = payload.get("target")
        if is_input or isinstance(target, dict):
            holders.append(payload)
        if isinstance(target, dict):
            holders.append(target)
            if isinstance(attributes := target.get("attributes"), dict):
                holders.append(attributes)
    if any(holder.get("value") not in (None, "") for holder in holders):
        raise _EventError(RejectReason.RAW_VALUE, "an input event must not carry a value")
