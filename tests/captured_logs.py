"""Lines of the log as values, however a test before has set the log up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import structlog.testing


@contextmanager
def captured_logs() -> Iterator[list[Any]]:
    """What is logged meanwhile, at any level."""
    before = structlog.get_config()
    structlog.reset_defaults()
    try:
        with structlog.testing.capture_logs() as lines:
            yield lines
    finally:
        structlog.configure(**before)
