"""Visits that mean something: bursts of clicks, dead ones, errors, slow pages, or nothing at all.

In: a seeded source of chance. Out: the events of whole sessions, each with the moment it is sent,
and what must be found in them: type and first evidence of each insight. Known from the script
alone, so nothing of the detectors is shared.

A visit is either watched, its events sent as they happen, or told afterwards in one go, as by a
browser that was offline. Both keep the delays of a session's events close to each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.events import MadeEvent, make_uuid
from tests.faults.traffic import Script

WATCHED_MS_MAX = 2_600
TOLD_AFTER_MS = 400
# Between two scenes: all that is open in the first is over before the second begins.
SCENES_APART_MS = 4_000
SCENES_MAX = 3

Finds = set[tuple[str, str]]


@dataclass(slots=True)
class Visit:
    """One session. `events` are (second after the beginning at which it is sent, event).

    `finds` are the type and the anchor event of every insight that is in it.
    """

    session_id: str
    events: list[tuple[float, MadeEvent]] = field(default_factory=list)
    finds: Finds = field(default_factory=set)

    @property
    def script(self) -> Script:
        """What it consists of, for the auditor."""
        return Script(frozenset(event.event_id for _, event in self.events), frozenset(self.finds))


class _Script:
    """Events on one page, at milliseconds after the scene's beginning."""

    def __init__(self, chance: random.Random, session_id: str, visitor: str, path: str) -> None:
        self.chance = chance
        self.made: list[MadeEvent] = []
        self.finds: Finds = set()
        self._session_id = session_id
        self._visitor = visitor
        self._path = path

    def event(self, at_ms: int, kind: str, payload: dict[str, Any], *, path: str = "") -> MadeEvent:
        made = MadeEvent(
            make_uuid(self.chance),
            self._session_id,
            self._visitor,
            kind,
            at_ms,
            path or self._path,
            payload,
        )
        self.made.append(made)
        return made

    def view(self, at_ms: int, page: str = "") -> MadeEvent:
        path = self._path + page
        payload = {"page_title": f"Page {path}", "page_path": path}
        return self.event(at_ms, "page_view", payload, path=path)

    def click(self, at_ms: int, tag: str = "button", x: int = 300, y: int = 200) -> MadeEvent:
        target = {"tag": tag, "text": "Buy", "selector": f"#{tag}"}
        return self.event(at_ms, "click", {"position": {"x": x, "y": y}, "target": target})

    def answer(self, at_ms: int, click: MadeEvent) -> None:
        payload = {"click_event_id": click.event_id, "kinds": ["mutation"], "mutation_count": 1}
        self.event(at_ms, "dom_mutation", payload)


def _rage(script: _Script) -> None:
    """Fast clicks at one place that nobody expects to answer."""
    script.view(0)
    chance, at_ms = script.chance, 300
    first = ""
    for _ in range(chance.randint(5, 9)):
        click = script.click(at_ms, "div", 300 + chance.randrange(9), 200 + chance.randrange(9))
        first = first or click.event_id
        at_ms += chance.randint(60, 220)
    script.finds.add(("rage_click", first))


def _dead(script: _Script) -> None:
    """A button that does nothing; another that answers."""
    script.view(0)
    click = script.click(100 + script.chance.randrange(200))
    script.finds.add(("dead_click", click.event_id))
    later = script.click(2_300, x=900)
    script.answer(2_500, later)


def _error(script: _Script) -> None:
    """A script fails at once after a click."""
    script.view(0)
    click = script.click(500)
    message = f"x{script.chance.randrange(3)} is not a function"
    script.event(
        600 + script.chance.randrange(300),
        "js_error",
        {"message": message, "error_type": "TypeError"},
    )
    script.finds.add(("error_click", click.event_id))


def _turn(script: _Script) -> None:
    """A page is left for another and quickly come back to."""
    script.view(0)
    script.view(700, "/detail")
    back = script.view(1_500 + script.chance.randrange(900))
    script.finds.add(("u_turn", back.event_id))


def _slow(script: _Script) -> None:
    """A page whose first byte or load takes too long."""
    view = script.view(0)
    slow, fine = script.chance.choice([(2_000, 2_500), (300, 4_500), (950, 6_000)])
    script.event(400, "page_load", {"ttfb": slow, "load_complete": fine})
    script.finds.add(("slow_page", view.event_id))


def _thrash(script: _Script) -> None:
    """The pointer is swept to and fro."""
    positions = [
        {"x": 600 if n // 2 % 2 else 200, "y": 300 + n % 3, "timestamp": 40 * n} for n in range(15)
    ]
    first = ""
    for part in range(4):
        move = script.event(600 * part, "mouse_move", {"positions": positions})
        first = first or move.event_id
    script.finds.add(("thrashed_cursor", first))


def _plain(script: _Script) -> None:
    """Reading, a click that is answered, perhaps a goal."""
    script.view(0)
    script.event(
        500, "scroll", {"scroll_depth_percent": script.chance.randrange(101), "page_height": 3000}
    )
    script.answer(1_200, script.click(1_000))
    if script.chance.random() < 0.3:
        script.event(1_500, "goal", {"name": "signed_up"})
    script.event(
        2_000,
        "page_exit",
        {"time_on_page_ms": 2_000, "max_scroll_depth": script.chance.randrange(101)},
    )


SCENES: tuple[Callable[[_Script], None], ...] = (
    _rage,
    _dead,
    _error,
    _turn,
    _slow,
    _thrash,
    _plain,
)


class VisitMaker:
    """Makes visits; the first ones show every scene once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._made = 0

    def make(self, now_ms: int, duration_s: float) -> Visit:
        """A visit that is sent within `duration_s` of `now_ms`, when the sending begins."""
        chance = self._chance
        number = self._made
        self._made += 1
        visit = Visit(make_uuid(chance))
        is_watched = chance.random() < 0.6
        count = 1 if is_watched else chance.randint(1, SCENES_MAX)
        chosen = [SCENES[number % len(SCENES)], *chance.choices(SCENES, k=count - 1)]
        made: list[MadeEvent] = []
        begins_ms = 0
        for place, scene in enumerate(chosen):
            script = _Script(chance, visit.session_id, f"guest-{number}", f"/v/{place}")
            scene(script)
            visit.finds |= script.finds
            for event in script.made:
                event.at_ms += begins_ms
            begins_ms = max(event.at_ms for event in script.made) + SCENES_APART_MS
            made += script.made
        last_ms = max(event.at_ms for event in made)
        assert not is_watched or last_ms <= WATCHED_MS_MAX
        end_ms = int(chance.uniform(last_ms if is_watched else 0, duration_s * 1000))
        first_ms = end_ms - last_ms
        for event in made:
            sent_ms = first_ms + event.at_ms + chance.randrange(100) if is_watched else end_ms
            event.at_ms += now_ms + first_ms - (0 if is_watched else TOLD_AFTER_MS)
            visit.events.append((max(0.0, sent_ms / 1000), event))
        return visit
