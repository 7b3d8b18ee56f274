"""Telegram messages to a made-up Bot API on a real socket."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from connectors.sending import Attempt, Verdict
from connectors.telegram import CHATS_MAX, TelegramSender, _Pace
from tests.alert_receivers import BOT_OK, HANG, TOKEN, Answer, bot_error, receiver


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """At once."""
        self.now_s += seconds


async def send(
    url: str, *chats: str, thread_id: int | None = None, **settings: Any
) -> list[Attempt]:
    """One message to each chat, one after the other, without waiting."""
    clock = Clock()
    sender = TelegramSender(
        TOKEN, url, **{"timeout_s": 2.0, "clock_s": clock, "sleep": clock.sleep, **settings}
    )
    try:
        return [await sender.send(chat, thread_id, "<b>a</b> &lt;") for chat in chats or ("-100",)]
    finally:
        await sender.close()


async def test_a_message_is_what_the_bot_api_wants() -> None:
    """Path with the token, JSON with chat, HTML text and no preview of links."""
    async with receiver(BOT_OK) as bot:
        (attempt,) = await send(bot.url, "-1001")
        await send(bot.url + "/", "@news", thread_id=7)
    assert attempt == Attempt(Verdict.SENT, 200)
    assert bot.received[0].path == f"/bot{TOKEN}/sendMessage"
    assert bot.received[0].document == {
        "chat_id": "-1001",
        "text": "<b>a</b> &lt;",
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    assert bot.received[1].document["message_thread_id"] == 7


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end() -> None:
    """Half of it is no JSON, and what is not understood is sent again: the chat had it twice."""
    async with receiver(Answer(200, body=BOT_OK.body, piece_bytes=7)) as bot:
        assert await send(bot.url) == [Attempt(Verdict.SENT, 200)]


async def test_too_many_requests_say_how_long() -> None:
    """`retry_after` becomes the time to wait; without one it is a second."""
    async with receiver(
        bot_error(429, "Too Many Requests: retry after 35", retry_after=35),
        bot_error(429, "Too Many Requests"),
        bot_error(429, "Too Many Requests", retry_after=-3),
        bot_error(429, "Too Many Requests", retry_after=20_000),  # A flood; not an hour.
    ) as bot:
        found = await send(bot.url, "1", "2", "3", "4")
    assert {attempt.verdict for attempt in found} == {Verdict.RETRY}
    assert [attempt.wait_ms for attempt in found] == [35_000, 1_000, 1_000, 20_000_000]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (bot_error(400, "Bad Request: chat not found"), Verdict.FAILED),
        (bot_error(401, "Unauthorized"), Verdict.FAILED),
        (bot_error(403, "Forbidden: bot was kicked from the group chat"), Verdict.FAILED),
        (bot_error(404, "Not Found"), Verdict.FAILED),
        (bot_error(500, "Internal Server Error"), Verdict.RETRY),
        (Answer(502, body=b"<html>bad gateway"), Verdict.RETRY),
        (Answer(200, body=b"not json"), Verdict.RETRY),
        (Answer(200, body=b'{"ok":false}'), Verdict.RETRY),
        (Answer(200, body=b'{"ok":true' + b" " * 200_000), Verdict.RETRY),
        (Answer(502, body=b'{"ok":false,"description":"caf\xe9"}'), Verdict.RETRY),
        (Answer(502, body=b'{"ok":false,"of":' + b"[" * 20_000), Verdict.RETRY),
        (Answer(400, body=b'{"ok":false,"description":"a\\u0000b"}'), Verdict.FAILED),
        (Answer(closes=True), Verdict.RETRY),
    ],
)
async def test_answers_are_understood(answer: Answer, verdict: Verdict) -> None:
    """What will never go is told from what may go later."""
    async with receiver(answer) as bot:
        (attempt,) = await send(bot.url)
    assert attempt.verdict is verdict
    assert TOKEN not in attempt.error
    assert "\0" not in attempt.error  # PostgreSQL could not keep what became of the message.


async def test_a_group_that_moved_is_named() -> None:
    """A group that became a supergroup has a new id, which the error tells."""
    answer = bot_error(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-100777)
    async with receiver(answer) as bot:
        (attempt,) = await send(bot.url)
    assert attempt.verdict is Verdict.FAILED
    assert "-100777" in attempt.error


async def test_the_token_is_never_told() -> None:
    """Not by a server that is away, hangs or has no name."""
    async with receiver(HANG) as bot:
        attempts = await send(bot.url, timeout_s=0.2)
        url = bot.url
    attempts += await send(url)
    attempts += await send("http://nobody.invalid")
    for attempt in attempts:
        assert attempt.verdict is Verdict.RETRY
        assert TOKEN not in attempt.error


async def test_without_a_token_nothing_is_sent() -> None:
    """It fails at once, and says which setting is missing."""
    async with receiver(BOT_OK) as bot:
        sender = TelegramSender("", bot.url)
        attempt = await sender.send("1", None, "x")
        await sender.close()
    assert attempt.verdict is Verdict.FAILED
    assert "TELEGRAM_BOT_TOKEN" in attempt.error
    assert bot.received == []


async def paced(chats: list[str]) -> list[float]:
    """When each message may go, in seconds after the first."""
    clock = Clock()
    moments: list[float] = []

    async def sleep(seconds: float) -> None:
        moments[-1] = clock.now_s + seconds - 100.0

    pace = _Pace(1.0, clock, sleep)
    for chat in chats:
        moments.append(0.0)
        await pace.wait(chat)
    return moments


async def test_one_chat_gets_one_message_a_second() -> None:
    """Messages asked for at one moment go one second apart."""
    assert await paced(["a", "a", "a"]) == [0.0, 1.0, 2.0]


async def test_all_chats_together_get_thirty_a_second() -> None:
    """In any second not more than thirty begin, and one chat does not hold the others up."""
    moments = await paced([f"chat {number}" for number in range(90)])
    assert moments[-1] == pytest.approx(89 / 30)
    for start in moments:
        assert sum(start <= moment < start + 0.999 for moment in moments) <= 30


async def test_what_is_remembered_of_chats_is_bounded() -> None:
    """Chats that were written to long ago are forgotten."""
    clock = Clock()
    pace = _Pace(1.0, clock, clock.sleep)
    for number in range(CHATS_MAX + 5):
        await pace.wait(str(number))
    assert len(pace._next_of) == CHATS_MAX


async def test_messages_to_one_chat_do_not_overlap_in_time() -> None:
    """Callers that come together are let through one a second."""
    async with receiver(BOT_OK) as bot:
        sender = TelegramSender(TOKEN, bot.url, chat_interval_s=0.05)
        await asyncio.gather(*(sender.send("1", None, str(number)) for number in range(4)))
        await sender.close()
    moments = [got.at_s for got in bot.received]
    assert all(later - earlier > 0.03 for earlier, later in itertools.pairwise(moments))
