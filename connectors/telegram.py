"""Sending messages to Telegram chats through the Bot API.

In: a chat, HTML text. Out: an `Attempt`. Guarantees: not more than Telegram takes, 1 message a
second to one chat and 30 a second to all; what a 429 asks for (`retry_after`) is told to whoever
keeps the chat's queue; the bot's token is in no error text, log or exception.

Telegram knows no id of a message that was sent before: when the answer to a message is lost, it
arrives twice. Source: alerting.md, section 6; core.telegram.org/bots/api (sendMessage) and
core.telegram.org/bots/faq ("My bot is hitting limits").
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    StreamReader,
    TCPConnector,
)

from connectors.sending import SENT, Attempt, failed, retry

TIMEOUT_S = 10.0
TEXT_LENGTH_MAX = 4096
ANSWER_BYTES_MAX = 64 * 1024
CHAT_INTERVAL_S = 1.0
MESSAGES_PER_S = 30
CHATS_MAX = 10_000
WAIT_S_MAX = 86_400  # As long as a message is tried at all.
# The same message will never be taken: wrong text, no such bot, thrown out, no such chat.
_PERMANENT = frozenset({400, 401, 403, 404})


class _Parameters(msgspec.Struct):
    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


class _Answer(msgspec.Struct):
    ok: bool = False
    description: str = ""
    parameters: _Parameters | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class TelegramSender:
    """Sends; for one event loop, on which it must be made. Close it."""

    def __init__(
        self,
        token: str,
        base_url: str = "https://api.telegram.org",
        *,
        timeout_s: float = TIMEOUT_S,
        chat_interval_s: float = CHAT_INTERVAL_S,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._token = token
        self._url = f"{base_url.rstrip('/')}/bot{token}/sendMessage"
        self._pace = _Pace(chat_interval_s, clock_s, sleep)
        self._session = ClientSession(
            connector=TCPConnector(limit=MESSAGES_PER_S),
            timeout=ClientTimeout(total=timeout_s),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Drop what is open."""
        await self._session.close()

    async def send(self, chat_id: str, thread_id: int | None, text: str) -> Attempt:
        """One attempt, as soon as it is the chat's turn."""
        if not self._token:
            return failed("TELEGRAM_BOT_TOKEN is not set")
        document: dict[str, Any] = {
            "chat_id": chat_id,
            "text": text,
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        if thread_id is not None:
            document["message_thread_id"] = thread_id
        await self._pace.wait(chat_id)
        try:
            async with self._session.post(
                self._url,
                data=msgspec.json.encode(document),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as answer:
                return attempt_of(answer.status, await _read(answer.content))
        except TimeoutError:
            return retry("Telegram does not answer in time")
        except (ClientError, OSError) as error:
            # Not the text of the error: it may hold the URL, and the URL holds the token.
            return retry(f"Telegram does not answer: {type(error).__name__}")


async def _read(content: StreamReader) -> bytes:
    """The whole answer, however many pieces it comes in; no more than is needed of a long one.

    What was taken and is not understood would be sent again.
    """
    body = bytearray()
    while len(body) < ANSWER_BYTES_MAX:
        piece = await content.read(ANSWER_BYTES_MAX - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)


def attempt_of(status: int, body: bytes) -> Attempt:
    """What an answer of the Bot API means."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _Answer(description="not JSON")
    if status == 200 and answer.ok:
        return SENT
    description = answer.description[:200].replace("\0", "")
    told = f"Telegram answered {status}: {description}"
    parameters = answer.parameters or _Parameters()
    if parameters.migrate_to_chat_id is not None:
        return failed(f"{told}; the group is now {parameters.migrate_to_chat_id}", status)
    if status == 429:
        wait_s = min(max(parameters.retry_after or 1.0, 1.0), WAIT_S_MAX)
        return retry(told, status, round(wait_s * 1000))
    if status in _PERMANENT:
        return failed(told, status)
    return retry(told, status)


class _Pace:
    """When the next message may go, to one chat and to all."""

    def __init__(
        self,
        chat_interval_s: float,
        clock_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._chat_interval_s = chat_interval_s
        self._clock_s = clock_s
        self._sleep = sleep
        self._next_of: OrderedDict[str, float] = OrderedDict()
        self._next_s = 0.0

    async def wait(self, chat_id: str) -> None:
        """Take the next free moment of a chat, and wait for it."""
        now_s = self._clock_s()
        at_s = max(now_s, self._next_s, self._next_of.get(chat_id, 0.0))
        self._next_s = max(now_s, self._next_s) + 1 / MESSAGES_PER_S
        self._put(chat_id, at_s + self._chat_interval_s)
        if at_s > now_s:
            await self._sleep(at_s - now_s)

    def _put(self, chat_id: str, next_s: float) -> None:
        self._next_of[chat_id] = next_s
        self._next_of.move_to_end(chat_id)
        if len(self._next_of) > CHATS_MAX:
            self._next_of.popitem(last=False)
