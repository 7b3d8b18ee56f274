"""Journeys, paths, request times, people and scores: each query on rows written for it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean, quantiles
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.sql.databases import answers, insert_twice, of_user, rows_of
from tests.recount import times_on_page

pytestmark = pytest.mark.integration

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
START_MS = round(START.timestamp() * 1000)
PERIOD = {"start_ms": START_MS - 86_400_000 * 60, "end_ms": START_MS + 86_400_000}
ANY_PATH = {"start": "", "end": "", "depth": 5}


def an_event(project: str, session: str, kind: str, at_s: float, **more: Any) -> dict[str, Any]:
    """A row of `events`, `at_s` seconds after the start."""
    return {
        "event_id": str(uuid4()),
        "project_id": project,
        "session_id": session,
        "event_type": kind,
        "timestamp": START + timedelta(seconds=at_s),
        "received_at": START + timedelta(days=1),
        "user_id": "",
        "anonymous_id": "",
        "url": "",
        "path": "",
        "page_view_id": "",
        "time_on_page_ms": 0,
        "payload": "{}",
    } | more


def a_view(project: str, session: str, at_s: float, screen: str) -> dict[str, Any]:
    """A page_view of a page key."""
    path = screen.partition("#")[0]
    url = "https://shop.example" + screen
    return an_event(project, session, "page_view", at_s, url=url, path=path)


def write(client: Client, rows: Sequence[dict[str, Any]]) -> None:
    """Deliver the rows in some blocks, each twice."""
    shuffled = list(rows)
    random.Random(5).shuffle(shuffled)
    for start in range(0, len(shuffled), 40):
        insert_twice(client, "events", shuffled[start : start + 40], str(uuid4()))


def test_journey_steps(client: Client) -> None:
    """Equal neighbours are one step, routes in the fragment are pages, anchors are not."""
    project, session = str(uuid4()), str(uuid4())
    screens = ["/", "/", "/a", "/a#top", "/", "/#/cart", "/#/pay", "/#!x"]
    write(
        client,
        [a_view(project, session, number, screen) for number, screen in enumerate(screens)]
        + [an_event(project, session, "click", 1.5, path="/z")],
    )
    found = answers(client, "session_journey", project_id=project, session_id=session)
    assert [(row["step_num"], row["screen"]) for row in found] == [
        (1, "/"),
        (2, "/a"),
        (3, "/"),
        (4, "/#/cart"),
        (5, "/#/pay"),
        (6, "/#!x"),
    ]
    assert [row["occurred_at_ms"] - START_MS for row in found] == [0, 2000, 4000, 5000, 6000, 7000]


def test_a_journey_has_at_most_200_steps(client: Client) -> None:
    """The first ones."""
    project, session = str(uuid4()), str(uuid4())
    write(client, [a_view(project, session, number, f"/{number}") for number in range(230)])
    found = answers(client, "session_journey", project_id=project, session_id=session)
    assert [row["screen"] for row in found] == [f"/{number}" for number in range(200)]


def test_top_paths(client: Client) -> None:
    """Against a recount: each session once a sequence, and how many went on at each page."""
    project, chance = str(uuid4()), random.Random(11)
    journeys = {
        str(uuid4()): [chance.choice("abc") for _ in range(chance.randint(1, 7))] for _ in range(60)
    }
    rows, sequences = [], Counter[tuple[str, ...]]()
    for session, screens in journeys.items():
        rows += [a_view(project, session, at_s, f"/{name}") for at_s, name in enumerate(screens)]
        steps = [name for place, name in enumerate(screens) if screens[place - 1 : place] != [name]]
        sequences.update(
            {
                tuple(f"/{name}" for name in steps[first : first + size])
                for first in range(len(steps))
                for size in range(1, min(5, len(steps) - first) + 1)
            }
        )
    write(client, rows)
    expected = [
        {
            "screens": list(path),
            "sessions": sessions,
            "reached": (reached := [sequences[path[:size]] for size in range(1, len(path) + 1)]),
            "drop_off": [
                pytest.approx(1 - after / before, abs=1e-4) for before, after in pairwise(reached)
            ],
        }
        for path, sessions in sorted(
            sequences.items(), key=lambda item: (-item[1], -len(item[0]), item[0])
        )
        if len(path) > 1
    ]
    for limit in (5, 1_000):
        found = answers(client, "top_paths", project_id=project, **PERIOD, **ANY_PATH, limit=limit)
        assert found == expected[:limit]


def test_api_latency(client: Client) -> None:
    """By method and path without query; no answer and 400 on are errors."""
    project, session, chance = str(uuid4()), str(uuid4()), random.Random(12)
    fast = [chance.randrange(5, 80) for _ in range(101)]
    rows = [
        an_event(
            project,
            session,
            chance.choice(["xhr_request", "fetch_request"]),
            number,
            payload=json.dumps(
                {
                    "duration_ms": ms,
                    "method": chance.choice(["get", "GET"]),
                    "status": 200,
                    "url": f"https://shop.example/api/stock?item={number}",
                }
            ),
        )
        for number, ms in enumerate(fast)
    ]
    rows += [
        an_event(
            project,
            session,
            "fetch_request",
            number,
            payload=json.dumps(
                {"duration_ms": 900, "method": "POST", "status": status, "url": "/api/pay"}
            ),
        )
        for number, status in enumerate((201, 0, 404, 500))
    ]
    write(client, rows)
    asked = {"project_id": project, **PERIOD, "method": "", "path": "", "limit": 10}
    slow, quick = answers(client, "api_latency", **asked)
    assert slow == {
        "method": "POST",
        "path": "/api/pay",
        "requests": 4,
        "latency_ms_p50": 900,
        "latency_ms_p95": 900,
        "errors": 3,
        "error_share": 0.75,
    }
    cuts = quantiles(fast, n=20, method="inclusive")
    assert (quick["method"], quick["path"], quick["requests"]) == ("GET", "/api/stock", 101)
    assert (quick["latency_ms_p50"], quick["latency_ms_p95"]) == (cuts[9], cuts[18])
    assert (quick["errors"], quick["error_share"]) == (0, 0)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api.example/v1/stock?item=1#top", "/v1/stock"),
        ("//api.example/v1/stock", "/v1/stock"),
        ("/v1/stock?to=https://b.example/x", "/v1/stock"),
        ("api/items", "/api/items"),
        ("admin/items?to=https://b.example/x", "/admin/items"),
        ("proxy/https://b.example/x", "/proxy/https://b.example/x"),
        ("items#top", "/items"),
        ("https://api.example", "/"),
        ("https://api.example?path=/x", "/"),
        ("?page=2", "/"),
        ("", "/"),
    ],
)
def test_path_of_a_request(client: Client, url: str, path: str) -> None:
    """The whole path of any address, relative ones too, and / where it has none."""
    project = str(uuid4())
    payload = json.dumps({"duration_ms": 5, "method": "get", "status": 200, "url": url})
    write(client, [an_event(project, str(uuid4()), "fetch_request", 1, payload=payload)])
    asked = {"project_id": project, **PERIOD, "method": "", "path": "", "limit": 10}
    assert [row["path"] for row in answers(client, "api_latency", **asked)] == [path]
    found = answers(client, "api_latency", **asked | {"path": path})
    assert [row["requests"] for row in found] == [1]


def an_exit(project: str, session: str, at_s: float, path: str, time_ms: int) -> dict[str, Any]:
    """A page_exit that measured so long."""
    return an_event(project, session, "page_exit", at_s, path=path, time_on_page_ms=time_ms)


def seconds_on_pages(client: Client, project: str, **period: Any) -> dict[str, float | None]:
    """Seconds on average by page; both queries must say the same."""
    asked = {"project_id": project, **PERIOD, "limit": 1_000} | period
    pages = answers(client, "pages_table", **asked, path="")
    found = {row["path"]: row["avg_seconds"] for row in pages}
    assert {
        row["path"]: row["avg_seconds"] for row in answers(client, "top_pages", **asked)
    } == pytest.approx(found)
    return found


def test_a_view_without_an_exit_lasts_until_the_next(client: Client) -> None:
    """30 minutes at most; the last one is unknown and in no average; the longest exit counts."""
    project, session, other = (str(uuid4()) for _ in range(3))
    write(
        client,
        [
            a_view(project, session, 0, "/"),
            a_view(project, session, 20, "/b"),
            an_exit(project, session, 50, "/b", 30_000),
            an_exit(project, session, 79, "/b", 50_000),
            a_view(project, session, 80, "/c"),
            an_exit(project, session, 81, "/c", 0),
            a_view(project, session, 80 + 3_600, "/d"),
            a_view(project, other, 5, "/"),
        ],
    )
    assert seconds_on_pages(client, project) == {"/": 20, "/b": 50, "/c": 1_800, "/d": None}
    (page,) = answers(client, "pages_table", project_id=project, **PERIOD, path="/c*", limit=9)
    assert (page["median_seconds"], page["p75_seconds"]) == (1_800, 1_800)


def test_an_exit_is_of_the_view_that_it_names(client: Client) -> None:
    """Two tabs with one page: each has its own time."""
    project, session = str(uuid4()), str(uuid4())
    write(
        client,
        [
            a_view(project, session, 0, "/a") | {"page_view_id": "1"},
            a_view(project, session, 10, "/a") | {"page_view_id": "2"},
            an_exit(project, session, 40, "/a", 40_000) | {"page_view_id": "1"},
            an_exit(project, session, 41, "/a", 20_000) | {"page_view_id": "2"},
            an_exit(project, session, 42, "/a", 90_000) | {"page_view_id": "3"},
        ],
    )
    assert seconds_on_pages(client, project) == {"/a": 30}


def test_what_follows_a_period_ends_its_last_view(client: Client) -> None:
    """A visit over midnight is cut in two, its times are not."""
    project, one, other = (str(uuid4()) for _ in range(3))
    write(
        client,
        [
            a_view(project, one, 0, "/a"),
            a_view(project, one, 60, "/b"),
            a_view(project, other, 1, "/c"),
            an_exit(project, other, 70, "/c", 69_000),
        ],
    )
    cut = {"end_ms": START_MS + 30_000}
    assert seconds_on_pages(client, project, **cut) == {"/a": 60, "/c": 69}
    rest = {"start_ms": cut["end_ms"]}
    assert seconds_on_pages(client, project, **rest) == {"/b": None}


@pytest.mark.parametrize("has_ids", [True, False])
def test_times_on_pages_are_those_of_sessions(client: Client, has_ids: bool) -> None:
    """Many views, some of no exit and some of several: as the pages of each session tell it."""
    project, chance = str(uuid4()), random.Random(17)
    rows = []
    for _ in range(40):
        session, at_s = str(uuid4()), chance.randrange(50)
        for number in range(1, chance.randrange(2, 12)):
            screen = chance.choice(["/a", "/b", "/c"])
            named = {"page_view_id": str(number) if has_ids else ""}
            rows.append(a_view(project, session, at_s, screen) | named)
            for _ in range(chance.randrange(3)):
                after_s = at_s + chance.randrange(120)
                time_ms = chance.choice([0, chance.randrange(1, 90_000)])
                rows.append(an_exit(project, session, after_s, screen, time_ms) | named)
            at_s += chance.choice([0, 15, 200, 2_000])
    write(client, rows)
    expected = times_on_page(rows, START, START + timedelta(days=1))
    assert set(expected) == {"/a", "/b", "/c"}
    assert seconds_on_pages(client, project) == {
        path: pytest.approx(mean(times) / 1000) for path, times in expected.items()
    }


def people(client: Client, project: str, **more: Any) -> dict[int, str]:
    """Who each event is, by seconds after the start."""
    asked = {"project_id": project, **PERIOD, "session_id": "", "limit": 1_000} | more
    return {
        (row["timestamp_ms"] - START_MS) // 1000: row["person"]
        for row in answers(client, "event_people", **asked)
    }


def identify(
    project: str, anonymous: str, user: str, at_s: float, traits: dict[str, Any] | None = None
) -> dict[str, Any]:
    """An identify event as storage writes it."""
    return an_event(
        project,
        str(uuid4()),
        "identify",
        at_s,
        anonymous_id=anonymous,
        user_id=user,
        payload=json.dumps({"traits": traits or {}, "user_id": user}),
    )


def links(client: Client, project: str) -> int:
    """How often somebody said who it is."""
    found = rows_of(client, f"SELECT count() FROM identities WHERE project_id = '{project}'")
    return int(found[0][0])


def test_who_an_event_is(client: Client) -> None:
    """Section 7's table: earlier visits join the person, a shared computer changes hands."""
    project = str(uuid4())
    day = 86_400

    def click(anonymous: str, at_s: float, user: str = "") -> dict[str, Any]:
        return an_event(project, str(uuid4()), "click", at_s, anonymous_id=anonymous, user_id=user)

    write(
        client,
        [
            identify(project, "a1", "u1", 100),
            identify(project, "a2", "u1", 100),
            identify(project, "a2", "u2", 200),
            identify(project, "a2", "u1", 300),
            *(click("a1", at_s) for at_s in (50, 150)),
            *(click("a2", at_s) for at_s in (51, 151, 251, 351)),
            click("a3", 60),
            click("a2", 160, "u9"),
            click("a1", 100 - 30 * day),
            click("a1", 99 - 30 * day),
            click("", 70),
        ],
    )
    assert links(client, project) == 4
    found = people(client, project)
    assert {at_s: found[at_s] for at_s in (50, 150)} == {50: "u1", 150: "u1"}
    assert [found[at_s] for at_s in (51, 151, 251, 351)] == ["u1", "u1", "u2", "u1"]
    assert (found[60], found[160], found[70]) == ("a3", "u9", "")
    assert (found[100 - 30 * day], found[99 - 30 * day]) == ("u1", "a1")


def test_who_an_event_is_against_a_recount(client: Client) -> None:
    """Many words of few visitors, some at one moment: then the one of the higher id counts."""
    project, chance = str(uuid4()), random.Random(13)
    days = [day * 86_400 for day in range(-59, 1)]
    said = [
        identify(project, chance.choice("abc"), chance.choice("xyz"), chance.choice(days))
        for _ in range(30)
    ]
    said.append(identify(project, "d", "x", days[40]))
    seen = [
        an_event(project, str(uuid4()), "click", at_s + n, anonymous_id=visitor)
        for n, visitor in enumerate("abcde", 1)
        for at_s in days
    ]
    write(client, said + seen)

    def person(row: dict[str, Any]) -> str:
        words = sorted(
            (one["timestamp"], one["event_id"][19:], one["event_id"][:18], one["user_id"])
            for one in said
            if one["anonymous_id"] == row["anonymous_id"]
        )
        earlier = [word for word in words if word[0] <= row["timestamp"]]
        later = [word for word in words if word[0] <= row["timestamp"] + timedelta(days=30)]
        if not earlier and later:
            earlier = [word for word in words if word[0] == words[0][0]]
        return str(earlier[-1][3] if earlier else row["anonymous_id"])

    found = people(client, project)
    expected = {round((row["timestamp"] - START).total_seconds()): person(row) for row in seen}
    assert {at_s: found[at_s] for at_s in expected} == expected
    assert set(expected.values()) >= {"x", "y", "z", "d", "e"}


def test_people_of_projects_and_sessions_do_not_mix(client: Client) -> None:
    """A visitor id may be known to two sites."""
    one, other, session = str(uuid4()), str(uuid4()), str(uuid4())
    write(
        client,
        [
            identify(one, "a1", "u1", 10),
            an_event(other, session, "click", 20, anonymous_id="a1"),
            an_event(other, str(uuid4()), "click", 30, anonymous_id="a1"),
        ],
    )
    assert people(client, other) == {20: "a1", 30: "a1"}
    assert people(client, other, session_id=session) == {20: "a1"}


def events_of(client: Client, project: str, user: str, **more: Any) -> list[int]:
    """When the events in the list of a user were, in seconds after the start."""
    asked: dict[str, Any] = {"project_id": project, **PERIOD}
    chosen = {"event_type": "click", "session_id": "", "path": "", "cursor_ms": 0}
    chosen |= {"cursor_event_id": "", "limit": 1_000, **of_user(client, asked, user)}
    found = answers(client, "events_list", **asked, **chosen | more)
    return sorted((row["timestamp_ms"] - START_MS) // 1000 for row in found)


def test_events_of_a_user_from_before_are_listed(client: Client) -> None:
    """What the visitors did who were the user then, and nobody else's."""
    project, day = str(uuid4()), 86_400

    def click(visitor: str, at_s: float, user: str = "") -> dict[str, Any]:
        return an_event(project, str(uuid4()), "click", at_s, anonymous_id=visitor, user_id=user)

    write(
        client,
        [
            identify(project, "a1", "u1", 100),
            identify(project, "a2", "u1", 110),
            identify(project, "a2", "u2", 200),
            identify(project, "a2", "u1", 300),
            *(click("a1", at_s) for at_s in (50, 150, 100 - 30 * day, 99 - 30 * day)),
            *(click("a2", at_s) for at_s in (51, 151, 200, 251, 351)),
            click("a1", 52, "u2"),
            click("a4", 53, "u1"),
            click("a4", 54),
            click("", 55),
        ],
    )
    assert events_of(client, project, "u1") == [100 - 30 * day, 50, 51, 53, 150, 151, 351]
    assert events_of(client, project, "u2") == [52, 200, 251]
    assert events_of(client, project, "u3") == []
    assert events_of(client, project, "a4") == []
    assert len(events_of(client, project, "")) == 13
    assert events_of(client, str(uuid4()), "u1") == []


def test_sessions_of_a_user_from_before_are_listed(client: Client) -> None:
    """A session that says nobody is whose its visitor was when it ended, as last revised."""
    project = str(uuid4())
    chosen = dict.fromkeys(("has_error", "has_rage_click", "has_dead_click", "has_replay"), "")
    chosen |= dict.fromkeys(("converted", "country", "device_type", "browser", "path"), "")
    order = {"sort": "started_at", "direction": 1, "cursor_place": 0, "cursor_id": "", "limit": 99}

    def visit(number: int, visitor: str, end_s: int, user: str = "", revision: int = 1) -> None:
        row = {
            "project_id": project,
            "session_id": str(UUID(int=number)),
            "started_at": START + timedelta(seconds=number),
            "ended_at": START + timedelta(seconds=end_s),
            "anonymous_id": visitor,
            "user_id": user,
            "revision": revision,
        }
        insert_twice(client, "sessions", [row], str(uuid4()))

    def found(user: str) -> list[int]:
        asked = {"project_id": project, **PERIOD}
        more = {"utm_source": "", "min_duration_ms": 0, "max_duration_ms": 2**40}
        rows = answers(
            client,
            "sessions_list",
            **asked,
            **chosen | more | order | of_user(client, asked, user),
        )
        return [UUID(row["id"]).int for row in rows]

    write(client, [identify(project, "a1", "u1", 100), identify(project, "a1", "u2", 200)])
    visit(10, "a1", 50)
    visit(20, "a1", 150)
    visit(30, "a1", 190)
    visit(30, "a1", 210, revision=2)
    visit(40, "a1", 60)
    visit(40, "a1", 205, "u2", revision=2)
    visit(50, "a2", 60)
    visit(60, "a2", 70, "u1")
    assert found("u1") == [10, 20, 60]
    assert found("u2") == [30, 40]
    assert found("") == [10, 20, 30, 40, 50, 60]


def test_identify_without_a_visitor_or_a_user_links_nothing(client: Client) -> None:
    """Neither can be looked up; servers identify users without a browser."""
    project = str(uuid4())
    write(client, [identify(project, "", "u1", 1), identify(project, "a1", "", 2)])
    assert rows_of(client, f"SELECT count() FROM identities WHERE project_id = '{project}'") == [
        (0,)
    ]


def test_newest_traits_win_and_secrets_are_left_out(client: Client) -> None:
    """Merged over visitors of one user; late older words change nothing."""
    project = str(uuid4())
    secret = ("password", "card_number", "userPin", "PIN", "pin", "api_token", "clientSecret")
    write(client, [identify(project, "a1", "u1", 50, {"plan": "pro", "age": "7"})])
    write(
        client,
        [
            identify(project, "a2", "u1", 10, {"plan": "free", "city": "Hue", "note": "ü" * 2_000}),
            identify(project, "a2", "u1", 60, {"shipping": "x", **dict.fromkeys(secret, "1")}),
            identify(project, "a2", "u2", 70, {"plan": "other"}),
        ],
    )
    found = answers(client, "user_traits", project_id=project, user_id="u1")
    assert {row["name"]: row["value"] for row in found} == {
        "plan": "pro",
        "age": "7",
        "city": "Hue",
        "note": "ü" * 1_024,
        "shipping": "x",
    }
    assert found[0] == {"name": "shipping", "value": "x", "said_at_ms": START_MS + 60_000}


def test_traits_are_bounded(client: Client) -> None:
    """50 of an event, 50 of a user."""
    project = str(uuid4())
    for at_s in (1, 2):
        traits = {f"t{at_s}-{number}": "v" for number in range(80)}
        write(client, [identify(project, "a1", "u1", at_s, traits)])
    found = answers(client, "user_traits", project_id=project, user_id="u1")
    assert len(found) == 50
    assert all(row["name"].startswith("t2-") for row in found)


def test_project_score(client: Client) -> None:
    """The mean over closed sessions as last revised, and how many they are."""
    project = str(uuid4())

    def a_session(number: int, revision: int, score: int | None) -> dict[str, Any]:
        return {
            "project_id": project,
            "session_id": str(UUID(int=number)),
            "started_at": START,
            "ended_at": START,
            "revision": revision,
            "is_closed": score is not None,
            "experience_score": score,
        }

    rows = [(1, 1, None), (1, 2, 10), (1, 3, 100), (2, 1, 79), (3, 2, None), (3, 1, 50), (4, 1, 0)]
    for row in rows:
        insert_twice(client, "sessions", [a_session(*row)], str(uuid4()))
    (found,) = answers(client, "project_score", project_id=project, **PERIOD)
    assert found == {"closed_sessions": 3, "score": 59.67, "good": 1, "fair": 1, "poor": 1}


def test_rage_click_events_and_error_logs(client: Client) -> None:
    """The same facts under the names of reports."""
    project, session, insight = str(uuid4()), str(uuid4()), str(uuid4())
    insert_twice(
        client,
        "insights",
        [
            {
                "insight_id": insight,
                "project_id": project,
                "session_id": session,
                "insight_type": kind,
                "timestamp": START,
                "ended_at": START + timedelta(seconds=2),
                "target_selector": "#buy",
                "details": '{"click_count":8}',
                "related_event_ids": [session],
            }
            for kind in ("rage_click", "dead_click")
        ],
        str(uuid4()),
    )
    query = "SELECT element_id, click_count, first_click_at, last_click_at FROM rage_click_events"
    (row,) = rows_of(client, f"{query} WHERE project_id = '{project}'")
    assert row[:2] == ("#buy", 8)
    assert row[3] - row[2] == timedelta(seconds=2)
    kinds = ("js_error", "console_error", "resource_error", "unhandled_rejection", "click")
    write(
        client,
        [
            an_event(project, session, kind, number, error_message=kind)
            for number, kind in enumerate(kinds)
        ],
    )
    query = (
        f"SELECT error_message FROM error_logs WHERE project_id = '{project}' ORDER BY occurred_at"
    )
    assert rows_of(client, query) == [(kind,) for kind in kinds[:4]]
