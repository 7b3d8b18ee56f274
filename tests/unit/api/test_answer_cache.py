"""Answers that are given again, on a twin of the store and a clock that is set."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from api.period import parse_period
from api.reads.answer_cache import (
    LONG_S,
    SHORT_S,
    TEXT_CHARS_MAX,
    UNWATCHED_MS,
    AnswerCache,
    Question,
    lifetime_s,
)
from connectors.answer_store import MemoryAnswerStore
from connectors.errors import RetryableError

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


def question(first: str, last: str, **changes: Any) -> Question:
    """What a viewer asks about days of Vietnam."""
    period = parse_period(first, last, "Asia/Ho_Chi_Minh", NOW_MS)
    return replace(Question(PROJECT, "VIEWER", period, "pages", "1"), **changes)


OVER = question("2026-11-10", "2026-11-15")
OPEN = question("2026-11-15", "2026-11-21")


class World:
    """A cache, and what is asked of the stores behind it."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.store = MemoryAnswerStore()
        self.cache = AnswerCache(self.store, lambda: self.now_ms)
        self.version = "1"
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def ask(self, asked: Question = OVER, **how: Any) -> tuple[str, bytes]:
        """State and data."""
        found = await self.cache.answer(asked, self._version, self.make, **how)
        return found.state, bytes(found.body)

    async def _version(self) -> str:
        return self.version

    async def make(self) -> Any:
        """An answer that tells how many were made."""
        self.made += 1
        number = self.made
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return {"made": number}


async def test_an_answer_is_given_again_until_something_is_stored() -> None:
    """A period that is over is made anew as soon as its version differs."""
    world = World()
    assert [await world.ask() for _ in range(3)] == [
        ("MISS", b'{"made":1}'),
        ("HIT", b'{"made":1}'),
        ("HIT", b'{"made":1}'),
    ]
    world.version = "2"
    assert await world.ask() == ("MISS", b'{"made":2}')
    assert await world.ask() == ("HIT", b'{"made":2}')


async def test_an_open_period_is_given_for_ten_seconds_whatever_is_stored() -> None:
    """Then only if nothing was, and for five minutes; or made anew if that is wanted."""
    world = World()
    assert (await world.ask(OPEN))[0] == "MISS"
    world.version = "2"
    world.now_ms += UNWATCHED_MS - 1
    assert await world.ask(OPEN) == ("HIT", b'{"made":1}')
    world.now_ms += 1
    assert await world.ask(OPEN) == ("MISS", b'{"made":2}')
    world.now_ms += SHORT_S * 1_000 - 1
    assert await world.ask(OPEN) == ("HIT", b'{"made":2}')
    assert await world.ask(OPEN, wants_new=True) == ("BYPASS", b'{"made":3}')
    assert await world.ask(OPEN) == ("HIT", b'{"made":3}')
    world.now_ms += SHORT_S * 1_000
    assert (await world.ask(OPEN))[0] == "MISS"


@pytest.mark.parametrize(
    ("last", "seconds"),
    [
        ("2026-11-18", LONG_S),
        ("2026-11-19", LONG_S),
        ("2026-11-20", SHORT_S),
        ("2026-11-21", SHORT_S),
    ],
)
async def test_what_ended_before_yesterday_is_kept_longer(last: str, seconds: int) -> None:
    """In the zone of the period; and so the store is told."""
    asked = question("2026-11-10", last)
    assert lifetime_s(asked.period, NOW_MS) == seconds
    world = World()
    await world.ask(asked)
    assert [ttl_s for _text, ttl_s in world.store.texts.values()] == [seconds]


async def test_equal_questions_are_made_once() -> None:
    """A hundred at the same time; the first may go away meanwhile."""
    world = World()
    world.gate.clear()
    waiting = [asyncio.create_task(world.ask()) for _ in range(100)]
    while world.made == 0:
        await asyncio.sleep(0)
    waiting[0].cancel()
    world.gate.set()
    answers = await asyncio.gather(*waiting[1:])
    assert set(answers) == {("MISS", b'{"made":1}')}
    assert world.made == 1


async def test_what_is_shared_is_made_once_a_moment_and_not_kept() -> None:
    """For each project its own."""
    world = World()
    world.gate.clear()

    async def numbers() -> Any:
        shared = [world.cache.share(PROJECT, "lag", world.make) for _ in range(10)]
        return await asyncio.gather(*shared, world.cache.share("other", "lag", world.make))

    waiting = asyncio.create_task(numbers())
    while world.made < 2:
        await asyncio.sleep(0)
    world.gate.set()
    assert [one["made"] for one in await waiting] == [*[1] * 10, 2]
    assert await world.cache.share(PROJECT, "lag", world.make) == {"made": 3}
    assert world.store.texts == {}


async def test_a_failure_is_told_to_all_and_kept_for_none() -> None:
    """The next question is made anew."""
    world = World()
    world.gate.clear()
    world.fault = RetryableError("told so")
    waiting = [asyncio.create_task(world.ask()) for _ in range(3)]
    while world.made == 0:
        await asyncio.sleep(0)
    world.gate.set()
    assert {type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {
        RetryableError
    }
    assert world.store.texts == {}
    world.fault = None
    assert await world.ask() == ("MISS", b'{"made":2}')


async def test_without_the_store_each_answer_is_made() -> None:
    """Neither reading nor writing fails a request."""
    world = World()
    world.store.is_away = True
    assert [state for state, _ in [await world.ask(), await world.ask()]] == ["MISS", "MISS"]


@pytest.mark.parametrize(
    "other",
    [
        replace(OVER, project_id="11111111-2222-4333-8444-555555555555"),
        replace(OVER, role="OWNER"),
        replace(OVER, what="overview"),
        replace(OVER, release="2"),
        question("2026-11-09", "2026-11-15"),
        question("2026-11-10", "2026-11-14"),
        replace(OVER, period=replace(OVER.period, timezone="Asia/Bangkok")),
    ],
    ids=["project", "role", "call", "release", "start", "end", "zone"],
)
async def test_nothing_else_is_given_for_a_question(other: Question) -> None:
    """Whatever an answer depends on makes it another one."""
    world = World()
    await world.ask()
    assert await world.ask(other) == ("MISS", b'{"made":2}')
    assert len(world.store.texts) == 2
    assert all(name.startswith("cache:metrics:") for name in world.store.texts)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[1,"1"', '["a","b",{}]', "null"])
async def test_what_cannot_be_read_is_made_anew(text: str) -> None:
    """Whoever wrote it."""
    world = World()
    world.store.texts[OVER.name] = (text, 1)
    assert await world.ask() == ("MISS", b'{"made":1}')


async def test_a_very_large_answer_is_not_kept() -> None:
    """It is given all the same."""
    world = World()

    async def make() -> str:
        return "x" * TEXT_CHARS_MAX

    async def version() -> str:
        return ""

    found = await world.cache.answer(OVER, version, make)
    assert len(bytes(found.body)) > TEXT_CHARS_MAX
    assert world.store.texts == {}


async def test_closing_gives_up_what_is_being_made() -> None:
    """Whoever waits is told so, and nothing hangs."""
    world = World()
    world.gate.clear()
    waiting = asyncio.create_task(world.ask())
    while world.made == 0:
        await asyncio.sleep(0)
    await world.cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
