"""May this event come in, and in which form? Shared by the gateway and the tools.

In: events as clients send them. Out: the reason why one is refused, or None; and events whose
texts, maps and lists are within their limits. Pure. `validate_event` and `clip_event` run for every
event of every request: they look at what an event has, and build nothing.
Source: events.md, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from schemas.clip import clip_event
from schemas.event_types import EVENT_KINDS, INPUT_TYPES, NUMBER_BY_NAME, SERVER_ONLY
from schemas.identifiers import corrected_time_ms
from schemas.privacy import is_blocked
from schemas.reasons import RejectReason
from schemas.records import PrivacyPolicy, ProjectSettings
from schemas.v1.common_pb2 import PageContext
from schemas.v1.events_pb2 import Event

__all__ = [
    "LIMITS",
    "PAYLOAD_CHECKS",
    "Limits",
    "carries_value",
    "clip_event",
    "is_blocked_page",
    "is_event_name",
    "payloads_taken",
    "url_path",
    "validate_event",
]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one event. Texts have theirs in schemas.text_fields."""

    event_bytes_max: int = 64 * 1024
    replay_event_bytes_max: int = 1024 * 1024
    age_ms_max: int = 7 * DAY_MS
    custom_event_name_chars_max: int = 100


LIMITS = Limits()

PayloadCheck = Callable[[Any], bool]

_REPLAY = NUMBER_BY_NAME["replay"]
_CUSTOM_EVENT = NUMBER_BY_NAME["custom_event"]
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def is_event_name(name: str, chars_max: int = LIMITS.custom_event_name_chars_max) -> bool:
    """True for 1 to 100 ASCII letters, digits and underscores."""
    return 0 < len(name) <= chars_max and _NAME_LETTERS.issuperset(name)


# By member of the oneof: False if a number of the payload makes no sense.
PAYLOAD_CHECKS: dict[str, PayloadCheck] = {
    "page_exit": lambda payload: 0 <= payload.max_scroll_depth <= 100,
    "scroll": lambda payload: (
        0 <= payload.scroll_depth_percent <= 100 and isfinite(payload.velocity)
    ),
    "scroll_milestone": lambda payload: 0 <= payload.milestone <= 100,
    "performance": lambda payload: isfinite(payload.cumulative_layout_shift),
    "media": lambda payload: all(
        map(
            isfinite,
            (
                payload.current_time,
                payload.duration,
                payload.watch_duration,
                payload.completion_rate,
            ),
        )
    ),
    "custom_event": lambda payload: is_event_name(payload.name),
    "goal": lambda payload: isfinite(payload.value),
    "purchase": lambda payload: isfinite(payload.value),
}
# Category that switches a type, member of the oneof, check.
_Rule = tuple[str, str | None, PayloadCheck | None]
_NO_RULE: _Rule = ("", None, None)  # Of a type that clients do not send.
# By number. A reaction marker belongs to the click whose outcome it tells: without it every click
# of a project without replay would look dead, so it goes with the mouse and not with the recorder.
_RULES: dict[int, _Rule] = {
    kind.number: (
        "mouse" if kind.name == "dom_mutation" else kind.category,
        kind.payload,
        PAYLOAD_CHECKS.get(kind.payload or ""),
    )
    for kind in EVENT_KINDS
    if kind.number not in SERVER_ONLY
}


def payloads_taken(settings: ProjectSettings) -> dict[int, str | None]:
    """The types of events that a project takes, by number, and the payload that each may carry."""
    return {
        number: member
        for number, (category, member, _) in _RULES.items()
        if category not in settings.disabled_categories
    }


def validate_event(
    event: Event,
    settings: ProjectSettings,
    sent_at_ms: int,
    received_at_ms: int,
    event_bytes: int | None,
    limits: Limits = LIMITS,
) -> RejectReason | None:
    """Why the project does not take this event; None if it does.

    `sent_at_ms` is the batch's, 0 if unknown. `event_bytes` is the event's encoded size or any
    upper bound of it; None has it measured here. Where several reasons hold, those that forbid
    keeping the event come before those that do not, so that its bytes are not kept for the sake
    of another fault.
    """
    number = event.event_type
    category, expected, check = rule = _RULES.get(number, _NO_RULE)
    member = event.WhichOneof("payload")
    if number in INPUT_TYPES and member is not None and carries_value(getattr(event, member)):
        return RejectReason.RAW_VALUE

    page = event.page
    privacy = settings.privacy
    if (
        (privacy.block_urls or privacy.allow_urls)
        and category != "session"
        and is_blocked_page(page, privacy)
    ):
        return RejectReason.BLOCKED_URL

    if rule is _NO_RULE:
        return RejectReason.UNKNOWN_EVENT_TYPE if number else RejectReason.MISSING_FIELD
    if not event.session_id or not (page.path or page.url):
        return RejectReason.MISSING_FIELD
    time_ms = event.timestamp.millis
    if time_ms <= 0:
        has_time = event.HasField("timestamp")
        return RejectReason.BAD_TIMESTAMP if has_time else RejectReason.MISSING_FIELD
    age_ms = received_at_ms - corrected_time_ms(time_ms, sent_at_ms, received_at_ms)
    if age_ms > limits.age_ms_max:
        return RejectReason.TOO_OLD

    if member is None:
        if number == _CUSTOM_EVENT:  # It is nothing without its name.
            return RejectReason.BAD_PAYLOAD
    elif member != expected or (check is not None and not check(getattr(event, member))):
        return RejectReason.BAD_PAYLOAD
    if event_bytes is None or event_bytes > limits.event_bytes_max:
        is_replay = number == _REPLAY
        bytes_max = limits.replay_event_bytes_max if is_replay else limits.event_bytes_max
        if event.ByteSize() > bytes_max:
            return RejectReason.TOO_LARGE
    if category in settings.disabled_categories:
        return RejectReason.TYPE_DISABLED
    return None


def carries_value(payload: Any) -> bool:
    """True if the target of an input payload has a non-empty attribute `value`."""
    target = getattr(payload, "target", None)
    return target is not None and bool(target.attributes.get("value"))


def is_blocked_page(page: PageContext, policy: PrivacyPolicy) -> bool:
    """True if the policy keeps out the page by its path or by the path in its URL.

    An empty page is not blocked: it is refused for another reason.
    """
    paths = {path for path in (page.path.partition("?")[0], url_path(page.url)) if path}
    return any(is_blocked(path, policy) for path in paths)


def url_path(url: str) -> str:
    """The path of a URL, `/` for a bare host; empty for an empty text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path or ("/" if parts.netloc else "")
