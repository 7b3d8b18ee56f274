"""Periods as they are given to commands: `--from 7d --to 2026-02-01`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

From = Annotated[
    str,
    typer.Option("--from", help="Begin of the period: 6h, 7d ago, a day or a date-time in UTC."),
]
To = Annotated[
    str, typer.Option("--to", help="End of the period, not included; the same forms, or now.")
]


class BadPeriodError(ValueError):
    """The period cannot be read, or ends before it begins."""


def period_ms(begin: str, end: str, now_ms: int | None = None) -> tuple[int, int]:
    """Begin and end in milliseconds UTC.

    Raises:
        BadPeriodError: naming the option that is wrong.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    start_ms = _moment_ms("--from", begin, now_ms)
    end_ms = now_ms if end in ("", "now") else _moment_ms("--to", end, now_ms)
    if start_ms >= end_ms:
        raise BadPeriodError("--from must be before --to")
    return start_ms, end_ms


def time_text(at_ms: int) -> str:
    """A moment as a person reads it: 2026-01-31 12:00:00.250."""
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def day_text(at_ms: int) -> str:
    """The day of a moment in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, tz=UTC):%Y-%m-%d}"


def _moment_ms(option: str, text: str, now_ms: int) -> int:
    from cli.dlq_work import BadMomentError, since_ms

    try:
        return since_ms(text, now_ms)
    except (BadMomentError, ValueError, OverflowError):
        raise BadPeriodError(
            f"{option} {text}: give 6h, 7d, a day (2026-01-31) or a date-time (2026-01-31T12:00Z)"
        ) from None
