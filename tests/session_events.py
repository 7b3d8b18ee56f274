"""Made-up events of one session, as the detectors see them; times in milliseconds from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from flows.core.detectors.detector import Detector
from flows.core.insight import Finding, Verdict
from flows.core.session_event import (
    Body,
    Click,
    Device,
    Moves,
    Mutation,
    Page,
    PageError,
    SessionEvent,
    Target,
    Visitor,
    Vitals,
)
from flows.core.session_run import run_session

SITE = "https://shop.example"


class Script:
    """Makes events with ids in order of making."""

    def __init__(self, first_id: int = 1) -> None:
        self._next_id = first_id

    def event(
        self, at_ms: int, kind: str, path: str = "/", body: Body | None = None, view: str = ""
    ) -> SessionEvent:
        """Any event."""
        event_id = str(UUID(int=self._next_id))
        self._next_id += 1
        key = re.sub(r"\?[^#]*", "", path)
        page = Page(url=SITE + path, path=key.partition("#")[0], key=key)
        visitor = Visitor(page_view_id=view)
        return SessionEvent(event_id, kind, at_ms, at_ms + 100, page, visitor, Device(), body)

    def click(
        self,
        at_ms: int,
        x: int | None = 100,
        y: int | None = 100,
        selector: str = "#buy",
        path: str = "/",
        *,
        tag: str = "button",
        is_left: bool = True,
        dom_observed: bool | None = None,
        **target: Any,
    ) -> SessionEvent:
        """A click; further arguments are members of its target."""
        element = Target(selector=selector, tag=tag, **target)
        return self.event(at_ms, "click", path, Click(element, x, y, is_left, dom_observed))

    def moves(
        self, at_ms: int, positions: Sequence[tuple[int, int, int]], path: str = "/"
    ) -> SessionEvent:
        """A mouse_move; positions are x, y and milliseconds after it."""
        return self.event(at_ms, "mouse_move", path, Moves(tuple(positions)))

    def way(
        self, points: Iterable[tuple[int, int, int]], path: str = "/", per_event: int = 20
    ) -> list[SessionEvent]:
        """Points (time, x, y) as mouse moves of so many positions each."""
        known = list(points)
        made = []
        for place in range(0, len(known), per_event):
            part = known[place : place + per_event]
            begin = part[0][0]
            made.append(self.moves(begin, [(x, y, at - begin) for at, x, y in part], path))
        return made

    def error(
        self, at_ms: int, message: str = "a", kind: str = "js_error", path: str = "/"
    ) -> SessionEvent:
        """An error of a script."""
        return self.event(at_ms, kind, path, PageError(message, "TypeError"))

    def mutation(self, at_ms: int, click: SessionEvent | None = None, *kinds: str) -> SessionEvent:
        """What the page did after a click."""
        click_id = "" if click is None else click.event_id
        path = "/" if click is None else click.page.key
        return self.event(at_ms, "dom_mutation", path, Mutation(click_id, kinds or ("mutation",)))

    def report(self, at_ms: int, kind: str, path: str = "/", **vitals: Any) -> SessionEvent:
        """A page_load or web_vitals."""
        return self.event(at_ms, kind, path, Vitals(**vitals))


def found(detector: Detector[Any], *events: SessionEvent) -> list[Finding]:
    """What is found in these events, without verdicts."""
    made = run_session([detector], events)
    return [each for each in made if isinstance(each, Finding)]


def told(detector: Detector[Any], *events: SessionEvent) -> list[tuple[str, str, str]]:
    """Verdicts as (event, outcome, reason), by the number of the event's making."""
    return [
        (str(UUID(each.event_id).int), each.outcome, each.reason)
        for each in run_session([detector], events)
        if isinstance(each, Verdict)
    ]
