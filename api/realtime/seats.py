"""Who may connect: connections of this process, by account or key and project.

Each process counts its own: an account that reaches several of them may have as many in each.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from api.realtime.limits import RealtimeLimits


class Seats:
    """Counts; `checking` bounds how many connections ask for their access at once."""

    def __init__(self, limits: RealtimeLimits) -> None:
        self._limits = limits
        self._taken: Counter[tuple[str, str]] = Counter()
        self.checking = asyncio.Semaphore(limits.rechecks_at_once)

    def take(self, subject: str, project_id: str) -> bool:
        """One more for this account or key, if it may have it."""
        if self._taken[subject, project_id] >= self._limits.per_subject:
            return False
        self._taken[subject, project_id] += 1
        return True

    def leave(self, subject: str, project_id: str) -> None:
        """One less."""
        self._taken[subject, project_id] -= 1
        if not self._taken[subject, project_id]:
            del self._taken[subject, project_id]
