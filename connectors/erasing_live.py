"""Erasing from Redis what live views, newest insights and jobs hold of sessions or a project.

In: a project, and ids. Out: how many keys and entries are gone. Everything here may be repeated.
What names nobody (minute counts, page views, buckets) stays until it expires, within an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import redis

from connectors.errors import RetryableError
from connectors.live_results import documents_key, recent_key, state_key

_AT_ONCE = 500


class ErasingLive:
    """One client; connects at first use."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=5.0, socket_connect_timeout=2.0, decode_responses=True
        )

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def erase_sessions(
        self, project_id: str, session_ids: Sequence[str], names: Collection[str]
    ) -> int:
        """Erase states, newest insights, results of jobs of these sessions, and kept answers.

        `names` are further ids that a result of a job must not hold. Kept answers are counts with
        the visitor in them: all of the project are made anew.
        """
        count = 0
        for start in range(0, len(session_ids), _AT_ONCE):
            keys = [state_key(id_) for id_ in session_ids[start : start + _AT_ONCE]]
            own = [key for key, owner in zip(keys, self._owners(keys), strict=True)
                   if owner == project_id]  # fmt: skip
            count += self._delete(own)
        sessions = set(session_ids)
        gone = [
            insight_id
            for insight_id, document in self._hash(documents_key(project_id)).items()
            if any(id_ in document for id_ in sessions)
        ]
        if gone:
            count += int(self._guarded(lambda: self._redis.hdel(documents_key(project_id), *gone)))
            self._guarded(lambda: self._redis.zrem(recent_key(project_id), *gone))
        told = [*sessions, *(f'"{name}"' for name in names)]
        for key in self._scan(f"job:{project_id}:*"):
            text = self._text(key)
            if any(name in text for name in told):
                count += self._delete([key])
        self._delete(list(self._scan(f"cache:metrics:{project_id}:*")))
        return count

    def erase_project(self, project_id: str, session_ids: Sequence[str]) -> int:
        """Erase every key of a project."""
        count = self.erase_sessions(project_id, session_ids, ())
        return count + self._delete(list(self._scan(f"*{project_id}*")))

    def _owners(self, keys: Sequence[str]) -> Sequence[str | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key, "project_id")
        found: Sequence[str | None] = self._guarded(pipeline.execute)
        return found

    def _hash(self, key: str) -> dict[str, str]:
        found: dict[str, str] = self._guarded(lambda: self._redis.hgetall(key))
        return found

    def _text(self, key: str) -> str:
        found: str | None = self._guarded(lambda: self._redis.get(key))
        return found or ""

    def _scan(self, pattern: str) -> Iterator[str]:
        yield from self._guarded(lambda: list(self._redis.scan_iter(pattern, count=1_000)))

    def _delete(self, keys: Sequence[str]) -> int:
        return int(self._guarded(lambda: self._redis.delete(*keys))) if keys else 0

    @staticmethod
    def _guarded(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (redis.RedisError, OSError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
