"""From stored rows of the table `events` back to the batches that sessions and detectors take.

In: rows with the columns `STORED_COLUMNS`, in that order, as the queries `session_events` and
`events_of_period` give them: all rows of a session together; more columns may follow. Out: the
batches of one session after the other, their events equal to those that
`flows.core.session_batches` made of the raw records. A test holds the two together. Pure; caches
are bounded.

Nothing that a detector needs is lost in a row: what has no column is read from the payload's JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from flows.core.enrich import declared_domain
from flows.core.event_facts import declared_campaign, remember
from flows.core.session_batches import page_key
from flows.core.session_bodies import (
    ERROR_TYPE,
    NO_VITALS,
    depth,
    exit_depth,
    positions_within,
)
from flows.core.session_event import (
    Body,
    Click,
    Device,
    Ended,
    Goal,
    Identified,
    Moves,
    Mutation,
    Page,
    PageError,
    Place,
    SessionBatch,
    SessionEvent,
    Started,
    Target,
    Visitor,
    Vitals,
)
from schemas.identifiers import as_uuid
from schemas.payload_text import EMPTY_JSON

STORED_COLUMNS = (
    "project_id",
    "session_id",
    "received_at_ms",
    "retain_days",
    "country",
    "country_code",
    "city",
    "event_id",
    "event_type",
    "timestamp_ms",
    "payload",
    # The page.
    "url",
    "path",
    "referrer",
    "referrer_domain",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    # The visitor.
    "user_id",
    "anonymous_id",
    "page_view_id",
    "channel_type",
    # The device.
    "browser",
    "os",
    "device_type",
    "is_bot",
)
END_REASONS = frozenset({"timeout", "navigation", "close"})

Row = Sequence[Any]
_session_of = itemgetter(0, 1)
_PAGE, _VISITOR, _DEVICE, _END = (
    STORED_COLUMNS.index("url"),
    STORED_COLUMNS.index("user_id"),
    STORED_COLUMNS.index("browser"),
    len(STORED_COLUMNS),
)


class StoredReader:
    """Builds events of rows; holds only bounded caches of pure results."""

    def __init__(self) -> None:
        self._bodies = _body_readers()
        self._pages: dict[Row, Page] = {}
        self._visitors: dict[Row, Visitor] = {}
        self._devices: dict[Row, Device] = {}

    def sessions(self, rows: Iterable[Row]) -> Iterator[tuple[SessionBatch, ...]]:
        """The batches of each session, in the order of their receipt.

        Rows that were received at the same time from the same place are one batch, whatever they
        came in: a session does not depend on that.
        """
        for _, found in groupby(rows, _session_of):
            batches: dict[Row, list[SessionEvent]] = {}
            for row in found:
                batches.setdefault(tuple(row[:7]), []).append(self.event(row))
            yield tuple(
                _batch(facts, batches[facts])
                for facts in sorted(batches, key=lambda facts: (facts[2], facts))
            )

    def event(self, row: Row) -> SessionEvent:
        """The event of one row."""
        kind, payload = row[8], row[10]
        read = self._bodies.get(kind)
        return SessionEvent(
            event_id=row[7],
            kind=kind,
            at_ms=row[9],
            received_at_ms=row[2],
            page=_known(self._pages, tuple(row[_PAGE:_VISITOR]), _page),
            visitor=_known(self._visitors, tuple(row[_VISITOR:_DEVICE]), _visitor),
            device=_known(self._devices, tuple(row[_DEVICE:_END]), _device),
            body=None if read is None or payload in ("", EMPTY_JSON) else read(payload),
        )


def _batch(facts: Row, events: Sequence[SessionEvent]) -> SessionBatch:
    project_id, session_id, received_at_ms, retain_days, *place = facts
    return SessionBatch(
        project_id=project_id,
        session_id=session_id,
        received_at_ms=received_at_ms,
        events=tuple(events),
        place=Place(*place),
        retain_days=retain_days,
    )


def _known(cache: dict[Row, Any], key: Row, make: Callable[..., Any]) -> Any:
    value = cache.get(key)
    if value is None:
        value = make(*key)
        remember(cache, key, value)
    return value


def _page(url: str, path: str, *others: str) -> Page:
    return Page(url, path, page_key(url, path), *others)


def _visitor(user_id: str, anonymous_id: str, page_view_id: str, channel_type: str) -> Visitor:
    return Visitor(user_id, anonymous_id, page_view_id, channel_type or "web")


def _device(browser: str, system: str, device_type: str, is_bot: bool) -> Device:
    return Device(browser, system, device_type, bool(is_bot))


# The stored form of payloads; see `schemas.payload_text`.


class _Point(msgspec.Struct):
    x: int = 0
    y: int = 0
    timestamp: int = 0


class _Element(msgspec.Struct):
    selector: str = ""
    tag: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    href: str | None = None
    classes: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class _Click(msgspec.Struct):
    button: str | int = ""
    dom_observed: bool | None = None
    position: _Point | None = None
    target: msgspec.Raw = msgspec.Raw(b"{}")


class _Moves(msgspec.Struct):
    positions: list[_Point] = []


class _Performance(msgspec.Struct):
    largest_contentful_paint: int | None = None
    ttfb: int | None = None
    load_complete: int | None = None
    first_contentful_paint: int | None = None
    first_input_delay: int | None = None
    interaction_to_next_paint: int | None = None
    cumulative_layout_shift: float | None = None


class _Other(msgspec.Struct):
    """The fields of all other payloads that are needed."""

    scroll_depth_percent: int = 0
    milestone: int = 0
    max_scroll_depth: int = 0
    time_on_page_ms: int = 0
    message: str = ""
    error_type: str = ""
    click_event_id: str = ""
    kinds: tuple[str, ...] = ()
    entry_url: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    referrer_domain: str = ""
    end_reason: str | int = ""
    name: str = ""
    value: float | None = None
    currency: str = ""
    order_id: str = ""
    user_id: str = ""
    traits: dict[str, str] = {}


_read_element = msgspec.json.Decoder(_Element).decode
_read_click = msgspec.json.Decoder(_Click).decode
_read_moves = msgspec.json.Decoder(_Moves).decode
_read_performance = msgspec.json.Decoder(_Performance).decode
_read_other = msgspec.json.Decoder(_Other).decode


def _body_readers() -> dict[str, Callable[[str], Body | None]]:
    """What reads the stored payload of each type that has a body."""
    click = _ClickReader()
    return {
        "session_start": _started,
        "session_end": _ended,
        "page_exit": _page_exit,
        "click": click,
        "dblclick": click,
        "context_menu": click,
        "mouse_move": _moves,
        "scroll": lambda text: depth(_read_other(text).scroll_depth_percent),
        "scroll_milestone": lambda text: depth(_read_other(text).milestone),
        "js_error": _error,
        "unhandled_rejection": _error,
        "page_load": _vitals,
        "web_vitals": _vitals,
        "dom_mutation": _mutation,
        "goal": _goal,
        "purchase": _purchase,
        "identify": _identified,
    }


class _ClickReader:
    def __init__(self) -> None:
        self._targets: dict[bytes, Target] = {}

    def __call__(self, text: str) -> Click:
        click = _read_click(text)
        key = bytes(click.target)
        target = self._targets.get(key)
        if target is None:
            target = _target(_read_element(key))
            remember(self._targets, key, target)
        point = click.position
        return Click(
            target,
            None if point is None else point.x,
            None if point is None else point.y,
            click.button == "left",
            click.dom_observed,
        )


def _target(element: _Element) -> Target:
    return Target(
        selector=element.selector,
        tag=element.tag,
        element_id=element.id,
        name=element.name,
        text=element.text,
        href=element.href,
        classes=element.classes,
        attributes=element.attributes,
    )


def _moves(text: str) -> Moves | None:
    points = _read_moves(text).positions
    return Moves(positions_within(points)) if points else None


def _vitals(text: str) -> Vitals | None:
    payload = _read_performance(text)
    vitals = Vitals(
        lcp=payload.largest_contentful_paint,
        ttfb=payload.ttfb,
        load_complete=payload.load_complete,
        fcp=payload.first_contentful_paint,
        fid=payload.first_input_delay,
        inp=payload.interaction_to_next_paint,
        cls=payload.cumulative_layout_shift,
    )
    return None if vitals == NO_VITALS else vitals


def _page_exit(text: str) -> Body:
    payload = _read_other(text)
    return exit_depth(payload.max_scroll_depth, payload.time_on_page_ms)


def _error(text: str) -> Body:
    payload = _read_other(text)
    return PageError(payload.message, payload.error_type or ERROR_TYPE)


def _mutation(text: str) -> Body:
    payload = _read_other(text)
    return Mutation(as_uuid(payload.click_event_id), payload.kinds)


def _started(text: str) -> Body:
    payload = _read_other(text)
    domain = declared_domain(payload.referrer_domain)
    return Started(payload.entry_url, declared_campaign(payload), domain)


def _ended(text: str) -> Body:
    reason = _read_other(text).end_reason
    return Ended(reason if isinstance(reason, str) and reason in END_REASONS else "")


def _goal(text: str) -> Body:
    payload = _read_other(text)
    return Goal(payload.name, payload.value)


def _purchase(text: str) -> Body:
    payload = _read_other(text)
    return Goal("purchase", payload.value, payload.currency, payload.order_id)


def _identified(text: str) -> Body:
    payload = _read_other(text)
    return Identified(payload.user_id, payload.traits)
