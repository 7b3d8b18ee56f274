"""Jobs on the twin of their book, and commands as real processes."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from api.errors import ApiError
from api.reads import jobs as jobs_module
from api.reads.commands import CommandTooLongError, GosightCommands
from api.reads.jobs import JobFailedError, Jobs, Progress
from api.reads.trying import complaint_of
from connectors.job_book import LOST_AFTER_MS, Job, MemoryJobBook

PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now_ms = 1_795_255_200_000

    def __call__(self) -> int:
        """The time."""
        return self.now_ms


async def until(jobs: Jobs, job: Job, *states: str) -> Job:
    """The job as soon as it is in one of the states."""
    for _ in range(1_000):
        found = await jobs.find(job.project_id, job.id)
        if found is not None and found.state in states:
            return found
        await asyncio.sleep(0)
    raise AssertionError(f"never {states}")


async def test_a_job_tells_how_far_it_is_and_what_it_found() -> None:
    """Running with its steps, then done with its result."""
    book, go_on = MemoryJobBook(), asyncio.Event()
    jobs = Jobs(book, Clock())

    async def work(tell: Progress) -> bytes:
        tell(3, 10)
        await go_on.wait()
        return b'{"found":1}'

    job = await jobs.start(PROJECT, "backtest", work)
    running = await until(jobs, job, "running")
    assert (running.done, running.total) == (3, 10)
    go_on.set()
    done = await until(jobs, job, "done")
    assert (bytes(done.result), done.done, done.total) == (b'{"found":1}', 10, 10)
    assert await jobs.find("another project", job.id) is None


async def test_a_project_has_one_job_and_a_process_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones are refused until one has ended."""
    monkeypatch.setattr(jobs_module, "JOBS_MAX", 2)
    jobs, go_on = Jobs(MemoryJobBook(), Clock()), asyncio.Event()

    async def work(_tell: Progress) -> bytes:
        await go_on.wait()
        return b"null"

    first = await jobs.start("p1", "backtest", work)
    with pytest.raises(ApiError, match="still runs"):
        await jobs.start("p1", "backtest", work)
    await jobs.start("p2", "backtest", work)
    with pytest.raises(ApiError, match="too many"):
        await jobs.start("p3", "backtest", work)
    go_on.set()
    await until(jobs, first, "done")
    await asyncio.sleep(0)
    await jobs.start("p3", "backtest", work)
    await jobs.close()


async def test_failures_are_told_and_lost_jobs_are_found_out() -> None:
    """What the work says, nothing of a bug, and the end of a process that nobody saw."""
    clock = Clock()
    book = MemoryJobBook()
    jobs = Jobs(book, clock)

    async def refused(_tell: Progress) -> bytes:
        raise JobFailedError("no such detector")

    async def broken(_tell: Progress) -> bytes:
        raise RuntimeError("secret")

    async def endless(_tell: Progress) -> bytes:
        await asyncio.Event().wait()
        return b""

    assert (await until(jobs, await jobs.start("p1", "b", refused), "failed")).error == (
        "no such detector"
    )
    found = await until(jobs, await jobs.start("p2", "b", broken), "failed")
    assert "secret" not in found.error
    stopped = await jobs.start("p3", "b", endless)
    await until(jobs, stopped, "running")
    await jobs.close()
    assert "stopped" in (await until(jobs, stopped, "failed")).error
    await book.put(Job("lost", "p4", "b", "running", clock.now_ms, clock.now_ms))
    assert (await jobs.find("p4", "lost")) is not None
    clock.now_ms += LOST_AFTER_MS + 1
    lost = await jobs.find("p4", "lost")
    assert lost is not None
    assert (lost.state, "gone" in lost.error) == ("failed", True)


async def test_a_command_is_run_with_nothing_but_its_environment() -> None:
    """Its JSON comes back; what it does not know it cannot use."""
    said = await GosightCommands({}).run(["version", "--json"], 60)
    assert said.code == 0
    assert json.loads(said.output)
    lines: list[str] = []
    wrong = await GosightCommands({}).run(["no-such-command"], 60, lines.append)
    assert wrong.code == 2
    assert any("no-such-command" in line for line in lines)


async def test_a_command_that_takes_too_long_is_ended() -> None:
    """So is one whose caller goes away."""
    commands = GosightCommands({})
    began = time.monotonic()
    with pytest.raises(CommandTooLongError):
        await commands.run(["version"], 0.001)
    task = asyncio.create_task(commands.run(["version"], 60))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("error: --set a=1: there is no detector a", "--set a=1: there is no detector a"),
        ("error: ClickHouse does not answer at http://u:p@h", "it could not be done"),
        ("", "it could not be done"),
    ],
)
def test_only_words_about_the_change_are_passed_on(text: str, told: str) -> None:
    """Nothing of where the stores are."""
    assert complaint_of(text) == told
