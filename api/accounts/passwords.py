"""Passwords as Argon2id hashes, a few at a time.

A hash takes a quarter of a second and 64 MiB on purpose; done without bounds, a flood of logins
would be an outage. So they run on a small pool of threads, and callers beyond a bound are refused
at once. Source: RFC 9106, section 4 (second recommended option); api.md, section 2.
"""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.errors import ApiError, ErrorCode

WAITING_MAX = 32


class Passwords:
    """Hashes and checks; `close` it in the end. Tests pass cheap parameters."""

    def __init__(
        self, threads: int, *, memory_kib: int = 65_536, rounds: int = 3, lanes: int = 4
    ) -> None:
        self._hasher = PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=lanes)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._bound = threads + WAITING_MAX
        self._at_work = 0
        # What is checked when there is no account: as long as any other, and never right.
        self._nobody = self._hasher.hash("nobody has this password")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    async def hash(self, password: str) -> str:
        """What is stored of a password.

        Raises:
            ApiError: UNAVAILABLE when too many wait.
        """
        return await self._run(self._hash_now, _normal(password))

    async def is_right(self, stored: str | None, password: str) -> bool:
        """Whether the password is the stored one; without a stored one False, after equal time.

        Raises:
            ApiError: UNAVAILABLE when too many wait.
        """
        matches = await self._run(self._matches_now, stored or self._nobody, _normal(password))
        return matches == "yes" and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether it was hashed with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(stored)

    def _hash_now(self, password: str) -> str:
        return self._hasher.hash(password)

    def _matches_now(self, stored: str, password: str) -> str:
        try:
            self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return "no"
        return "yes"

    async def _run(self, work: object, *values: str) -> str:
        assert callable(work)
        if self._at_work >= self._bound:
            raise ApiError(ErrorCode.UNAVAILABLE, "too many log in at once; try again in seconds")
        self._at_work += 1
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)
        finally:
            self._at_work -= 1
        assert isinstance(result, str)
        return result


def _normal(password: str) -> str:
    """One form for what looks the same: keyboards differ in how they compose characters."""
    return unicodedata.normalize("NFC", password)
