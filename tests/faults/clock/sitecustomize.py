"""Moves the wall clock of a Python process by GOSIGHT_FAULTS_CLOCK_OFFSET_S seconds.

Python imports this at its start when the folder is on PYTHONPATH. What is written in C and asks the
system itself (librdkafka, the database clients) keeps the true time.
"""

from __future__ import annotations

import os
import time

_OFFSET_S = int(os.environ.get("GOSIGHT_FAULTS_CLOCK_OFFSET_S", "0"))
if _OFFSET_S:
    _time, _time_ns = time.time, time.time_ns

    def _moved_time() -> float:
        return _time() + _OFFSET_S

    def _moved_time_ns() -> int:
        return _time_ns() + _OFFSET_S * 1_000_000_000

    time.time, time.time_ns = _moved_time, _moved_time_ns
