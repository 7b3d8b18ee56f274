"""One event as sessions and detectors see it, and the batches in which events come.

Built from Kafka records (`flows.core.session_batches`) and from stored rows
(`flows.core.stored_events`) alike: equal events give equal records, so that what runs live also
runs over history. All of them are plain values that msgpack can store and restore.

Pages, visitors and devices repeat from event to event; equal ones may be one shared object.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

_order = attrgetter("at_ms", "event_id")


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an event happened.

    `key` is the path, followed by the fragment if that is a route (`#/...` or `#!...`): the page
    key of detectors.md, section 1.1. The utm fields are those of the URL's query.
    """

    url: str = ""
    path: str = ""
    key: str = ""
    referrer: str = ""
    referrer_domain: str = ""  # Empty for the site itself.
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""


class Visitor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whose event it is. `user_id` is that of its identify payload, or the event's own."""

    user_id: str = ""
    anonymous_id: str = ""
    page_view_id: str = ""
    channel_type: str = "web"


class Device(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the event was made with; empty means unknown."""

    browser: str = ""
    os: str = ""
    device_type: str = ""
    is_bot: bool = False


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the request came from; empty means unknown."""

    country: str = ""
    country_code: str = ""
    city: str = ""


class Target(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The element of a click. `classes` and `attributes` are as sent, in order and by name."""

    selector: str = ""
    tag: str = ""
    element_id: str = ""
    name: str = ""
    text: str = ""
    href: str | None = None
    classes: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class Click(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `click`, `dblclick` or `context_menu`. `x` and `y` are page pixels; None: by keyboard."""

    target: Target
    x: int | None = None
    y: int | None = None
    is_left: bool = True
    dom_observed: bool | None = None


class Moves(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `mouse_move`: x and y in pixels and milliseconds after the event's time, as sent."""

    positions: tuple[tuple[int, int, int], ...]


class PackedMoves(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `mouse_move` whose positions are opened when they are needed, which mostly is never.

    `first_ms` and `last_ms` are those of the first and last position after the event's time;
    `payload` is the `MouseMovePayload` as sent.
    """

    first_ms: int
    last_ms: int
    payload: bytes


class PageError(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `js_error` or `unhandled_rejection`."""

    message: str = ""
    error_type: str = ""


class Vitals(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `page_load` or `web_vitals`. Milliseconds, but `cls`; None: not reported."""

    lcp: int | None = None
    ttfb: int | None = None
    load_complete: int | None = None
    fcp: int | None = None
    fid: int | None = None
    inp: int | None = None
    cls: float | None = None


class Mutation(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `dom_mutation`: what the page did after one click; the id is empty if none is named."""

    click_event_id: str = ""
    kinds: tuple[str, ...] = ()


class Depth(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """How far down a page: of a `scroll`, `scroll_milestone` or `page_exit`; percent, 0 to 100."""

    percent: int
    time_on_page_ms: int | None = None  # page_exit only.


class Started(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `session_start`; what it declares of campaign and referrer, trimmed, is on its page."""

    entry_url: str = ""
    utm: tuple[str, str, str, str, str] = ("", "", "", "", "")  # Declared ones only.
    referrer_domain: str = ""


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `session_end`; `reason` is timeout, navigation, close or empty."""

    reason: str = ""


class Goal(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A `goal`, or with `currency` and `order_id` a `purchase` (its name is `purchase`)."""

    name: str
    value: float | None = None
    currency: str = ""
    order_id: str = ""


class Identified(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """An `identify`; the link made is from the visitor's anonymous id to this user."""

    user_id: str
    traits: dict[str, str] = {}


Body = (
    Click
    | Moves
    | PackedMoves
    | PageError
    | Vitals
    | Mutation
    | Depth
    | Started
    | Ended
    | Goal
    | Identified
)


class SessionEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event of one session.

    `kind` is its stored type (`click`); `at_ms` the visitor's time by the server's clock,
    `received_at_ms` the gateway's; `body` what its kind carries, None where nothing is needed.
    """

    event_id: str
    kind: str
    at_ms: int
    received_at_ms: int
    page: Page
    visitor: Visitor
    device: Device
    body: Body | None = None

    @property
    def order(self) -> tuple[int, str]:
        """The order in which a session's events happened."""
        return self.at_ms, self.event_id


def sorted_events(events: Sequence[SessionEvent]) -> Sequence[SessionEvent]:
    """These events by `SessionEvent.order`; most come in it."""
    before_ms = -1
    for event in events:
        if event.at_ms <= before_ms:
            return sorted(events, key=_order)
        before_ms = event.at_ms
    return events


class SessionBatch(msgspec.Struct, frozen=True, gc=False):
    """Events of one session that came together, as sent: in any order, repetitions included."""

    project_id: str
    session_id: str
    received_at_ms: int
    events: tuple[SessionEvent, ...]
    place: Place = Place()
    retain_days: int = 0

    @property
    def key(self) -> str:
        """Of the session, over all projects."""
        return f"{self.project_id}:{self.session_id}"


def received_at(batch: SessionBatch, received_at_ms: int) -> SessionBatch:
    """The batch and its events as if received at another time."""
    events = [
        msgspec.structs.replace(event, received_at_ms=received_at_ms) for event in batch.events
    ]
    return msgspec.structs.replace(batch, received_at_ms=received_at_ms, events=tuple(events))
