"""Made-up visits of a shop, for the load generator.

In: a seed. Out: batches of events in the order one visitor would cause them: a visit starts, pages
are viewed, the mouse moves, something is scrolled and clicked, now and then an error happens. Kinds
and sizes of events are about those of recorded visits; ids are fresh and never repeat. So that
caches see what they would see: 2,000 product pages of which few are popular, a campaign link of its
own for every third visit, some hundred agents on six screens, forty elements a page and links
to all products. And so that detectors find about what they find on a site that works: a link leads
to its page, nearly every button changes something, few pages are slow and few scripts fail.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

_PATHS = ("/", "/products", "/cart", "/checkout", "/help")
_PRODUCTS = 2_000
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{version}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.{version} Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{version}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0",
)
_SCREENS = ((1536, 864), (1920, 1080), (1440, 900), (393, 852), (2560, 1440), (412, 915))
_LANGUAGES = ("en-GB", "de-DE", "fr-FR", "en-US", "vi-VN", "es-ES")
_WORDS = ("Add", "Buy now", "Size", "Colour", "More", "Next", "Save", "Compare", "Reviews")
# What comes next if nothing has to follow, as a page_exit and a page_view follow a link.
_KINDS = (
    ("mouse_move", 34.0),
    ("click", 16.0),
    ("scroll", 16.0),
    ("page_view", 3.0),
    ("input_focus", 7.0),
    ("web_vitals", 5.0),
    ("custom_event", 4.0),
    ("js_error", 0.5),
)
_DEAD_BUTTONS = 0.03
_SLOW_PAGES = 0.05
_HOST = "https://fernhill.example"


@dataclass(slots=True)
class _Visit:
    session_id: str
    anonymous_id: str
    device: dict[str, Any]
    query: str = ""  # Of the campaign that led here; until the next page.
    path: str = "/"
    events_left: int = 0
    due: list[str] = field(default_factory=lambda: ["page_view", "session_start"])  # Last is next.
    link: str = ""  # Where the click before led.
    click_id: str = ""


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
                "device": visit.device,
                "events": [self._event(visit) for _ in range(size)],
            }
            visit.events_left -= size
            if visit.events_left <= 0:
                self._visits[index] = self._new_visit()

    def _new_visit(self) -> _Visit:
        chance = self._random
        width, height = chance.choice(_SCREENS)
        query = ""
        if chance.random() < 1 / 3:
            query = f"?utm_source=news&utm_campaign=c{chance.randint(1, 30)}&click={self._uuid()}"
        return _Visit(
            session_id=self._uuid(),
            anonymous_id=self._uuid(),
            device={
                "user_agent": chance.choice(_AGENTS).format(version=chance.randint(120, 156)),
                "language": chance.choice(_LANGUAGES),
                "screen_width": width,
                "screen_height": height,
                "viewport_width": width,
                "viewport_height": height - 120,
            },
            query=query,
            events_left=chance.randint(10, self.visit_events_max),
        )

    def _path(self) -> str:
        if self._random.random() < 1 / 3:
            return self._random.choice(_PATHS)
        return f"/products/boot-{int(_PRODUCTS * self._random.random() ** 2)}"

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _event(self, visit: _Visit) -> dict[str, Any]:
        if visit.due:
            kind = visit.due.pop()
        else:
            kinds, weights = zip(*_KINDS, strict=True)
            kind = self._random.choices(kinds, weights)[0]
        if kind == "page_view":
            visit.path, visit.link = visit.link or self._path(), ""
        event_id = self._uuid()
        payload = self._payload(kind, visit)
        page = {
            "url": _HOST + visit.path + visit.query,
            "path": visit.path,
            "title": f"Fernhill {visit.path}",
            "referrer": "https://www.google.com/",
        }
        if kind == "click":
            self._follow(visit, event_id, payload["target"])
        elif kind == "page_exit":
            visit.query = ""
        return {
            "event_id": event_id,
            "event_type": kind,
            "timestamp": 0,
            "page": page,
            "payload": payload,
        }

    def _follow(self, visit: _Visit, click_id: str, target: dict[str, Any]) -> None:
        """What the page does after a click."""
        if "href" in target:
            visit.link = target["href"]
            visit.due = ["page_view", "page_exit"]
        elif self._random.random() >= _DEAD_BUTTONS:
            visit.click_id = click_id
            visit.due = ["dom_mutation"]

    def _target(self, visit: _Visit) -> dict[str, Any]:
        """An element of the page's template, or a link to one of the products."""
        if self._random.random() < 0.3:
            path = self._path()
            text = f"Boot {path[-4:]}"
            return {"tag": "a", "selector": "main > ul > li > a.card", "text": text, "href": path}
        template = "product" if visit.path.startswith("/products/") else visit.path
        item = self._random.randint(1, 40)
        return {
            "tag": "button",
            "selector": f"main.{template} > section > button.item-{item}",
            "text": _WORDS[item % len(_WORDS)],
        }

    def _payload(self, kind: str, visit: _Visit) -> dict[str, Any]:
        number = self._random.randint
        target = self._target(visit)
        match kind:
            case "session_start":
                return {"is_new_user": True, "entry_url": _HOST + visit.path + visit.query}
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
            case "dom_mutation":
                return {
                    "mutation_count": number(1, 30),
                    "first_after_ms": number(5, 200),
                    "click_event_id": visit.click_id,
                    "kinds": ["mutation"],
                }
            case "web_vitals":
                is_slow = self._random.random() < _SLOW_PAGES
                return {
                    "ttfb": number(20, 500),
                    "largest_contentful_paint": number(3_001, 6_000)
                    if is_slow
                    else number(200, 2_800),
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
