"""Which call into a detector of a user's own has not returned, told while it hangs.

In: the calls of the flow's one thread, which are noted as they begin and end. Out: the detector
whose call takes too long, for `/ready`, and once a call the line `detector_hangs` with where it is.

A call in C that keeps the interpreter to itself (a regular expression, say) stops every thread, and
`/ready` with it. Then the interpreter's own watchdog writes where each thread is to the log, as
plain text: nothing else of the process can.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
import traceback
from collections.abc import Callable

from connectors.log_capture import log_descriptor
from connectors.telemetry import get_logger

# A thousand times what is counted as slow, and soon enough for an alert of two minutes.
HANGS_AFTER_S = 10.0
# After so long without a look, no thread of ours is let run.
STUCK_AFTER_S = 15.0
LOOK_S = 1.0
FRAMES_MAX = 10


class RunningCall:
    """The call that runs now: the detector's name, when it began (s), and the thread, or None.

    Assigned by the thread that calls and read by others, as a whole each time.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: tuple[str, float, int] | None = None


RUNNING = RunningCall()


class HangWatch:
    """Looks again and again at the call that runs; `clock_s` is that of the calls."""

    def __init__(
        self, running: RunningCall = RUNNING, clock_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._running = running
        self._clock_s = clock_s
        self._told: tuple[str, float, int] | None = None

    def start(self) -> None:
        """Look from now on, in a thread of its own, until the process ends."""
        threading.Thread(target=self._watch, name="hanging-calls", daemon=True).start()

    def hanging(self) -> str | None:
        """What hangs, in words; None if nothing does. For any thread."""
        call = self._running.now
        if call is None:
            return None
        took_s = self._clock_s() - call[1]
        if took_s < HANGS_AFTER_S:
            return None
        return f"the detector {call[0]} has not returned for {took_s:.0f} s"

    def look(self) -> None:
        """Tell of the call that runs, if it hangs and that was not told."""
        call = self._running.now
        if call is None or call is self._told or self.hanging() is None:
            return
        self._told = call
        name, began_s, thread = call
        get_logger().error(
            "detector_hangs",
            about=name,
            seconds=round(self._clock_s() - began_s),
            stack=_place(thread),
        )

    def _watch(self) -> None:
        while True:
            faulthandler.dump_traceback_later(STUCK_AFTER_S, file=log_descriptor())
            self.look()
            time.sleep(LOOK_S)


def _place(thread: int) -> str:
    """Files, lines and names of functions where a thread is, the innermost last."""
    frame = sys._current_frames().get(thread)
    frames = traceback.extract_stack(frame)[-FRAMES_MAX:] if frame is not None else []
    return "\n".join(f"{one.filename}:{one.lineno} {one.name}" for one in frames)
