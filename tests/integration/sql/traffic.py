"""Random but repeatable event rows, as the storage flow writes them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]

PROJECTS = tuple(str(UUID(int=number + 1)) for number in range(3))
PATHS = ("/", "/pricing", "/blog/a", "/blog/b", "/checkout", "/tìm-kiếm", "/it's;here", "/100%")
EVENT_TYPES = (
    *("page_view",) * 4,
    *("click",) * 5,
    *("page_exit",) * 3,
    *("scroll",) * 2,
    "scroll_milestone",
    *("web_vitals",) * 2,
    "page_load",
    "dblclick",
    "custom_event",
)
DEVICES = (
    # device type, viewport width, browser, operating system
    ("desktop", 1440, "Chrome", "Windows"),
    ("desktop", 1024, "Firefox", "Linux"),
    ("tablet", 1025, "Safari", "iOS"),
    ("mobile", 480, "Safari", "iOS"),
    ("mobile", 481, "Chrome", "Android"),
    ("", 0, "", ""),
)
PLACES = (("Vietnam", "VN"), ("Germany", "DE"), ("", ""))
# Days before today: they lie in at least two months, and none is past any limit.
DAYS_AGO = (45, 44, 20, 3, 2, 1)


@dataclass(frozen=True)
class Session:
    """What all events of one session share."""

    project_id: str
    session_id: str
    user_id: str
    anonymous_id: str
    device: tuple[str, int, str, str]
    place: tuple[str, str]


@dataclass(frozen=True)
class Traffic:
    """Rows of `events` in the blocks they are written in. No event is in two blocks."""

    blocks: Sequence[Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [row for block in self.blocks for row in block]

    def of_project(self, project_id: str) -> list[Row]:
        """Rows of one project."""
        return [row for row in self.rows if row["project_id"] == project_id]


def generate_traffic(seed: int, events: int = 6_000, blocks: int = 60) -> Traffic:
    """Events of sessions that are spread over days, pages and blocks."""
    dice = random.Random(seed)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sessions = [_session(dice, project_id) for project_id in PROJECTS for _ in range(70)]
    rows = [_event(dice, number, dice.choice(sessions), today) for number in range(events)]
    cuts = sorted(dice.sample(range(1, events), blocks - 1))
    bounds = zip([0, *cuts], [*cuts, events], strict=True)
    return Traffic([rows[start:end] for start, end in bounds])


def _session(dice: random.Random, project_id: str) -> Session:
    return Session(
        project_id=project_id,
        session_id=str(UUID(int=dice.getrandbits(128), version=4)),
        user_id=dice.choice(["", "", "ann", "bob", "cho"]),
        anonymous_id=dice.choice(["", *(f"visitor-{number}" for number in range(30))]),
        device=dice.choice(DEVICES),
        place=dice.choice(PLACES),
    )


def _event(dice: random.Random, number: int, session: Session, today: datetime) -> dict[str, Any]:
    # Whole minutes now and then, so that hours and days are hit on their edges.
    at = today - timedelta(days=dice.choice(DAYS_AGO))
    at += timedelta(
        milliseconds=dice.choice([dice.randrange(86_400_000), 0, 3_600_000, 86_399_999])
    )
    received_at = today - timedelta(hours=1) + timedelta(milliseconds=number * 50)
    device_type, viewport_width, browser, os = session.device
    event_type = dice.choice(EVENT_TYPES)
    row: dict[str, Any] = {
        "event_id": str(UUID(int=dice.getrandbits(128), version=4)),
        "project_id": session.project_id,
        "session_id": session.session_id,
        "user_id": session.user_id,
        "anonymous_id": session.anonymous_id,
        "event_type": event_type,
        "timestamp": at,
        "received_at": received_at,
        "path": dice.choice(PATHS),
        # Visitors of no known place are those who come directly.
        "utm_source": dice.choice(["", "", "", "news"]) if session.place[0] else "",
        "referrer_domain": dice.choice(["", "www.google.com", "t.co"]) if session.place[0] else "",
        "device_type": device_type,
        "viewport_width": viewport_width,
        "browser": browser,
        "os": os,
        "country": session.place[0],
        "country_code": session.place[1],
        "click_x": None,
        "click_y": None,
        "target_selector": "",
        "target_tag": "",
        "target_text": "",
        "scroll_depth": None,
        "lcp": None,
        "fid": None,
        "inp": None,
        "cls": None,
        "ttfb": None,
        "fcp": None,
        "load_complete": None,
        "time_on_page_ms": None,
        "payload": f'{{"number":{number}}}',
        "source_topic": "gosight.events.raw",
        "source_partition": 0,
        "source_offset": number,
    }
    row.update(_payload(dice, event_type))
    return row


def _payload(dice: random.Random, event_type: str) -> dict[str, Any]:
    if event_type in {"click", "dblclick"}:
        has_place = dice.random() < 0.9
        return {
            "click_x": dice.choice([dice.randrange(200), -5, 40_000]) if has_place else None,
            "click_y": dice.choice([dice.randrange(200), 0, 9, 10]) if has_place else None,
            "target_selector": dice.choice(["", "#buy", "a.more", "button[type='submit']"]),
            "target_tag": dice.choice(["a", "button"]),
            "target_text": dice.choice(["Buy", "Mua ngay", "Buy (3)", ""]),
        }
    if event_type in {"scroll", "scroll_milestone"}:
        return {"scroll_depth": dice.choice([0, 10, 24, 25, 50, 74, 75, 90, 100])}
    if event_type == "page_exit":
        return {
            "scroll_depth": dice.choice([None, 0, 25, 80, 100]),
            "time_on_page_ms": dice.choice([None, 0, dice.randrange(1, 200_000), 4_000_000_000]),
        }
    if event_type == "web_vitals":
        return {
            "lcp": dice.choice([None, dice.randrange(100, 9_000), 70_000]),
            "fid": dice.choice([None, dice.randrange(300)]),
            "inp": dice.choice([None, dice.randrange(600)]),
            "cls": dice.choice([None, dice.random()]),
        }
    if event_type == "page_load":
        return {
            "ttfb": dice.choice([None, dice.randrange(2_000)]),
            "fcp": dice.choice([None, dice.randrange(5_000)]),
            "load_complete": dice.choice([None, dice.randrange(20_000)]),
            # Some browsers know it at load already.
            "lcp": dice.choice([None, None, dice.randrange(100, 9_000)]),
        }
    return {}
