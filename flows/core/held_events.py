"""Events that wait to be shown to the detectors, a batch at a time.

A state is stored again and again while a batch waits, so a batch keeps its stored form: encoded
once, when first asked for; what its events share (pages, visitors, devices) stands there once. A
restored batch is opened when it is shown. Never changed once made. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from flows.core.session_event import Body, Device, Page, SessionEvent, Visitor, sorted_events

_time = attrgetter("at_ms")

_Row = tuple[str, str, int, int, int, int, int, Body | None]


class _Packed(msgspec.Struct, array_like=True, gc=False):
    pages: list[Page]
    visitors: list[Visitor]
    devices: list[Device]
    rows: list[_Row]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


class HeldBatch:
    """Events in order, at least one; the last of them was received at `received_at_ms`."""

    __slots__ = ("_events", "_packed", "first_ms", "last_ms", "received_at_ms", "size")

    def __init__(self, events: Sequence[SessionEvent]) -> None:
        """`events` may be in any order."""
        ordered = sorted_events(events)
        self._events: Sequence[SessionEvent] | None = ordered
        self._packed: bytes | None = None
        self.first_ms = ordered[0].at_ms
        self.last_ms = ordered[-1].at_ms
        self.received_at_ms = max([event.received_at_ms for event in ordered])
        self.size = len(ordered)

    @classmethod
    def restored(cls, stored: Any) -> HeldBatch:
        """The batch of `stored`."""
        made = cls.__new__(cls)
        made.first_ms, made.last_ms, made.received_at_ms, made.size, made._packed = stored
        made._events = None
        return made

    @property
    def stored(self) -> tuple[int, int, int, int, bytes]:
        """What `restored` makes a batch of."""
        if self._packed is None:
            self._packed = _pack(self.events)
        return self.first_ms, self.last_ms, self.received_at_ms, self.size, self._packed

    @property
    def byte_count(self) -> int:
        """About how much of a state it takes."""
        return len(self.stored[-1])

    @property
    def events(self) -> Sequence[SessionEvent]:
        """All of them, in order."""
        if self._events is None:
            assert self._packed is not None
            self._events = _unpack(self._packed)
        return self._events

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeldBatch) and self.stored == other.stored

    def __hash__(self) -> int:
        return hash(self.stored)

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldBatch.restored, (self.stored,)


def _pack(events: Sequence[SessionEvent]) -> bytes:
    pages: dict[Page, int] = {}
    visitors: dict[Visitor, int] = {}
    devices: dict[Device, int] = {}
    page = visitor = device = None
    page_at = visitor_at = device_at = 0
    rows: list[_Row] = []
    for event in events:
        if event.page is not page:
            page = event.page
            page_at = pages.setdefault(page, len(pages))
        if event.visitor is not visitor:
            visitor = event.visitor
            visitor_at = visitors.setdefault(visitor, len(visitors))
        if event.device is not device:
            device = event.device
            device_at = devices.setdefault(device, len(devices))
        rows.append(
            (
                event.event_id,
                event.kind,
                event.at_ms,
                event.received_at_ms,
                page_at,
                visitor_at,
                device_at,
                event.body,
            )
        )
    return _encode(_Packed(list(pages), list(visitors), list(devices), rows))


def _unpack(packed: bytes) -> list[SessionEvent]:
    found = _decode(packed)
    pages, visitors, devices = found.pages, found.visitors, found.devices
    return [
        SessionEvent(
            event_id, kind, at_ms, received_at_ms, pages[page], visitors[visitor], devices[device],
            body,
        )
        for event_id, kind, at_ms, received_at_ms, page, visitor, device, body in found.rows
    ]  # fmt: skip


def with_events(held: Sequence[HeldBatch], events: Sequence[SessionEvent]) -> list[HeldBatch]:
    """These events as a batch more; those held of the same milliseconds go on waiting with them.

    All of a millisecond are shown together, so none of them may be due before the others.
    """
    first_ms, last_ms = events[0].at_ms, events[-1].at_ms
    kept: list[HeldBatch] = []
    joined = list(events)
    for batch in held:
        if batch.first_ms > last_ms or batch.last_ms < first_ms:
            kept.append(batch)
            continue
        times = {event.at_ms for event in events}
        left = [event for event in batch.events if event.at_ms not in times]
        if len(left) == batch.size:
            kept.append(batch)
        else:
            joined += [event for event in batch.events if event.at_ms in times]
            kept += [HeldBatch(left)] if left else []
    kept.append(HeldBatch(joined))
    return kept


def split(
    held: Sequence[HeldBatch], until_ms: int
) -> tuple[Sequence[SessionEvent], list[HeldBatch]]:
    """The events up to and including this millisecond, in order, and what is left."""
    parts: list[Sequence[SessionEvent]] = []
    left: list[HeldBatch] = []
    for batch in held:
        if batch.first_ms > until_ms:
            left.append(batch)
        elif batch.last_ms <= until_ms:
            parts.append(batch.events)
        else:
            events = batch.events
            count = bisect_right(events, until_ms, key=_time)
            parts.append(events[:count])
            left.append(HeldBatch(events[count:]))
    if len(parts) == 1:
        return parts[0], left
    return sorted_events(list(chain.from_iterable(parts))), left
