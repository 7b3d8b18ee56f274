"""What sessions and detectors need of an event's payload.

In: the bytes of payloads of the kinds that have a body (`flows.core.session_event.Body`). Out:
bodies, equal to those that `flows.core.stored_events` reads from the stored JSON. Payloads of other
kinds are not opened. Elements are known by their bytes; caches are bounded. Pure.

Raises google.protobuf.message.DecodeError for bytes that are no such payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Protocol

from flows.core.enrich import declared_domain
from flows.core.event_facts import declared_campaign, remember
from flows.core.session_event import (
    Body,
    Click,
    Depth,
    Ended,
    Goal,
    Identified,
    Moves,
    Mutation,
    PackedMoves,
    PageError,
    Started,
    Target,
    Vitals,
)
from schemas.event_types import EVENT_KINDS, NAME_BY_NUMBER
from schemas.identifiers import as_uuid
from schemas.payload_text import short_float
from schemas.v1.closed_pb2 import ClosedClick
from schemas.v1.common_pb2 import TargetElement
from schemas.v1.events_pb2 import (
    DomMutationPayload,
    GoalPayload,
    IdentifyPayload,
    JsErrorPayload,
    MouseButton,
    MouseMovePayload,
    PageExitPayload,
    PerformancePayload,
    PurchasePayload,
    ScrollMilestonePayload,
    ScrollPayload,
    SessionEndPayload,
    SessionEndReason,
    SessionStartPayload,
)

BodyReader = Callable[[bytes], Body | None]

UINT32_MAX = 2**32 - 1
PLACE_PX_MAX = 1_000_000  # No page is longer; its square fits many times into 64 bits.
MOVE_MS_MAX = 60_000  # Of a position after its event: senders begin a new one each second.
# Stored so by `flows.core.payloads`: an error without a type is an Error.
ERROR_TYPE = "Error"
END_REASONS = {
    SessionEndReason.SESSION_END_REASON_TIMEOUT: "timeout",
    SessionEndReason.SESSION_END_REASON_NAVIGATION: "navigation",
    SessionEndReason.SESSION_END_REASON_CLOSE: "close",
}
LEFT = MouseButton.MOUSE_BUTTON_LEFT
NO_VITALS = Vitals()
DEPTHS = tuple(Depth(percent) for percent in range(101))


def body_readers() -> Mapping[int, tuple[str, BodyReader]]:
    """By number of the type: the member of the oneof to open, and what reads it."""
    by_member: dict[str, BodyReader] = {
        "session_start": _started,
        "session_end": _ended,
        "page_exit": _page_exit,
        "click": _ClickReader(),
        "mouse_move": _moves,
        "scroll": _scroll,
        "scroll_milestone": _milestone,
        "js_error": _error,
        "performance": _vitals,
        "dom_mutation": _mutation,
        "goal": _goal,
        "purchase": _purchase,
        "identify": _identified,
    }
    return {
        kind.number: (kind.payload, by_member[kind.payload])
        for kind in EVENT_KINDS
        if kind.payload in by_member
    }


def depth(percent: int) -> Depth:
    """A depth within 0 to 100 percent; equal ones are one object."""
    return DEPTHS[min(max(percent, 0), 100)]


def exit_depth(percent: int, time_on_page_ms: int) -> Depth:
    """The depth of a page_exit; both numbers saturate."""
    return Depth(min(max(percent, 0), 100), min(max(time_on_page_ms, 0), UINT32_MAX))


class _ClickReader:
    def __init__(self) -> None:
        self._targets: dict[bytes, Target] = {}

    def __call__(self, value: bytes) -> Click:
        click = ClosedClick.FromString(value)
        target_bytes = click.target
        target = self._targets.get(target_bytes)
        if target is None:
            target = _target(TargetElement.FromString(target_bytes))
            remember(self._targets, target_bytes, target)
        x = y = None
        if click.HasField("position"):
            position = click.position
            x, y = position.x, position.y
        observed = click.dom_observed if click.HasField("dom_observed") else None
        return Click(target, x, y, click.button == LEFT, observed)


def _target(target: TargetElement) -> Target:
    return Target(
        selector=target.selector,
        tag=target.tag,
        element_id=target.id,
        name=target.name,
        text=target.text,
        href=target.href if target.HasField("href") else None,
        classes=tuple(target.classes),
        attributes=dict(sorted(target.attributes.items())),
    )


def _moves(value: bytes) -> PackedMoves | None:
    positions = MouseMovePayload.FromString(value).positions
    if not positions:
        return None
    first_ms, last_ms = positions[0].timestamp, positions[-1].timestamp
    if not (0 <= first_ms <= MOVE_MS_MAX and 0 <= last_ms <= MOVE_MS_MAX):
        first_ms, last_ms = _within(first_ms, 0, MOVE_MS_MAX), _within(last_ms, 0, MOVE_MS_MAX)
    return PackedMoves(first_ms, last_ms, value)


def unpacked(moves: PackedMoves) -> Moves:
    """All the positions."""
    return Moves(positions_of(moves.payload))


def positions_of(payload: bytes) -> tuple[tuple[int, int, int], ...]:
    """x, y and milliseconds of each position of a `MouseMovePayload`."""
    return positions_within(MouseMovePayload.FromString(payload).positions)


class PositionAsSent(Protocol):
    """One of a `mouse_move`."""

    @property
    def x(self) -> int:
        """Pixels from the left."""

    @property
    def y(self) -> int:
        """Pixels from the top."""

    @property
    def timestamp(self) -> int:
        """Milliseconds after the event's time."""


def positions_within(positions: Iterable[PositionAsSent]) -> tuple[tuple[int, int, int], ...]:
    """x, y and milliseconds, each at the nearest bound if it is out of them.

    Numbers of a sender's choice must leave room for sums and squares, and time for the others.
    """
    low, high, ms_max = -PLACE_PX_MAX, PLACE_PX_MAX, MOVE_MS_MAX
    return tuple(
        [
            (x, y, ms)
            if low <= (x := each.x) <= high
            and low <= (y := each.y) <= high
            and 0 <= (ms := each.timestamp) <= ms_max
            else (
                _within(each.x, low, high),
                _within(each.y, low, high),
                _within(each.timestamp, 0, ms_max),
            )
            for each in positions
        ]
    )


def _within(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _scroll(value: bytes) -> Depth:
    return depth(ScrollPayload.FromString(value).scroll_depth_percent)


def _milestone(value: bytes) -> Depth:
    return depth(ScrollMilestonePayload.FromString(value).milestone)


def _page_exit(value: bytes) -> Depth:
    payload = PageExitPayload.FromString(value)
    return exit_depth(payload.max_scroll_depth, payload.time_on_page_ms)


def _error(value: bytes) -> PageError:
    payload = JsErrorPayload.FromString(value)
    return PageError(payload.message, payload.error_type or ERROR_TYPE)


def _vitals(value: bytes) -> Vitals | None:
    payload = PerformancePayload.FromString(value)
    has = payload.HasField
    shift = payload.cumulative_layout_shift if has("cumulative_layout_shift") else None
    vitals = Vitals(
        lcp=payload.largest_contentful_paint if has("largest_contentful_paint") else None,
        ttfb=payload.ttfb if has("ttfb") else None,
        load_complete=payload.load_complete if has("load_complete") else None,
        fcp=payload.first_contentful_paint if has("first_contentful_paint") else None,
        fid=payload.first_input_delay if has("first_input_delay") else None,
        inp=payload.interaction_to_next_paint if has("interaction_to_next_paint") else None,
        cls=None if shift is None or not isfinite(shift) else short_float(shift),
    )
    return None if vitals == NO_VITALS else vitals


def _mutation(value: bytes) -> Mutation:
    payload = DomMutationPayload.FromString(value)
    return Mutation(as_uuid(payload.click_event_id), tuple(payload.kinds))


def _started(value: bytes) -> Started:
    payload = SessionStartPayload.FromString(value)
    domain = declared_domain(payload.referrer_domain)
    return Started(payload.entry_url, declared_campaign(payload), domain)


def _ended(value: bytes) -> Ended:
    return Ended(END_REASONS.get(SessionEndPayload.FromString(value).end_reason, ""))


def _goal(value: bytes) -> Goal:
    payload = GoalPayload.FromString(value)
    has_value = payload.HasField("value") and isfinite(payload.value)
    return Goal(payload.name, payload.value if has_value else None)


def _purchase(value: bytes) -> Goal:
    payload = PurchasePayload.FromString(value)
    worth = payload.value if isfinite(payload.value) else None
    return Goal("purchase", worth, payload.currency, payload.order_id)


def _identified(value: bytes) -> Identified:
    payload = IdentifyPayload.FromString(value)
    return Identified(payload.user_id, dict(sorted(payload.traits.items())))


# Stored types of the events that have a body.
BODY_KINDS = tuple(sorted(NAME_BY_NUMBER[number] for number in body_readers()))
