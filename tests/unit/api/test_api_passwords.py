"""Passwords: equal time, few at once, renewed parameters."""

from __future__ import annotations

import asyncio
import time

from api.accounts.passwords import WAITING_MAX, Passwords
from api.errors import ApiError, ErrorCode


def cheap(threads: int = 1, rounds: int = 1) -> Passwords:
    """Hashes that take a millisecond."""
    return Passwords(threads, memory_kib=64, rounds=rounds, lanes=1)


async def test_a_password_is_right_or_wrong() -> None:
    """The right one is, others are not; nobody's never is, not even its own."""
    passwords = cheap()
    stored = await passwords.hash("correct horse battery")
    assert "$argon2id$" in stored
    assert await passwords.is_right(stored, "correct horse battery")
    assert not await passwords.is_right(stored, "correct horse batterz")
    assert not await passwords.is_right(None, "nobody has this password")
    assert not await passwords.is_right("no hash at all", "x")
    passwords.close()


async def test_one_spelling_of_the_same_characters() -> None:
    """Composed and decomposed accents are the same password."""
    passwords = cheap()
    stored = await passwords.hash("caf\u00e9 caf\u00e9 caf\u00e9")
    assert await passwords.is_right(stored, "cafe\u0301 cafe\u0301 cafe\u0301")
    passwords.close()


async def test_hashes_of_other_parameters_are_told() -> None:
    """After the parameters change, a login renews the hash."""
    before, after = cheap(), cheap(rounds=2)
    stored = await before.hash("correct horse battery")
    assert not before.is_outdated(stored)
    assert after.is_outdated(stored)
    before.close()
    after.close()


async def test_a_missing_account_takes_as_long_as_a_wrong_password() -> None:
    """Both do the same hash: the medians of their work differ by less than a third."""
    passwords = Passwords(1, memory_kib=8_192, rounds=2, lanes=1)
    stored = await passwords.hash("correct horse battery")
    times: dict[str | None, list[float]] = {stored: [], None: []}
    for _ in range(9):
        for given, spent in times.items():
            began = time.process_time()
            await passwords.is_right(given, "wrong horse battery")
            spent.append(time.process_time() - began)
    wrong, missing = (sorted(spent)[4] for spent in times.values())
    assert abs(wrong - missing) < 0.34 * max(wrong, missing)
    passwords.close()


async def test_a_rush_is_refused_and_not_queued_without_end() -> None:
    """Beyond threads and waiting callers, callers are told to come again."""
    passwords = cheap()
    answers = await asyncio.gather(
        *(passwords.hash("correct horse battery") for _ in range(WAITING_MAX + 10)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, ApiError)]
    assert len(refused) == 9
    assert {error.code for error in refused} == {ErrorCode.UNAVAILABLE}
    assert await passwords.hash("correct horse battery")
    passwords.close()


async def test_the_event_loop_goes_on_while_a_password_is_hashed() -> None:
    """Hashing is done elsewhere."""
    passwords = Passwords(1, memory_kib=32_768, rounds=3, lanes=1)
    work = asyncio.create_task(passwords.hash("correct horse battery"))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3
    passwords.close()
