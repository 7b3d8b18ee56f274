"""Live figures in Redis: sessions active in a minute, page views of a path in a minute.

Only absolute values and set members are written, never increments, so a block that is written
twice changes nothing. All of it may be lost: it refills within minutes.

Keys: `realtime:{project}:sessions:{minute}` HyperLogLog of session ids, kept 1 h;
`pageviews:{project}:{path hash}:{minute}` hash of partition -> count, kept 5 min, whose values add
up to the page views. `minute` is minutes since the epoch; the path hash is 16 hex digits of SHA-1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

import redis
from prometheus_client import Counter

from connectors.telemetry import get_logger

SESSIONS_TTL_S = 3_600
PAGE_VIEWS_TTL_S = 300
MINUTE_MS = 60_000

LIVE_FAILURES = Counter(
    "gosight_live_write_failures_total", "Live figures not written because Redis was away."
)


class LiveCounters(Protocol):
    """Where live figures go; writing never fails the caller."""

    def put(
        self,
        sessions: Mapping[tuple[str, int], Iterable[str]],
        page_views: Mapping[tuple[str, str, int], int],
        source: str,
    ) -> None:
        """Write session ids by (project, minute ms) and counts by (project, path, minute ms).

        `source` names the partition whose absolute counts these are.
        """


def path_hash(path: str) -> str:
    """16 hex digits that stand for a path in a key."""
    return hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()[:16]


def page_views_key(project_id: str, path: str, minute_ms: int) -> str:
    """Key of the page views of one path in one minute."""
    return f"pageviews:{project_id}:{path_hash(path)}:{minute_ms // MINUTE_MS}"


def sessions_key(project_id: str, minute_ms: int) -> str:
    """Key of the sessions active in one minute."""
    return f"realtime:{project_id}:sessions:{minute_ms // MINUTE_MS}"


class RedisLiveCounters:
    """Live figures in Redis; an outage is logged once and counted, never raised."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._is_away = False

    def put(
        self,
        sessions: Mapping[tuple[str, int], Iterable[str]],
        page_views: Mapping[tuple[str, str, int], int],
        source: str,
    ) -> None:
        """See `LiveCounters.put`."""
        if not sessions and not page_views:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for (project_id, minute_ms), ids in sessions.items():
            key = sessions_key(project_id, minute_ms)
            pipeline.pfadd(key, *ids)
            pipeline.expire(key, SESSIONS_TTL_S)
        for (project_id, path, minute_ms), count in page_views.items():
            key = page_views_key(project_id, path, minute_ms)
            pipeline.hset(key, source, str(count))
            pipeline.expire(key, PAGE_VIEWS_TTL_S)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            LIVE_FAILURES.inc()
            if not self._is_away:
                self._is_away = True
                get_logger().warning("live_counters_away", reason=type(error).__name__)
        else:
            if self._is_away:
                self._is_away = False
                get_logger().info("live_counters_back")
