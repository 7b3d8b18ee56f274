"""Live sessions and the newest insights in Redis, for views that refresh by the second.

Keys: `session:{session}:state` hash, absolute values, replaced by a newer revision only, gone 30
minutes after the session's last event; `insights:{project}:recent` sorted set of insight ids by
time, the newest 200, and `insights:{project}:recent:documents` hash of id -> JSON, both kept a day;
channel `realtime:{project}:insights`: each insight once when it becomes one of the newest, and
previews with `"provisional":true`. Source: sessions.md, section 9; detectors.md, section 1.2.

All of it may be lost: it refills from the topics, as far as they are read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import redis

from connectors.live_counters import LIVE_FAILURES
from connectors.telemetry import get_logger

SESSION_TTL_MS = 30 * 60_000
RECENT_MAX = 200
RECENT_TTL_S = 86_400
# A server that hangs costs half a second a call: not more often than this.
AWAY_PAUSE_S = 2.0

# KEYS: state. ARGV: project, revision, milliseconds to live, field, value, ...
# Session ids come from browsers: one project must not write over another's session.
_PUT_SESSION = """
local known = redis.call('HMGET', KEYS[1], 'project_id', 'revision')
if known[1] and known[1] ~= ARGV[1] then return 0 end
if known[2] and tonumber(known[2]) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'project_id', ARGV[1], 'revision', ARGV[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
# KEYS: ids, documents. ARGV: channel, id, time, document, how many are kept, seconds to live.
_PUT_INSIGHT = """
local is_new = redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[5])
if over > 0 then
    redis.call('HDEL', KEYS[2], unpack(redis.call('ZRANGE', KEYS[1], 0, over - 1)))
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[6])
if is_new == 1 and redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    redis.call('PUBLISH', ARGV[1], ARGV[4])
end
return is_new
"""
# KEYS: ids. ARGV: channel, id, document. What is decided already needs no preview.
_PREVIEW_INSIGHT = """
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then return 0 end
return redis.call('PUBLISH', ARGV[1], ARGV[3])
"""


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session as it is now; `fields` are those of the hash beside project and revision."""

    project_id: str
    session_id: str
    revision: int
    last_event_at_ms: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LiveInsight:
    """An insight, or the preview of one; `document` is JSON."""

    project_id: str
    insight_id: str
    at_ms: int
    document: bytes
    is_preview: bool


class LiveResults(Protocol):
    """Where live sessions and insights go; writing never fails the caller."""

    def put(self, sessions: Sequence[LiveSession], insights: Sequence[LiveInsight]) -> None:
        """Write what is newer than what is there; sessions that are over are left out."""


def state_key(session_id: str) -> str:
    """Key of a session's state."""
    return f"session:{session_id}:state"


def recent_key(project_id: str) -> str:
    """Key of the ids of a project's newest insights."""
    return f"insights:{project_id}:recent"


def documents_key(project_id: str) -> str:
    """Key of the newest insights themselves."""
    return f"{recent_key(project_id)}:documents"


def channel(project_id: str) -> str:
    """Where a project's insights are announced."""
    return f"realtime:{project_id}:insights"


class RedisLiveResults:
    """Live results in Redis; an outage is logged once and counted, never raised."""

    def __init__(
        self, url: str, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._put_session = self._redis.register_script(_PUT_SESSION)
        self._put_insight = self._redis.register_script(_PUT_INSIGHT)
        self._preview_insight = self._redis.register_script(_PREVIEW_INSIGHT)
        self._clock_ms = clock_ms
        self._away_since_s: float | None = None

    def put(self, sessions: Sequence[LiveSession], insights: Sequence[LiveInsight]) -> None:
        """See `LiveResults.put`."""
        now_ms = self._clock_ms()
        live = [s for s in sessions if s.last_event_at_ms + SESSION_TTL_MS > now_ms]
        if not live and not insights:
            return
        is_away = self._away_since_s is not None
        if is_away and time.monotonic() - (self._away_since_s or 0.0) < AWAY_PAUSE_S:
            LIVE_FAILURES.inc()
            return
        pipeline = self._redis.pipeline(transaction=False)
        for insight in insights:  # First: somebody may be waiting for them.
            self._add_insight(pipeline, insight)
        for session in live:
            self._add_session(pipeline, session, now_ms)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            LIVE_FAILURES.inc()
            if not is_away:
                get_logger().warning("live_results_away", reason=type(error).__name__)
            self._away_since_s = time.monotonic()
        else:
            if is_away:
                self._away_since_s = None
                get_logger().info("live_results_back")

    def _add_session(self, pipeline: redis.client.Pipeline, session: LiveSession, now: int) -> None:
        ttl_ms = min(SESSION_TTL_MS, session.last_event_at_ms + SESSION_TTL_MS - now)
        fields = [part for pair in session.fields.items() for part in pair]
        self._put_session(
            keys=[state_key(session.session_id)],
            args=[session.project_id, session.revision, ttl_ms, *fields],
            client=pipeline,
        )

    def _add_insight(self, pipeline: redis.client.Pipeline, insight: LiveInsight) -> None:
        project_id = insight.project_id
        if insight.is_preview:
            self._preview_insight(
                keys=[recent_key(project_id)],
                args=[channel(project_id), insight.insight_id, insight.document],
                client=pipeline,
            )
            return
        self._put_insight(
            keys=[recent_key(project_id), documents_key(project_id)],
            args=[
                channel(project_id),
                insight.insight_id,
                insight.at_ms,
                insight.document,
                RECENT_MAX,
                RECENT_TTL_S,
            ],
            client=pipeline,
        )
