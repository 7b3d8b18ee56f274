"""From records of the raw topic to the batches that sessions and detectors take.

In: `PolledBatch` of gosight.events.raw. Out: one `SessionBatch` a record, in log order. Ids, times,
pages, visitors and devices are made by the rules of `flows.core.event_rows`, so that a stored row
and a live event say the same. A record that cannot be read becomes a `Poison` for the caller to
count: the storage flow writes the dead letter. Payloads without a body are not opened; damage in
there is found by the storage flow alone.

What repeats is done once: pages, visitors and devices are known by their bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from flows.core.enrich import AgentParser, PlaceFinder
from flows.core.event_facts import (
    TIME_MS_END,
    UNKNOWN_DEVICE_TYPE,
    PageFacts,
    check_facts,
    device_agent,
    identities,
    page_facts,
    remember,
    with_declared,
)
from flows.core.poisons import Poison, poison_of
from flows.core.session_bodies import body_readers
from flows.core.session_event import (
    Device,
    Identified,
    Page,
    Place,
    SessionBatch,
    SessionEvent,
    Visitor,
)
from schemas.codec import CodecError, decode_closed
from schemas.event_types import NAME_BY_NUMBER, NUMBER_BY_NAME
from schemas.identifiers import AHEAD_TOLERATED_MS, clock_shift_ms, session_uuid
from schemas.log import PolledBatch
from schemas.lookups import Place as FoundPlace
from schemas.reasons import RejectReason
from schemas.v1.closed_pb2 import ClosedRawBatch
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import SessionStartPayload

SESSION_START = NUMBER_BY_NAME["session_start"]
IDENTIFY = NUMBER_BY_NAME["identify"]


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """What consecutive records of one partition hold; `offsets` are those of the batches."""

    batches: Sequence[SessionBatch]
    offsets: Sequence[int]
    poisons: Sequence[Poison]


class BatchReader:
    """Decodes and enriches; holds only bounded caches of pure results. Not for several threads."""

    def __init__(
        self,
        parse_agent: AgentParser,
        find_place: PlaceFinder,
        body_kinds: Collection[str] | None = None,
    ) -> None:
        """`body_kinds` are the stored types whose payloads are opened; by default all."""
        self._parse_agent = parse_agent
        self._find_place = find_place
        self._bodies = {
            number: reader
            for number, reader in body_readers().items()
            if body_kinds is None or NAME_BY_NUMBER[number] in body_kinds
        }
        self._pages: dict[bytes, Page] = {}
        self._devices: dict[tuple[bytes, str], Device] = {}
        self._visitors: dict[tuple[str, str, str, str], Visitor] = {}
        self._places: dict[FoundPlace, Place] = {}

    def read(self, polled: PolledBatch) -> ReadRecords:
        """All batches of the records; never raises for what a record holds."""
        batches: list[SessionBatch] = []
        offsets: list[int] = []
        poisons: list[Poison] = []
        for place, (offset, value) in enumerate(zip(polled.offsets, polled.values, strict=True)):
            try:
                batches.append(self.read_record(value))
                offsets.append(offset)
            except (CodecError, DecodeError) as error:
                detail = str(error) if isinstance(error, CodecError) else "not a RawBatch"
                poisons.append(poison_of(polled, place, RejectReason.UNDECODABLE, detail))
            except Exception as error:  # One bad record must not stop the flow.
                detail = f"{type(error).__name__} while reading events"
                poisons.append(poison_of(polled, place, RejectReason.POISON, detail))
        return ReadRecords(batches, offsets, poisons)

    def read_record(self, value: bytes) -> SessionBatch:
        """The batch of one record.

        Raises:
            CodecError: it is no RawBatch, or lacks the gateway's facts.
            google.protobuf.message.DecodeError: an inner message is damaged.
        """
        raw = decode_closed(value)
        check_facts(raw)
        project_id = raw.project_id
        return SessionBatch(
            project_id=project_id,
            session_id=session_uuid(project_id, raw.session_id),
            received_at_ms=raw.received_at_ms,
            events=tuple(self._events(raw)),
            place=self._place(raw.client_ip),
            retain_days=raw.retain_days,
        )

    def _events(self, raw: ClosedRawBatch) -> list[SessionEvent]:
        made: list[SessionEvent] = []
        names, bodies = NAME_BY_NUMBER, self._bodies
        received_at_ms, user_agent = raw.received_at_ms, raw.user_agent
        shift_ms = clock_shift_ms(raw.sent_at, received_at_ms)
        latest_ms = min(received_at_ms + AHEAD_TOLERATED_MS, TIME_MS_END - 1)
        # Neighbours mostly share the page, the device and the visitor.
        page_bytes = device_bytes = None
        seen: tuple[str, str, str, str] | None = None
        event_page, device, visitor = Page(), Device(), Visitor()
        events = list(raw.events)
        for event, event_id in zip(events, identities(raw, events), strict=True):
            number = event.event_type
            value = event.page
            if value != page_bytes:
                page_bytes = value
                event_page = self._page(value)
            page = event_page
            value = event.device
            if value != device_bytes:
                device_bytes = value
                device = self._device(value, user_agent)
            user_id = event.user_id
            body = None
            rule = bodies.get(number)
            if rule is not None:
                member, read = rule
                payload = getattr(event, member)
                if payload or event.HasField(member):
                    body = read(payload)
                    if number == SESSION_START:
                        page = self._declared_page(page_bytes, payload)
                    elif number == IDENTIFY:
                        assert isinstance(body, Identified)
                        user_id = body.user_id or user_id
            key = user_id, event.anonymous_id, event.page_view_id, event.channel_type
            if key != seen:
                seen = key
                visitor = self._visitor(key)
            at_ms = event.timestamp.millis + shift_ms
            if at_ms > latest_ms or at_ms < 0:
                at_ms = received_at_ms
            made.append(
                SessionEvent(
                    event_id,
                    names.get(number) or f"unknown_{number}",
                    at_ms,
                    received_at_ms,
                    page,
                    visitor,
                    device,
                    body,
                )
            )
        return made

    def _page(self, value: bytes) -> Page:
        known = self._pages.get(value)
        if known is None:
            known = page_of(page_facts(PageContext.FromString(value)))
            remember(self._pages, value, known)
        return known

    @staticmethod
    def _declared_page(value: bytes, payload: bytes) -> Page:
        """The page with what its session_start declares."""
        declared = SessionStartPayload.FromString(payload)
        return page_of(with_declared(page_facts(PageContext.FromString(value)), declared))

    def _device(self, value: bytes, user_agent: str) -> Device:
        key = value, user_agent
        known = self._devices.get(key)
        if known is None:
            agent = device_agent(DeviceInfo.FromString(value), user_agent, self._parse_agent)
            device_type = agent.device_type or UNKNOWN_DEVICE_TYPE
            known = Device(agent.browser, agent.os, device_type, agent.is_bot)
            remember(self._devices, key, known)
        return known

    def _visitor(self, key: tuple[str, str, str, str]) -> Visitor:
        known = self._visitors.get(key)
        if known is None:
            user_id, anonymous_id, page_view_id, channel_type = key
            known = Visitor(user_id, anonymous_id, page_view_id, channel_type or "web")
            remember(self._visitors, key, known)
        return known

    def _place(self, address: str) -> Place:
        found = self._find_place(address)
        known = self._places.get(found)
        if known is None:
            known = Place(found.country, found.country_code, found.city)
            remember(self._places, found, known)
        return known


def page_key(url: str, path: str) -> str:
    """The path, followed by the URL's fragment if that is a route.

    Source: detectors.md, section 1.1.
    """
    if "#" in url:
        fragment = url.partition("#")[2]
        if fragment.startswith(("/", "!")):
            return f"{path}#{fragment}"
    return path


def page_of(facts: PageFacts) -> Page:
    """A page as sessions see it."""
    url, path, _title, referrer, referrer_domain, *campaign = facts
    return Page(url, path, page_key(url, path), referrer, referrer_domain, *campaign)
