"""Limits of callers and the slowing down of guesses, on buckets in memory and a clock of ours."""

from __future__ import annotations

import pytest

from api.accounts.login_guard import check_attempt, note_failure
from api.errors import ApiError, ErrorCode
from api.rate_limits import PER_CALLER_READS, RULES, RateLimits
from connectors.memory import MemoryTokenBuckets

HOME, OFFICE = "192.0.2.1", "198.51.100.7"
ANN = "ann@example.com"


class Times:
    """Limits on a clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.buckets = MemoryTokenBuckets(lambda: self.now_s)
        self.limits = RateLimits(self.buckets, b"secret", clock=lambda: self.now_s)

    async def fail(self, address: str = HOME, email: str = ANN) -> None:
        """A wrong password, if it is looked at at all."""
        await check_attempt(self.limits, email, address)
        await note_failure(self.limits, email, address)

    async def is_let_in(self, address: str = HOME, email: str = ANN) -> bool:
        """Whether the password would be looked at."""
        try:
            await check_attempt(self.limits, email, address)
        except ApiError as error:
            return (error.code, error.retry_after_s > 0) != (ErrorCode.RATE_LIMITED, True)
        return True


async def test_the_hundred_and_first_read_in_a_minute_is_refused() -> None:
    """A hundred at once, then as they come back; the headers tell it."""
    times = Times()
    allowances = [await times.limits.take(PER_CALLER_READS, "account 1") for _ in range(101)]
    assert [a.is_granted for a in allowances] == [True] * 100 + [False]
    assert allowances[0].headers(1_000_000) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "99",
        "X-RateLimit-Reset": "1001",
    }
    assert allowances[100].headers(1_000_000)["X-RateLimit-Reset"] == "1060"
    assert allowances[100].wait_s == pytest.approx(0.6)
    assert (await times.limits.take(PER_CALLER_READS, "account 2")).is_granted
    times.now_s += 0.6
    assert (await times.limits.take(PER_CALLER_READS, "account 1")).is_granted


def test_limits_are_those_of_the_specification() -> None:
    """5, 10, 60, 100, 1000 a minute."""
    assert sorted(rule.tokens for rule in RULES) == [5, 10, 60, 100, 100, 1000]
    assert {rule.period_s for rule in RULES} == {60}


async def test_names_of_buckets_tell_nobody() -> None:
    """Neither addresses nor e-mails are in Redis."""
    times = Times()
    await times.fail()
    names = list(times.buckets._buckets)
    assert len(names) == 4
    assert not any(ANN in name or HOME in name for name in names)


async def test_without_redis_each_process_counts_for_itself() -> None:
    """Calls go on, limits stay, and Redis is asked again after a pause."""
    times = Times()
    times.buckets.is_away = True
    allowances = [await times.limits.take(PER_CALLER_READS, "a") for _ in range(101)]
    assert [a.is_granted for a in allowances] == [True] * 100 + [False]
    assert times.buckets.calls == 1
    times.buckets.is_away = False
    times.now_s += 1
    assert (await times.limits.take(PER_CALLER_READS, "a")).left == 99


async def test_guessing_gets_slower_and_slower() -> None:
    """From one address: 5 at once, some 30 in the first hour, 60 and a bit in the first day."""
    times = Times()
    counts = {}
    guesses = 0
    for second in range(0, 86_400, 5):
        times.now_s = 1_000.0 + second
        while await times.is_let_in():
            await note_failure(times.limits, ANN, HOME)
            guesses += 1
        counts[second] = guesses
    assert counts[0] == 5
    assert counts[3_595] <= 41
    assert counts[86_395] <= 121


async def test_nobody_is_locked_out_by_somebody_else() -> None:
    """While another address guesses without end, the owner gets in from theirs."""
    times = Times()
    for _ in range(5):
        await times.fail(HOME)
    assert not await times.is_let_in(HOME)
    assert await times.is_let_in(OFFICE)


async def test_many_addresses_leave_the_owner_an_attempt_a_minute_from_anywhere() -> None:
    """Under attack from everywhere a new address still gets in, a guesser slowly."""
    times = Times()
    for number in range(10):
        await times.fail(f"203.0.113.{number}")
    assert await times.is_let_in(OFFICE)
    assert not await times.is_let_in(OFFICE)
    assert await times.is_let_in(HOME)
    assert await times.is_let_in("2001:db8::1")
    assert not await times.is_let_in("2001:db8::2")  # One network is one client.
    assert await times.is_let_in(OFFICE, "bob@example.com")


async def test_an_account_that_does_not_exist_is_guarded_alike() -> None:
    """What is refused tells nothing about who has an account: it goes by the e-mail's text."""
    times = Times()
    for _ in range(5):
        await times.fail(HOME, "nobody@example.com")
    assert not await times.is_let_in(HOME, "nobody@example.com")
