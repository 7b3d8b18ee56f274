"""Structured logs, and the figures of the process itself.

A log line is one JSON object on standard error: `timestamp` (RFC 3339), `level`, `service`,
`version`, `pid`, `event`, and what the call adds (project_id, count, duration_ms ...). Keys,
addresses, bodies, passwords and URLs with queries never appear (`connectors.log_text`). The same
warning is written once a minute and subject (a project, a file ...), with `left_out` for the
lines in between.

`own_process_logs` makes everything else that the process says such a line, too: the logs of
libraries, warnings, uncaught exceptions, and what compiled code writes to standard error.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from prometheus_client import Gauge, Histogram

from connectors.log_limit import LineLimiter
from connectors.log_text import clean_value, exception_name, exception_text

_ENCODER = msgspec.json.Encoder(enc_hook=str)
_LIMITED_LEVELS = frozenset({"warning", "error"})
# What tells apart two lines of one event that are worth a line each.
_SUBJECT_FIELDS = (
    "effect",
    "dependency",
    "worker",
    "logger",
    "about",
    "exception",
    "project_id",
    "rule_id",
)
LOOP_SAMPLE_S = 0.1

BUILD_INFO = Gauge("gosight_build_info", "Always 1; labels tell the build.", ["service", "version"])
MEMORY_LIMIT = Gauge(
    "gosight_process_memory_limit_bytes", "What the process may use: its container's or machine's."
)
LOOP_LAG = Histogram(
    "gosight_event_loop_lag_seconds",
    "How late a task runs that asked to be woken: how long the loop was busy.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


def gosight_version() -> str:
    """The installed version, or 0 when run from a plain checkout."""
    try:
        return version("gosight")
    except PackageNotFoundError:
        return "0"


class LineWriter:
    """Writes whole lines to a file descriptor; a reader that is gone is no reason to fail."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def msg(self, line: str) -> None:
        """Write one line."""
        rest = memoryview((line + "\n").encode("utf-8", "replace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                return

    debug = info = warning = error = critical = log = exception = msg


def configure_logging(service: str, level: str = "info", descriptor: int | None = None) -> None:
    """Send JSON lines to standard error or to `descriptor`; `service` is on each of them."""
    identity = {"service": service, "version": gosight_version(), "pid": os.getpid()}
    limiter = LineLimiter()

    def identify(_logger: Any, _name: str, event: structlog.typing.EventDict) -> Any:
        event.update(identity)
        return event

    def limit(_logger: Any, _name: str, event: structlog.typing.EventDict) -> Any:
        lines_max = event.pop("lines_max", 1)
        if event["level"] in _LIMITED_LEVELS:
            about = tuple(str(event[name]) for name in _SUBJECT_FIELDS if name in event)
            left_out = limiter.admit((event["event"], about), lines_max)
            if left_out is None:
                raise structlog.DropEvent
            if left_out:
                event["left_out"] = left_out
        return event

    writer: Any = structlog.PrintLoggerFactory(sys.stderr)
    if descriptor is not None:
        lines = LineWriter(descriptor)

        def writer(*_: Any) -> LineWriter:
            return lines

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            identify,
            _put_exception,
            _clean,
            limit,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        ),
        logger_factory=writer,
        cache_logger_on_first_use=True,
    )
    BUILD_INFO.labels(service=service, version=gosight_version()).set(1)
    MEMORY_LIMIT.set(memory_limit_bytes())


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The process's logger; `event` is a short snake_case name, the rest are keyword values."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


def _put_exception(
    _logger: Any, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = exception_name(error)
        event["stack"] = exception_text(error)
    return event


def _clean(_logger: Any, _name: str, event: structlog.typing.EventDict) -> Any:
    stack = event.pop("stack", None)
    cleaned = clean_value(event)
    if stack is not None:
        cleaned["stack"] = stack  # Files, lines and names of functions: clean as it is.
    return cleaned


def _render(_logger: Any, _name: str, event: structlog.typing.EventDict) -> str:
    return _ENCODER.encode(dict(event)).decode()


def memory_limit_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """The container's limit of memory, or the machine's memory if there is none."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(int(text), machine)
    return machine


async def watch_event_loop() -> None:
    """Measure, until cancelled, how late this loop wakes a task."""
    while True:
        began_s = time.perf_counter()
        await asyncio.sleep(LOOP_SAMPLE_S)
        LOOP_LAG.observe(max(0.0, time.perf_counter() - began_s - LOOP_SAMPLE_S))
