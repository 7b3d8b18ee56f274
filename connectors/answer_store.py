"""Answers that may be given again, in Redis: one text under one name, for some time.

What is here may be lost at any moment. Names are the caller's; each has a project in it, see
`api.reads.answer_cache`. Source: deployment.md, section 8.
"""

from __future__ import annotations

from typing import Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.errors import RetryableError


class AnswerStore(Protocol):
    """Texts by name."""

    async def read(self, name: str) -> str | None:
        """The text, or None if there is none (any more).

        Raises:
            RetryableError: it cannot be told now.
        """

    async def write(self, name: str, text: str, ttl_s: int) -> None:
        """Keep a text for so many seconds, in place of what was there.

        Raises:
            RetryableError: it may not be kept.
        """


class RedisAnswerStore:
    """`AnswerStore` in Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def read(self, name: str) -> str | None:
        """See `AnswerStore.read`."""
        try:
            text = cast("str | None", await self._client.get(name))
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
        return text

    async def write(self, name: str, text: str, ttl_s: int) -> None:
        """See `AnswerStore.write`."""
        try:
            await self._client.set(name, text, ex=ttl_s)
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error


class MemoryAnswerStore:
    """Twin of `RedisAnswerStore`, for tests; nothing is forgotten by time."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, int]] = {}
        self.is_away = False

    async def read(self, name: str) -> str | None:
        """See `AnswerStore.read`."""
        if self.is_away:
            raise RetryableError("told so")
        found = self.texts.get(name)
        return None if found is None else found[0]

    async def write(self, name: str, text: str, ttl_s: int) -> None:
        """See `AnswerStore.write`."""
        if self.is_away:
            raise RetryableError("told so")
        self.texts[name] = (text, ttl_s)
