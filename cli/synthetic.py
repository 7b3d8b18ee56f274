"""Made-up visits of a shop, for the load generator.

In: a seed. Out: batches of events in the order one visitor would cause them: a visit starts, pages
are viewed, the mouse moves, something is scrolled and clicked, now and then an error happens. Kinds
and sizes of events are about those of recorded visits; ids are fresh and never repeat.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

_PATHS = ("/", "/products", "/products/boot", "/products/jacket", "/cart", "/checkout", "/help")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.1 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
_KINDS = (
    ("mouse_move", 30),
    ("click", 20),
    ("scroll", 15),
    ("page_view", 12),
    ("input_focus", 6),
    ("page_exit", 6),
    ("web_vitals", 5),
    ("custom_event", 4),
    ("js_error", 2),
)
_HOST = "https://fernhill.example"


@dataclass(slots=True)
class _Visit:
    session_id: str
    anonymous_id: str
    agent: str
    path: str = "/"
    events_left: int = 0
    is_new: bool = True


@dataclass(slots=True)
class Visitors:
    """Visitors that are on the site at the same time; each batch is of one of them."""

    seed: int
    at_once: int = 200
    visit_events_max: int = 80
    _random: random.Random = field(init=False, repr=False)
    _visits: list[_Visit] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up visits, no secrets.
        self._visits = [self._new_visit() for _ in range(self.at_once)]

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """Batches in the JSON form, without `project_key` and `sent_at`; times are left at 0.

        The sender writes the times, so that building ahead does not make events old.
        """
        while True:
            index = self._random.randrange(len(self._visits))
            visit = self._visits[index]
            yield {
                "sdk_version": "0.1.0-loadgen",
                "anonymous_id": visit.anonymous_id,
                "session_id": visit.session_id,
                "device": {"user_agent": visit.agent, "language": "en-GB", "screen_width": 1536},
                "events": [self._event(visit) for _ in range(size)],
            }
            visit.events_left -= size
            if visit.events_left <= 0:
                self._visits[index] = self._new_visit()

    def _new_visit(self) -> _Visit:
        return _Visit(
            session_id=self._uuid(),
            anonymous_id=self._uuid(),
            agent=self._random.choice(_AGENTS),
            events_left=self._random.randint(10, self.visit_events_max),
        )

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _event(self, visit: _Visit) -> dict[str, Any]:
        if visit.is_new:
            kind = "session_start"
            visit.is_new = False
        else:
            kinds, weights = zip(*_KINDS, strict=True)
            kind = self._random.choices(kinds, weights)[0]
        if kind == "page_view":
            visit.path = self._random.choice(_PATHS)
        return {
            "event_id": self._uuid(),
            "event_type": kind,
            "timestamp": 0,
            "page": {
                "url": _HOST + visit.path,
                "path": visit.path,
                "title": f"Fernhill {visit.path}",
                "referrer": "https://www.google.com/",
            },
            "payload": self._payload(kind, visit),
        }

    def _payload(self, kind: str, visit: _Visit) -> dict[str, Any]:
        number = self._random.randint
        target = {"tag": "button", "selector": f"main > button.item-{number(1, 40)}", "text": "Add"}
        match kind:
            case "session_start":
                return {"is_new_user": True, "entry_url": _HOST + visit.path}
            case "page_view":
                return {"page_title": f"Fernhill {visit.path}", "page_path": visit.path}
            case "page_exit":
                return {"time_on_page_ms": number(500, 90_000), "max_scroll_depth": number(0, 100)}
            case "mouse_move":
                start = number(0, 900)
                return {
                    "positions": [
                        {"x": start + 9 * step, "y": 300 + 4 * step, "timestamp": 50 * step}
                        for step in range(10)
                    ]
                }
            case "click":
                position = {"x": number(0, 1500), "y": number(0, 4000)}
                return {"position": position, "target": target, "button": 0}
            case "scroll":
                percent = number(0, 100)
                return {
                    "scroll_top": percent * 30,
                    "scroll_depth_px": percent * 30 + 800,
                    "scroll_depth_percent": percent,
                    "page_height": 3_800,
                    "direction": "down",
                }
            case "input_focus":
                return {"target": {**target, "tag": "input"}}
            case "web_vitals":
                return {
                    "ttfb": number(20, 900),
                    "largest_contentful_paint": number(200, 6_000),
                    "cumulative_layout_shift": 0.02,
                }
            case "custom_event":
                return {"name": "add_to_cart", "properties": {"sku": f"F{number(100, 999)}"}}
            case _:
                return {
                    "message": f"Cannot read properties of undefined ({number(1, 20)})",
                    "error_type": "TypeError",
                    "filename": _HOST + "/app.js",
                    "lineno": number(1, 900),
                    "colno": number(1, 80),
                }
