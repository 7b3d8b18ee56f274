"""How often the same thing may be said in a log: once a minute, with how often it was left out.

In: what a line is about. Out: whether it may be written, and how many like it were not since the
last one. A broker that is away for an hour makes sixty lines, whatever the load.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

INTERVAL_S = 60.0
SUBJECTS_MAX = 1_000


class LineLimiter:
    """Remembers what was said in the last minute; used by all threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Subject -> when the interval began, lines written in it, lines left out of it.
        self._said: OrderedDict[Hashable, tuple[float, int, int]] = OrderedDict()

    def admit(self, subject: Hashable, lines_max: int = 1) -> int | None:
        """The number of lines left out before this one, or None if it is to be left out, too."""
        now_s = self._clock()
        with self._lock:
            began_s, written, left_out = self._said.get(subject, (now_s, 0, 0))
            if now_s - began_s >= INTERVAL_S:
                began_s, written = now_s, 0
            if written >= lines_max:
                self._said[subject] = (began_s, written, left_out + 1)
                return None
            self._said[subject] = (began_s, written + 1, 0)
            self._said.move_to_end(subject)
            while len(self._said) > SUBJECTS_MAX:
                self._said.popitem(last=False)
            return left_out
