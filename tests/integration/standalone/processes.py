"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def wait_for(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Poll until it holds; fail after the time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(process_id: int) -> bool:
    """Has the process ended? A zombie, which only waits for its parent, counts as gone."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
