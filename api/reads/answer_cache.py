"""Answers about a period, given again while they hold, and made once however many ask.

In: who asks what, and how it is made. Out: the JSON of the data, and whether it was there already.
The caller was checked before; the name holds all that an answer depends on, so none is given to
another project or role. An answer holds until something of its period is stored, which the period's
version tells, and an hour or five minutes at most; that of a period which is not over is not looked
after for some seconds, or a busy site would never be given one again. Equal questions at the same
time are one: the first makes the answer, the others wait for it. Without Redis each is made anew.
Source: api.md, section 1.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from prometheus_client import Counter

from api.period import Period
from connectors.answer_store import AnswerStore
from connectors.errors import RetryableError

SHORT_S = 300
LONG_S = 3_600
# A period that is not over changes all the time.
UNWATCHED_MS = 10_000
# Larger ones cost more to keep than to make.
TEXT_CHARS_MAX = 512 * 1024
ANSWERS = Counter(
    "gosight_api_cache_answers_total",
    "Answers about a period: hit, miss, shared (with an equal question), bypass.",
    ["result"],
)
AWAY = Counter(
    "gosight_api_cache_failures_total", "Times that the cache could not be read or written."
)
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    made_ms: int
    version: str
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, when it was made, and whether it was there: HIT, MISS or BYPASS."""

    body: msgspec.Raw
    made_ms: int
    state: str


@dataclass(frozen=True, slots=True)
class Question:
    """All that an answer depends on. `role` is a name; `what` is the call with its parameters."""

    project_id: str
    role: str
    period: Period
    what: str
    release: str

    @property
    def name(self) -> str:
        """Under which the answer is kept."""
        span = (self.period.start_ms, self.period.end_ms, self.period.timezone)
        text = _ENCODER.encode((self.release, self.role, span, self.what))
        return f"cache:metrics:{self.project_id}:{hashlib.sha256(text).hexdigest()}"


class AnswerCache:
    """One a process; `now_ms` is the wall clock."""

    def __init__(self, store: AnswerStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._flights: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def answer(
        self,
        question: Question,
        version: Callable[[], Awaitable[str]],
        make: Callable[[], Awaitable[Any]],
        *,
        wants_new: bool = False,
    ) -> Found:
        """The answer to a question; `wants_new` makes it anew.

        `version` differs after anything of the period was stored. Raises what they raise.
        """
        kind = "new" if wants_new else "any"
        found: Found
        found, is_first = await self._join(
            (question.name, kind), lambda: self._find(question, version, make, wants_new)
        )
        ANSWERS.labels(found.state.lower() if is_first else "shared").inc()
        return found

    async def share(self, project_id: str, what: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """What `make` gives, made once for all who ask at that moment and kept for nobody else."""
        made, _is_first = await self._join((project_id, what), make)
        return made

    async def _join(
        self, key: tuple[str, str], make: Callable[[], Awaitable[Any]]
    ) -> tuple[Any, bool]:
        """What is being made under a key, and whether it is this call that began it."""
        flight = self._flights.get(key)
        is_first = flight is None
        if flight is None:
            flight = asyncio.create_task(_made(make))
            self._flights[key] = flight
            flight.add_done_callback(lambda landed: self._land(key, landed))
        # Whoever goes away leaves the answer to the others.
        return await asyncio.shield(flight), is_first

    async def close(self) -> None:
        """Give up what is being made."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _land(self, key: tuple[str, str], landed: asyncio.Task[Any]) -> None:
        self._flights.pop(key, None)
        if not landed.cancelled():
            landed.exception()  # Somebody may have waited for it, or nobody any more.

    async def _find(
        self,
        question: Question,
        version: Callable[[], Awaitable[str]],
        make: Callable[[], Awaitable[Any]],
        wants_new: bool,
    ) -> Found:
        now_ms = self._now_ms()
        ttl_s = lifetime_s(question.period, now_ms)
        kept = None if wants_new else await self._read(question.name)
        age_ms = now_ms - kept.made_ms if kept else -1
        if kept and question.period.end_ms > now_ms and 0 <= age_ms < UNWATCHED_MS:
            return Found(kept.body, kept.made_ms, "HIT")
        # Before the answer is made: what is stored meanwhile makes it old at once.
        current = await version()
        if kept and kept.version == current and 0 <= age_ms < ttl_s * 1_000:
            return Found(kept.body, kept.made_ms, "HIT")
        body = msgspec.Raw(_ENCODER.encode(await make()))
        await self._write(question.name, Kept(now_ms, current, body), ttl_s)
        return Found(body, now_ms, "BYPASS" if wants_new else "MISS")

    async def _read(self, name: str) -> Kept | None:
        try:
            text = await self._store.read(name)
        except RetryableError:
            AWAY.inc()
            return None
        try:
            return None if text is None else msgspec.json.decode(text, type=Kept)
        except (msgspec.DecodeError, ValueError):
            return None  # Written by nobody we know.

    async def _write(self, name: str, kept: Kept, ttl_s: int) -> None:
        text = _ENCODER.encode(kept).decode()
        if len(text) > TEXT_CHARS_MAX:
            return
        try:
            await self._store.write(name, text, ttl_s)
        except RetryableError:
            AWAY.inc()


async def _made(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()


def lifetime_s(period: Period, now_ms: int) -> int:
    """For how long an answer may be given: longer if the period ended before yesterday."""
    zone = ZoneInfo(period.timezone)
    yesterday = datetime.fromtimestamp(now_ms / 1000, zone).date() - timedelta(days=1)
    began_ms = datetime.combine(yesterday, time.min, tzinfo=zone).timestamp() * 1000
    return LONG_S if period.end_ms <= began_ms else SHORT_S
