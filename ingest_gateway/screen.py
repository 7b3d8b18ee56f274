"""Sees at a glance that nothing in a batch has to be refused, cut or scrubbed.

In: the bytes of a batch in protobuf. Out: what its record needs, if every event gets in as it is
and the bytes say nothing else, so that they can go on. None says nothing: the batch is then
decoded, and `judge` looks at each event.
Guarantee: what passes here is what `judge` would take whole and unchanged; a test holds the two
together. Most batches pass, at a fifth of the cost: pages, devices, elements and payloads with
texts are judged once for each distinct value, by the functions that `judge` uses, and then known by
their bytes (schemas/v1/closed.proto).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from ingest_gateway.decode import SCAN_ABOVE_BYTES
from schemas.clip import POSITIONS_MAX, clip_message, clip_sdk_version, do_ids_fit
from schemas.event_types import ERROR_TYPES
from schemas.identifiers import clock_shift_ms, is_canonical_uuid
from schemas.privacy import Scrubber, scrubber_of
from schemas.records import PrivacyPolicy
from schemas.text_fields import (
    DEVICE_FIELDS,
    PAGE_FIELDS,
    PAYLOAD_FIELDS,
    REPEATING_PAYLOADS,
    TextField,
)
from schemas.v1.closed_pb2 import GlanceBatch, GlanceEvent
from schemas.v1.common_pb2 import DeviceInfo, PageContext, TargetElement
from schemas.v1.events_pb2 import DomMutationPayload, Event, MouseMovePayload
from schemas.validate import LIMITS, PAYLOAD_CHECKS, PayloadCheck

KNOWN_MAX = 8_192  # Values of one policy that are known by their bytes ...
KNOWN_BYTES_MAX = 1_024  # ... and how long one may be: longer ones seldom come twice.
KNOWN_OVERHEAD_BYTES = 128  # Of an entry beside its value.
ROOM_BYTES = 8 * 1024 * 1024  # For all values of all policies.
POLICIES_MAX = 16
# What SDKs say that a page did after a click. Source: events.md, section 4.
MUTATION_KINDS = frozenset({"mutation", "selection", "focus", "dialog", "download"})

_TARGET_FIELDS = next(field.fields for field in PAYLOAD_FIELDS["click"] if field.name == "target")
_PAYLOADS = {field.name: field for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
_GLANCED = GlanceEvent.DESCRIPTOR.fields_by_name

Look = Callable[[bytes], bool]
PayloadLook = Callable[[Any], bool]  # Of bytes, or of a message where GlanceEvent has one.


class Screened(NamedTuple):
    """A batch whose bytes go on as they are."""

    session_id: str  # As the client sent it.
    event_count: int
    errors: list[Event]


class Screen:
    """What is known under one privacy policy. Not for use by several threads at once."""

    def __init__(self, policy: PrivacyPolicy) -> None:
        self._scrubber = scrubber_of(policy)
        # A blocked page is refused by its path: that is for `judge`.
        self._has_blocked_pages = bool(policy.block_urls or policy.allow_urls)
        self._pages = _Memo(_looks_clean(PageContext, PAGE_FIELDS, self._scrubber, _has_address))
        self._devices = _Memo(_looks_clean(DeviceInfo, DEVICE_FIELDS, self._scrubber))
        self._targets = _Memo(_looks_clean(TargetElement, _TARGET_FIELDS, self._scrubber))
        self._payloads: Mapping[str, PayloadLook] = {
            name: self._payload_look(name) for name in _PAYLOADS
        }

    def look(
        self, body: bytes, members: Mapping[int, str | None], received_at_ms: int, events_max: int
    ) -> Screened | None:
        """What is to be known of a batch that passes; None if it does not.

        It passes if all its events, at least one and at most `events_max`, are good as they are
        and of one session. `members` says for each type of event that the project takes which
        payload it may carry.
        """
        if self._has_blocked_pages or len(body) > SCAN_ABOVE_BYTES:
            return None
        try:
            batch = GlanceBatch.FromString(body)
        except DecodeError:
            return None
        if not _is_exact(batch, len(body)) or batch.project_key:
            return None
        self._scrubber.begin_batch()
        version = batch.sdk_version
        if clip_sdk_version(version, self._scrubber.scrub_field) != version:
            return None
        events = batch.events
        count = len(events)
        session = events[0].session_id if 0 < count <= events_max else ""
        if not session:
            return None
        shift_ms = clock_shift_ms(batch.sent_at, received_at_ms)
        oldest_ms = max(1, received_at_ms - shift_ms - LIMITS.age_ms_max)
        pages, devices, payloads = self._pages, self._devices, self._payloads
        errors: list[Event] = []
        last_page = last_device = None  # Neighbours mostly share both.
        for event in events:
            number = event.event_type
            member = event.WhichOneof("payload")
            page, device = event.page, event.device
            if (
                event.session_id != session
                or members.get(number, "") != member
                or event.timestamp.millis < oldest_ms
                or (page != last_page and not pages[page])
                or (device != last_device and not devices[device])
                or not do_ids_fit(event)
            ):
                return None
            last_page, last_device = page, device
            if member is not None and not payloads[member](getattr(event, member)):
                return None
            if number in ERROR_TYPES:
                errors.append(Event.FromString(event.SerializeToString()))
        return Screened(session, count, errors)

    def _payload_look(self, name: str) -> PayloadLook:
        if name == "replay":  # It goes another way.
            return _is_never_clean
        if name == "click":
            targets = self._targets
            return lambda click: targets[click.target]
        if name == "mouse_move":
            return _has_few_positions
        if name == "dom_mutation":
            return self._is_clean_mutation
        if _GLANCED[name].message_type is not None:
            return PAYLOAD_CHECKS.get(name, _is_always_clean)
        kind = cast(Any, GetMessageClass(cast(Any, _PAYLOADS[name].message_type)))
        fields = PAYLOAD_FIELDS.get(name, ())
        look = _looks_clean(kind, fields, self._scrubber, PAYLOAD_CHECKS.get(name))
        return _Memo(look).__getitem__ if name in REPEATING_PAYLOADS else look

    def _is_clean_mutation(self, mutation: DomMutationPayload) -> bool:
        is_usual = MUTATION_KINDS.issuperset(mutation.kinds) and (
            is_canonical_uuid(mutation.click_event_id) or not mutation.click_event_id
        )
        return (is_usual and len(mutation.kinds) <= len(MUTATION_KINDS)) or _is_clean(
            mutation, PAYLOAD_FIELDS["dom_mutation"], self._scrubber
        )


class _Room:
    """Memory that all memos of the process share: clients choose the values that fill them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._used = 0
        self._memos: list[weakref.ref[_Memo]] = []

    def join(self, memo: _Memo) -> None:
        """A memo that is emptied with the others."""
        self._memos.append(weakref.ref(memo))

    def take(self, size: int) -> None:
        """Make room for a value: if there is none, all memos begin anew."""
        self._used += size + KNOWN_OVERHEAD_BYTES
        if self._used > self._bytes_max:
            self._used = size + KNOWN_OVERHEAD_BYTES
            living = [memo for one in self._memos if (memo := one()) is not None]
            self._memos = [weakref.ref(memo) for memo in living]
            for memo in living:
                memo.clear()


class _Memo(dict[bytes, bool]):
    """A look with what it found of the values that it saw lately."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        ROOM.join(self)

    def __missing__(self, value: bytes) -> bool:
        found = self._look(value)
        if len(value) <= KNOWN_BYTES_MAX:
            if len(self) >= KNOWN_MAX:
                self.clear()
            ROOM.take(len(value))
            self[value] = found
        return found


ROOM = _Room(ROOM_BYTES)


def _is_clean(message: Any, fields: tuple[TextField, ...], scrubber: Scrubber) -> bool:
    is_short = not clip_message(message, fields, scrubber.scrub_field)
    return is_short and not scrubber.scrub_message(message, fields)


def _looks_clean(
    kind: Any,
    fields: tuple[TextField, ...],
    scrubber: Scrubber,
    check: PayloadCheck | None = None,
) -> Look:
    def look(value: bytes) -> bool:
        try:
            message = kind.FromString(value)
        except DecodeError:
            return False
        return (
            _is_exact(message, len(value))
            and (check is None or check(message))
            and (not fields or _is_clean(message, fields, scrubber))
        )

    return look


def _is_exact(message: Message, size: int) -> bool:
    """True if the message says all that its bytes say: no unknown field, none that stood twice."""
    message.DiscardUnknownFields()
    return message.ByteSize() == size


def _has_address(page: PageContext) -> bool:
    return bool(page.path or page.url)


def _has_few_positions(payload: MouseMovePayload) -> bool:
    return len(payload.positions) <= POSITIONS_MAX


def _is_never_clean(_value: bytes) -> bool:
    return False


def _is_always_clean(_payload: Message) -> bool:
    return True


@lru_cache(maxsize=POLICIES_MAX)
def screen_of(policy: PrivacyPolicy) -> Screen:
    """The screen of a policy; projects with equal policies share one."""
    return Screen(policy)
