"""Events of one session, short to write: for tests of everything that reads sessions."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from flows.core.enrich import campaign_of, referrer_domain_of
from flows.core.session_event import (
    Body,
    Device,
    Page,
    Place,
    SessionBatch,
    SessionEvent,
    Visitor,
)

PROJECT = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
SESSION = "d117ee51-aa04-46a6-89a8-d3d26391016b"
START_MS = 1_795_255_200_000  # A slot of five seconds begins here.
SITE = "https://shop.example"


def event_id(number: int) -> str:
    """The same id for the same number."""
    return str(uuid5(UUID(SESSION), str(number)))


def page(path: str, referrer: str = "") -> Page:
    """A page of the site, with the campaign of its query."""
    url = SITE + path
    return Page(
        url,
        urlsplit(url).path,
        urlsplit(url).path,
        referrer,
        referrer_domain_of(referrer, url),
        *campaign_of(url),
    )


def event(
    number: int,
    kind: str,
    at_s: float,
    on: Page | str = "/",
    body: Body | None = None,
    *,
    visitor: Visitor | None = None,
    device: Device | None = None,
) -> SessionEvent:
    """One event, `at_s` seconds after the start."""
    at_ms = START_MS + round(at_s * 1000)
    return SessionEvent(
        event_id(number),
        kind,
        at_ms,
        at_ms + 40,
        page(on) if isinstance(on, str) else on,
        visitor or Visitor("", "visitor-1"),
        device or Device("Chrome", "Windows", "desktop"),
        body,
    )


def batch(events: Sequence[SessionEvent], place: Place | None = None) -> SessionBatch:
    """The events as one request brings them."""
    return SessionBatch(
        PROJECT,
        SESSION,
        max((event.received_at_ms for event in events), default=START_MS),
        tuple(events),
        place or Place("Germany", "DE", "Berlin"),
    )
