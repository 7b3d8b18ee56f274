"""Posting recorded requests to a gateway, and adding up its answers.

In: `Delivery`s. Out: `Answered`: accepted and rejected events by reason. Requests of one lane (a
session) are sent in order, different lanes at once. A gateway that is busy (429) or away (503) is
asked again after the time it names, a bounded number of times.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from cli.recording import Delivery

LANES_AT_ONCE = 16
ATTEMPTS_MAX = 8
_RETRY_STATUS = frozenset({429, 503})
_RETRY_AFTER_S_MAX = 5.0


class SendingError(Exception):
    """The gateway refuses or does not answer; the text says what it said."""


@dataclass(slots=True)
class Answered:
    """What the gateway said, added up."""

    requests: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, answer: dict[str, Any]) -> None:
        """Add one `IngestResponse`."""
        self.requests += 1
        self.accepted += answer.get("events_accepted", 0)
        self.rejected += answer.get("events_rejected", 0)
        self.reasons.update(item["reason"] for item in answer.get("rejections", ()))


def lanes_of(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """The deliveries of each lane in their order; lanes in order of their first one."""
    lanes: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        lanes.setdefault(delivery.lane, []).append(delivery)
    return list(lanes.values())


async def send_all(
    gateway_url: str,
    key: str,
    deliveries: Sequence[Delivery],
    on_sent: Callable[[int], None] = lambda _events: None,
) -> Answered:
    """Send everything; `on_sent` gets the number of events of each request answered.

    Raises:
        SendingError: a request was refused as a whole, or was not answered after all attempts.
    """
    answered = Answered()
    waiting = iter(lanes_of(deliveries))
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def work() -> None:
            for lane in waiting:
                for delivery in lane:
                    answered.add(await _send(session, gateway_url, key, delivery))
                    on_sent(delivery.event_count)

        async with asyncio.TaskGroup() as group:
            for _ in range(LANES_AT_ONCE):
                group.create_task(work())
    return answered


async def _send(
    session: aiohttp.ClientSession, gateway_url: str, key: str, delivery: Delivery
) -> dict[str, Any]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": delivery.user_agent,
        "X-Forwarded-For": delivery.client_ip,
        "X-GoSight-Key": key,
        **dict(delivery.headers),
    }
    trouble = ""
    for attempt in range(ATTEMPTS_MAX):
        body = delivery.body(key, time.time_ns() // 1_000_000)
        try:
            async with session.post(
                f"{gateway_url}/v1/events", data=body, headers=headers
            ) as answer:
                if answer.status < 300:
                    found: dict[str, Any] = await answer.json()
                    return found
                trouble = f"{answer.status} {(await answer.text())[:200]}"
                if answer.status not in _RETRY_STATUS:
                    raise SendingError(f"the gateway refuses a request: {trouble}")
                wait_s = float(answer.headers.get("Retry-After", 1))
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            trouble, wait_s = f"no answer ({type(error).__name__})", 0.2 * 2**attempt
        await asyncio.sleep(min(wait_s, _RETRY_AFTER_S_MAX))
    raise SendingError(f"the gateway does not take a request: {trouble}")
