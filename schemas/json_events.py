"""The canonical JSON of events: one dialect of the many that schemas.json_batch reads.

In: messages `Event`. Out: JSON objects and the body of a batch. Pure. Source: events.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from google.protobuf.descriptor import Descriptor

from schemas.event_types import NAME_BY_NUMBER
from schemas.payload_text import PAYLOAD_BUILDERS, object_builder
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event

EVENT_TEXTS = (
    "event_id",
    "session_id",
    "user_id",
    "anonymous_id",
    "page_view_id",
    "channel_type",
    "external_id",
    "handshake_token",
)

_encode = msgspec.json.Encoder().encode
_build_page = object_builder(cast(Descriptor, PageContext.DESCRIPTOR))
_build_device = object_builder(cast(Descriptor, DeviceInfo.DESCRIPTOR))


def event_to_json(event: Event) -> dict[str, Any]:
    """The canonical JSON of an event; what is empty or was not set is left out."""
    result: dict[str, Any] = {
        name: value for name in EVENT_TEXTS if (value := getattr(event, name))
    }
    number = event.event_type
    if number:
        result["event_type"] = NAME_BY_NUMBER.get(number, number)
    if event.HasField("timestamp"):
        result["timestamp"] = event.timestamp.millis
    if page := _build_page(event.page):
        result["page"] = page
    device = _build_device(event.device)
    if not event.device.device_type:
        del device["device_type"]
    if device := {name: value for name, value in device.items() if value}:
        result["device"] = device
    if event.custom:
        result["custom"] = dict(sorted(event.custom.items()))
    member = event.WhichOneof("payload")
    if member is not None:
        built = PAYLOAD_BUILDERS[member](getattr(event, member))
        result["payload"] = msgspec.json.decode(_encode(built))
    return result


def batch_to_json(
    events: Iterable[Event], project_key: str = "", sent_at: int = 0, sdk_version: str = ""
) -> bytes:
    """The canonical JSON of a batch; absent fields are left out."""
    fields = {"project_key": project_key, "sent_at": sent_at, "sdk_version": sdk_version}
    document: dict[str, Any] = {name: value for name, value in fields.items() if value}
    document["events"] = [event_to_json(event) for event in events]
    return _encode(document)
