"""Guessing passwords gets slower and slower, and nobody can lock somebody else out.

Failures count for the pair of e-mail and address: a few a minute, fewer an hour, fewer a day, so
that waits grow the longer it goes on. When an e-mail sees many failures from anywhere, each address
has one attempt a minute left for it: many addresses guess no faster, and its owner gets in from
any other address, a new one too. Whether the account exists makes no difference. Attempts of one
pair are made one after the other, or all that come at once would pass before the first has failed.
Source: api.md, section 1 (auth 10 a minute per address and per e-mail).
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from api.errors import ApiError, ErrorCode
from api.rate_limits import BucketRule, RateLimits
from schemas.client_address import network_of

PAIR_RULES = (
    BucketRule("login-minute", 5, 60),
    BucketRule("login-hour", 20, 3_600),
    BucketRule("login-day", 60, 86_400),
)
EMAIL_RULE = BucketRule("login-email", 10, 60)
STRICT_RULE = BucketRule("login-strict", 1, 60)


class Attempts:
    """Lets one attempt of a pair at a time do its check, its look and its count."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, email: str, address: str) -> asyncio.Lock:
        """To be held meanwhile."""
        return self._locks.setdefault(_pair(email, address), asyncio.Lock())


async def check_attempt(limits: RateLimits, email: str, address: str) -> None:
    """Refuse an attempt that comes too soon, before the password is looked at.

    Raises:
        ApiError: RATE_LIMITED with the seconds to wait.
    """
    pair = _pair(email, address)
    wait_s = 0.0
    for rule in PAIR_RULES:
        wait_s = max(wait_s, await limits.wait_s(rule, pair))
    if wait_s == 0 and await limits.wait_s(EMAIL_RULE, email) > 0:
        wait_s = (await limits.take(STRICT_RULE, pair)).wait_s
    if wait_s > 0:
        raise ApiError(
            ErrorCode.RATE_LIMITED, "too many failed attempts; wait", retry_after_s=wait_s
        )


async def note_failure(limits: RateLimits, email: str, address: str) -> None:
    """Count a wrong password, or an e-mail without an account."""
    pair = _pair(email, address)
    for rule in PAIR_RULES:
        await limits.take(rule, pair)
    await limits.take(EMAIL_RULE, email)


def _pair(email: str, address: str) -> str:
    return f"{email} {network_of(address)}"
