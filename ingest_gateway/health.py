"""Whether this process can do its work now, dependency by dependency.

Kafka and the key store are needed; Redis is not: without it the gateway goes on with local limits
and asks PostgreSQL. Source: deployment.md, section 9 (probes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

CHECK_TIMEOUT_S = 3.0
NEEDED = frozenset({"kafka", "key_store"})

Check = Callable[[], Awaitable[str | None]]  # None, or one sentence why not.


class Readiness:
    """Asks all dependencies at once. `stop` makes the process unready for good."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._is_stopping = False

    def stop(self) -> None:
        """Say no from now on, so that balancers look elsewhere while requests are finished."""
        self._is_stopping = True

    async def lines(self) -> dict[str, str]:
        """`ok` or one sentence by dependency."""
        if self._is_stopping:
            return {"process": "stopping"}
        names = list(self._checks)
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        return dict(zip(names, answers, strict=True))

    @staticmethod
    def is_ready(lines: Mapping[str, str]) -> bool:
        """Whether the dependencies that are needed are there."""
        return all(lines.get(name) == "ok" for name in NEEDED)

    async def _ask(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await self._checks[name]() or "ok"
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT_S:g} s"
