"""Which lines of a log are taken for the same one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from connectors.log_limit import SUBJECTS_MAX, LineLimiter
from connectors.telemetry import configure_logging, get_logger
from flows.behaviour import tell_faults
from flows.user_detectors import DetectorFault


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged in this test, line by line."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    configure_logging("test", descriptor=descriptor)
    yield lambda: [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    structlog.reset_defaults()
    os.close(descriptor)


@pytest.mark.parametrize("subject", ["project_id", "rule_id", "about"])
def test_lines_about_different_subjects_are_written(
    lines: Callable[[], list[dict[str, Any]]], subject: str
) -> None:
    """One of two projects, rules or files does not hide the other; its own second line is."""
    for name in ("one", "two", "one"):
        get_logger().error("settings_unreadable", **{subject: name}, detail="bad")
    assert [line[subject] for line in lines()] == ["one", "two"]


def test_each_detector_that_does_not_load_is_told(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """All files and all classes of a file, each with its place."""
    tell_faults(
        [
            DetectorFault("a.py", 1, "is bad"),
            DetectorFault("a.py", 7, "is bad"),
            DetectorFault("b.py", None, "cannot be read"),
        ]
    )
    told = [(line["event"], line["about"], line["detail"]) for line in lines()]
    assert told == [
        ("detector_not_loaded", "a.py:1", "is bad"),
        ("detector_not_loaded", "a.py:7", "is bad"),
        ("detector_not_loaded", "b.py", "cannot be read"),
    ]


def test_subjects_are_bounded() -> None:
    """However many projects there are, no more than the last ones are remembered."""
    limiter = LineLimiter(clock=lambda: 0.0)
    for number in range(3 * SUBJECTS_MAX):
        assert limiter.admit(number) == 0
    assert limiter.admit(3 * SUBJECTS_MAX - 1) is None
    assert limiter.admit(0) == 0
