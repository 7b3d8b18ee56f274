"""Long work in the background: started by one call, asked about by another.

A process does at most `JOBS_MAX` at a time, waiting ones included, and one of each project; their
states are in the job book, where every process finds them. A job whose process is gone is told as
failed. `close` ends what still runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec

from api.errors import ApiError, ErrorCode
from connectors.errors import ConnectorError
from connectors.job_book import HEARTBEAT_S, LOST_AFTER_MS, Job, JobBook
from connectors.telemetry import get_logger

JOBS_MAX = 10

Progress = Callable[[int, int], None]
Work = Callable[[Progress], Awaitable[bytes]]


class JobFailedError(Exception):
    """The work did not succeed; the text is for whoever asked."""


class Jobs:
    """Starts jobs and tells of them."""

    def __init__(self, book: JobBook, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._now_ms = now_ms
        self._running: dict[str, asyncio.Task[None]] = {}  # By project.

    async def start(self, project_id: str, kind: str, work: Work) -> Job:
        """Begin; `work` gives the result as JSON and may tell how far it is.

        Raises:
            ApiError: RATE_LIMITED while the project has one, or all places are taken.
            RetryableError: the job book is away.
        """
        if project_id in self._running:
            raise ApiError(ErrorCode.RATE_LIMITED, "the project has a job that still runs")
        if len(self._running) >= JOBS_MAX:
            raise ApiError(ErrorCode.RATE_LIMITED, "too many jobs are running; try again later")
        now_ms = self._now_ms()
        job = Job(str(uuid4()), project_id, kind, "queued", now_ms, now_ms)
        task = asyncio.create_task(self._run(job, work))
        self._running[project_id] = task
        task.add_done_callback(lambda _task: self._running.pop(project_id, None))
        try:
            await self._book.put(job)
        except ConnectorError:
            task.cancel()
            raise
        return job

    async def find(self, project_id: str, job_id: str) -> Job | None:
        """The job as it is now."""
        job = await self._book.get(project_id, job_id)
        if job is None or job.state not in {"queued", "running"}:
            return job
        if self._now_ms() - job.updated_at_ms > LOST_AFTER_MS:
            lost = "the process that did it is gone; start it again"
            return msgspec.structs.replace(job, state="failed", error=lost)
        return job

    async def close(self) -> None:
        """End what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work) -> None:
        done = total = 0

        def tell(now_done: int, now_total: int) -> None:
            nonlocal done, total
            done, total = now_done, now_total

        async def beat() -> None:
            while True:
                await self._put(job, "running", done, total)
                await asyncio.sleep(min(HEARTBEAT_S, 1.0))

        heart = asyncio.create_task(beat())
        error, result = "", b"null"
        try:
            result = await work(tell)
        except JobFailedError as fault:
            error = str(fault)
        except asyncio.CancelledError:
            error = "the process that did it was stopped; start it again"
        except Exception:
            # A bug ends in the log, and in the job: nobody waits for this task.
            get_logger().exception("job_failed", kind=job.kind)
            error = "it could not be done"
        heart.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await heart
        if not error:
            done = total = max(done, total)
        await self._put(job, "failed" if error else "done", done, total, error, result)

    async def _put(
        self,
        job: Job,
        state: str,
        done: int,
        total: int,
        error: str = "",
        result: bytes = b"null",
    ) -> None:
        changed = msgspec.structs.replace(
            job,
            state=state,
            updated_at_ms=self._now_ms(),
            done=done,
            total=total,
            error=error,
            result=msgspec.Raw(result),
        )
        try:
            await self._book.put(changed)
        except ConnectorError as fault:
            get_logger().warning("job_not_told", kind=job.kind, error=str(fault))
