"""Everything a process says, as JSON lines: also what is not said through our logger.

In: a process that has just begun. Effects: the standard logging of libraries, warnings, exceptions
that nobody caught (in the main thread, in other threads, in destructors) and every line that
compiled code (librdkafka, gRPC, the dataflow engine) writes to file descriptor 2 become lines of
our logger, once a minute each. Our own lines go straight to where standard error led before, so
that a crash loses none of them; a thread reads the others from a pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

from connectors.telemetry import configure_logging, get_logger

FOREIGN_LINES_MAX = 30  # A minute, of lines whose origin is not known.
LINE_BYTES_MAX = 8_192
_DRAIN_S = 1.0
# %3|1700000000.123|FAIL|rdkafka#producer-1| [thrd:host:port/bootstrap]: host:port/bootstrap: text
_KAFKA_LINE = re.compile(r"%(\d)\|[\d.]+\|(\w+)\|([^|]*)\|\s*(?:\[thrd:[^\]]*\]:\s*)?(.*)")
_own_descriptor: int | None = None


def own_process_logs(service: str, level: str = "info") -> None:
    """Take over all that this process says; call it once, first of all. `level` may come later."""
    global _own_descriptor
    if _own_descriptor is None:
        _own_descriptor = os.dup(2)
        _capture_standard_error(_own_descriptor)
        _capture_libraries()
    configure_logging(service, level, _own_descriptor)


def log_descriptor() -> int:
    """Where JSON lines go: standard error for a child that writes its own."""
    return 2 if _own_descriptor is None else _own_descriptor


def _capture_standard_error(original: int) -> None:
    # gRPC says what we say already; what it would say of itself is caught below all the same.
    readable, writable = os.pipe()
    sys.stderr.flush()
    os.dup2(writable, 2)
    os.close(writable)
    reader = threading.Thread(target=_read_lines, args=(readable,), name="stderr", daemon=True)
    reader.start()

    def end() -> None:
        """Let what was said last reach the log: the pipe ends when nobody can write to it.

        What threads in C say from then on would be no JSON, and nobody can make it so any more.
        """
        with contextlib.suppress(ValueError, OSError):
            sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        reader.join(_DRAIN_S)

    atexit.register(end)


def _read_lines(readable: int) -> None:
    with os.fdopen(readable, "rb") as lines:
        while line := lines.readline(LINE_BYTES_MAX):
            text = line.decode("utf-8", "replace").strip()
            if text:
                with contextlib.suppress(Exception):  # A reader that ends would block writers.
                    _say_foreign(text)


def _say_foreign(text: str) -> None:
    kafka = _KAFKA_LINE.fullmatch(text)
    if kafka is None:
        get_logger().warning("stderr_line", detail=text, lines_max=FOREIGN_LINES_MAX)
        return
    severity, facility, client, detail = kafka.groups()
    # Three and below are errors; a client that cannot connect says so once a second.
    level = "error" if int(severity) <= 3 else "warning"
    getattr(get_logger(), level)("kafka_client_log", about=facility, client=client, detail=detail)


class _LibraryHandler(logging.Handler):
    """Lines of the standard logging; the first line of what they say, and no data."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            first_line = record.getMessage().partition("\n")[0]
        except Exception:  # Arguments that do not fit the text must not end the process.
            first_line = str(record.msg)
        level = "warning" if record.levelno < logging.ERROR else "error"
        getattr(get_logger(), level)(
            "library_log",
            logger=record.name,
            about=str(record.msg).partition("\n")[0][:60],
            detail=first_line,
            exc_info=record.exc_info,
        )


def _capture_libraries() -> None:
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(logging.WARNING)
    warnings.simplefilter("default")
    logging.captureWarnings(True)
    sys.excepthook = _say_uncaught
    threading.excepthook = lambda found: _say_uncaught(
        found.exc_type, found.exc_value, found.exc_traceback, getattr(found.thread, "name", "")
    )
    sys.unraisablehook = lambda found: _say_uncaught(
        found.exc_type, found.exc_value, found.exc_traceback, "destructor"
    )


def _say_uncaught(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    thread: str = "main",
) -> Any:
    if not issubclass(kind, SystemExit):
        found = (kind, error if error is not None else kind(), trace)
        get_logger().critical("uncaught_exception", thread=thread, exc_info=found)
