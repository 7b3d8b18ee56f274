"""A call of a detector that does not return is told of while it runs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from flows.core.given_events import given_events
from flows.hanging_calls import HANGS_AFTER_S, RUNNING, HangWatch
from flows.health import FlowHealth
from flows.isolated_detector import IsolatedDetector
from tests.captured_logs import captured_logs

CLICKS = given_events([f"{second}s click /a selector=#b" for second in range(3)])


class Endless:
    """Each call takes some seconds of a clock of its own, and lets others look meanwhile."""

    insight_type = "endless"
    rule_version = 1
    severity = "low"
    kinds = frozenset({"click"})
    state_type = int

    def __init__(self, seconds: float) -> None:
        self.now_s = 0.0
        self.watch = HangWatch(clock_s=lambda: self.now_s)
        self.health = FlowHealth()
        self.health.watch_calls(self.watch.hanging)
        self.seen: list[dict[str, object]] = []
        self._seconds = seconds

    def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
        """Time passes; it is looked twice before it ends."""
        for _ in range(2):
            self.now_s += self._seconds / 2
            self.watch.look()
        self.seen.append(self.health.state())
        return 1, ()

    def on_time(self, state: Any, now_ms: int) -> Any:
        """Forget."""
        return None, ()

    def wake_at_ms(self, state: Any) -> Any:
        """Never."""
        return None

    def provisional(self, state: Any) -> Any:
        """As an event."""
        self.on_event(state, None, 0)
        return ()


def test_a_call_that_hangs_is_told_once_with_where_it_is() -> None:
    """The line names the detector and its place; each call that hangs has one."""
    inner = Endless(2 * HANGS_AFTER_S)
    detector = IsolatedDetector(inner, clock_s=lambda: inner.now_s)
    with captured_logs() as lines:
        state, _ = detector.on_event(None, CLICKS[0], 0)
        assert state is not None
        detector.provisional(state)
    assert [(line["event"], line["about"]) for line in lines] == [("detector_hangs", "endless")] * 2
    assert lines[0]["seconds"] == HANGS_AFTER_S
    assert "test_hanging_calls.py" in lines[0]["stack"]
    assert " on_event" in lines[0]["stack"]


def test_a_flow_whose_detector_hangs_is_stalled_and_says_why() -> None:
    """`/ready` names the detector while it hangs, and nothing when it came back."""
    inner = Endless(2 * HANGS_AFTER_S)
    IsolatedDetector(inner, clock_s=lambda: inner.now_s).on_event(None, CLICKS[0], 0)
    (state,) = inner.seen
    assert (state["status"], state["stalled"]) == ("not ready", True)
    assert state["hanging"] == "the detector endless has not returned for 20 s"
    assert RUNNING.now is None
    assert (inner.health.state()["stalled"], inner.health.state()["hanging"]) == (False, None)


def test_many_short_calls_are_no_hanging_one() -> None:
    """What counts is one call, however long all of them take."""
    inner = Endless(0.6 * HANGS_AFTER_S)
    detector = IsolatedDetector(inner, clock_s=lambda: inner.now_s)
    with captured_logs() as lines:
        for event in CLICKS:
            detector.on_event(None, event, 0)
    assert lines == []
    assert [state["stalled"] for state in inner.seen] == [False] * len(CLICKS)


STUCK = """
import re
import flows.hanging_calls as calls
calls.STUCK_AFTER_S, calls.LOOK_S = 0.5, 0.1
calls.HangWatch().start()
def on_event():
    re.match("(a+)+b", "a" * 100)
on_event()
"""


def test_what_stops_every_thread_is_told_all_the_same() -> None:
    """A regular expression without an end lets no thread of ours look."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stderr is not None
        assert any("in on_event" in line for line in process.stderr)
    finally:
        process.kill()
        process.communicate()
