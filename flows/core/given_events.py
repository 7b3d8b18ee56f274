"""Events written in one line each, for cases of detectors.

    12.5s click /cart selector=#buy tag=button x=400 y=300
    TIME  KIND  PAGE  FIELD=VALUE ...

TIME is since the beginning of the session: `1500ms`, `12.5s` or `2m`. PAGE is a path, with a
fragment if that is a route (`/#/cart`); left out, it is `/`. Values with spaces are quoted as in a
shell. The event on line n has the id of number n, so that expectations can name it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from flows.core.session_event import (
    Click,
    Depth,
    Device,
    Ended,
    Goal,
    Identified,
    Moves,
    Mutation,
    Page,
    PageError,
    SessionEvent,
    Started,
    Target,
    Visitor,
    Vitals,
)
from schemas.event_types import NUMBER_BY_NAME

# A beginning that is easy to tell from a duration: 2026-01-01T00:00:00Z.
BEGINNING_MS = 1_767_225_600_000
SITE = "https://example.com"
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000}


class GivenError(ValueError):
    """A line is not an event; the text says why."""


def event_id_of(number: int) -> str:
    """The id of the event on line `number`, from 1."""
    return f"00000000-0000-4000-8000-{number:012d}"


def time_of(text: str) -> int:
    """Milliseconds since the beginning; `12.5s` is 12500.

    Raises:
        GivenError: the text is not a number with ms, s or m.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise GivenError(f"{text!r} is not a time such as 1500ms, 12.5s or 2m")
    milliseconds = Decimal(found[1]) * _UNITS_MS[found[2]]
    if milliseconds != int(milliseconds):
        raise GivenError(f"{text!r} is not a whole number of milliseconds")
    return int(milliseconds)


def given_events(lines: Iterable[str]) -> tuple[SessionEvent, ...]:
    """The events of a session, one a line.

    Raises:
        GivenError: naming the line by its number, from 1.
    """
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(_event(number, line))
        except ValueError as error:
            raise GivenError(f"event {number}, {line!r}: {error}") from None
    return tuple(events)


def _event(number: int, line: str) -> SessionEvent:
    words = shlex.split(line)
    if len(words) < 2:
        raise GivenError("an event is TIME KIND [PAGE] [FIELD=VALUE ...]")
    time_text, kind, *rest = words
    if kind not in NUMBER_BY_NAME:
        raise GivenError(f"{kind} is not a type of event")
    key = rest.pop(0) if rest and rest[0].startswith("/") else "/"
    fields: dict[str, str] = {}
    for word in rest:
        name, is_pair, value = word.partition("=")
        if not is_pair or name in fields:
            raise GivenError(f"{word!r} is not FIELD=VALUE, or there twice")
        fields[name] = value
    at_ms = BEGINNING_MS + time_of(time_text)
    path = key.partition("#")[0]
    page = Page(
        url=fields.pop("url", SITE + key),
        path=path,
        key=key if key[len(path) : len(path) + 2] in ("#/", "#!") else path,
        referrer=fields.pop("referrer", ""),
    )
    visitor = Visitor(fields.pop("user_id", ""), fields.pop("anonymous_id", "given"))
    make = _BODIES.get(kind)
    body = make(fields) if make else None
    if fields:
        raise GivenError(f"a {kind} has no field {', '.join(sorted(fields))}")
    return SessionEvent(
        event_id_of(number), kind, at_ms, at_ms, page, visitor, Device("Chrome", "Linux"), body
    )


def _whole(fields: dict[str, str], name: str) -> int | None:
    text = fields.pop(name, None)
    return None if text is None else int(text)


def _click(fields: dict[str, str]) -> Click:
    observed = fields.pop("dom_observed", None)
    target = Target(
        selector=fields.pop("selector", ""),
        tag=fields.pop("tag", ""),
        element_id=fields.pop("id", ""),
        name=fields.pop("name", ""),
        text=fields.pop("text", ""),
        href=fields.pop("href", None),
        classes=tuple(fields.pop("class", "").split()),
        attributes={
            name.removeprefix("attribute."): fields.pop(name)
            for name in list(fields)
            if name.startswith("attribute.")
        },
    )
    return Click(
        target,
        _whole(fields, "x"),
        _whole(fields, "y"),
        fields.pop("button", "left") == "left",
        None if observed is None else observed == "true",
    )


def _moves(fields: dict[str, str]) -> Moves:
    """`positions=X:Y:MS,X:Y:MS`."""
    positions = []
    for text in fields.pop("positions", "").split(","):
        x, y, after_ms = (int(part) for part in text.split(":"))
        positions.append((x, y, after_ms))
    return Moves(tuple(positions))


def _page_error(fields: dict[str, str]) -> PageError:
    return PageError(fields.pop("message", ""), fields.pop("type", ""))


def _vitals(fields: dict[str, str]) -> Vitals:
    cls = fields.pop("cls", None)
    return Vitals(
        lcp=_whole(fields, "lcp"),
        ttfb=_whole(fields, "ttfb"),
        load_complete=_whole(fields, "load_complete"),
        fcp=_whole(fields, "fcp"),
        fid=_whole(fields, "fid"),
        inp=_whole(fields, "inp"),
        cls=None if cls is None else float(cls),
    )


def _mutation(fields: dict[str, str]) -> Mutation:
    """`click=NUMBER` names the event on that line."""
    number = _whole(fields, "click")
    return Mutation(
        "" if number is None else event_id_of(number), tuple(fields.pop("kinds", "").split())
    )


def _depth(fields: dict[str, str]) -> Depth:
    return Depth(_whole(fields, "percent") or 0, _whole(fields, "time_on_page_ms"))


def _goal(fields: dict[str, str]) -> Goal:
    value = fields.pop("value", None)
    return Goal(
        fields.pop("name", "purchase"),
        None if value is None else float(value),
        fields.pop("currency", ""),
        fields.pop("order_id", ""),
    )


_BODIES: Mapping[str, Callable[[dict[str, str]], Any]] = {
    **dict.fromkeys(("click", "dblclick", "context_menu"), _click),
    "mouse_move": _moves,
    **dict.fromkeys(("js_error", "unhandled_rejection"), _page_error),
    **dict.fromkeys(("page_load", "web_vitals"), _vitals),
    "dom_mutation": _mutation,
    **dict.fromkeys(("scroll", "scroll_milestone", "page_exit"), _depth),
    "session_start": lambda fields: Started(entry_url=fields.pop("entry_url", "")),
    "session_end": lambda fields: Ended(fields.pop("reason", "")),
    **dict.fromkeys(("goal", "purchase"), _goal),
    "identify": lambda fields: Identified(fields.pop("identified", "")),
}
