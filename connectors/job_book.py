"""What became of long work that somebody asked for: states of jobs in Redis, for a day.

Key: `job:{project}:{id}`, a JSON document, gone a day after its last change. Any process can tell
the state; the one that does the work writes it again at least every `HEARTBEAT_S`, so that a job
whose process is gone can be told from one that is slow.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.errors import RetryableError

KEPT_S = 86_400  # Source: api.md, section 7.
HEARTBEAT_S = 10.0
LOST_AFTER_MS = 60_000


class Job(msgspec.Struct, frozen=True):
    """`state` is queued, running, done or failed; `done` of `total` steps are behind it."""

    id: str
    project_id: str
    kind: str
    state: str
    created_at_ms: int
    updated_at_ms: int
    done: int = 0
    total: int = 0
    error: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")


class JobBook(Protocol):
    """States of jobs by project and id."""

    async def put(self, job: Job) -> None:
        """Write the state over what was there.

        Raises:
            RetryableError: the store is away.
        """

    async def get(self, project_id: str, job_id: str) -> Job | None:
        """The state as last written; None if there is no such job in the project.

        Raises:
            RetryableError: the store is away.
        """


class RedisJobBook:
    """`JobBook` in Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def put(self, job: Job) -> None:
        """See `JobBook.put`."""
        document = msgspec.json.encode(job).decode()
        try:
            await self._client.set(_key(job.project_id, job.id), document, ex=KEPT_S)
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error

    async def get(self, project_id: str, job_id: str) -> Job | None:
        """See `JobBook.get`."""
        try:
            document: Any = await self._client.get(_key(project_id, job_id))
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
        return None if document is None else msgspec.json.decode(document, type=Job)


class MemoryJobBook:
    """Twin of `RedisJobBook`, for tests."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}

    async def put(self, job: Job) -> None:
        """See `JobBook.put`."""
        self._documents[_key(job.project_id, job.id)] = msgspec.json.encode(job)

    async def get(self, project_id: str, job_id: str) -> Job | None:
        """See `JobBook.get`."""
        document = self._documents.get(_key(project_id, job_id))
        return None if document is None else msgspec.json.decode(document, type=Job)


def _key(project_id: str, job_id: str) -> str:
    return f"job:{project_id}:{job_id}"
