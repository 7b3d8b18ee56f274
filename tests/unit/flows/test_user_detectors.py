"""Detectors of a user's own: what loads, what is refused and where, what cannot do harm."""

from __future__ import annotations

import asyncio
import signal
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.core.behaviour import BehaviourMachine, SessionState, decode_state, encode_state
from flows.core.detectors.detector import Detector
from flows.core.detectors.rage_click import RageClick
from flows.core.found import Found
from flows.core.given_events import event_id_of, given_events
from flows.core.insight import Finding, Insight, Verdict
from flows.core.session_event import SessionBatch
from flows.core.session_run import END_MS, DetectorRun, run_session
from flows.isolated_detector import (
    DROPPED,
    FAILURES,
    FOUND_MAX,
    SLOW_CALL_S,
    SLOW_CALLS,
    STATE_BYTES_MAX,
    IsolatedDetector,
    IsolatedState,
    count_and_log,
)
from flows.user_detectors import TAKEN_NAMES, load_user_detectors
from tests.captured_logs import captured_logs

GOOD = """
from flows.core.found import Found

class Good:
    insight_type = "good"
    rule_version = 2
    severity = "low"
    kinds = {"click"}
    state_type = int

    def on_event(self, state, event, now_ms):
        return (state or 0) + 1, ()

    def on_time(self, state, now_ms):
        return None, ()

    def wake_at_ms(self, state):
        return None
"""
SESSION = "7b6f3a0e-8f0e-4c2e-9a54-0f8a5d1c2b3a"
CLICKS = given_events([f"{second}s click /a selector=#b" for second in range(4)])


def write(folder: Path, **files: str) -> Path:
    """A folder with these Python files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip("\n"))
    return folder


def good_with(old: str, new: str) -> str:
    """A good detector in which one thing is changed."""
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_class_in_a_file_becomes_a_detector(tmp_path: Path) -> None:
    """Name, version, kinds and where it is are read from the class; `_` files are left alone."""
    loaded = load_user_detectors(write(tmp_path, good=GOOD, _helper="1 / 0"))
    assert loaded.faults == ()
    (found,) = loaded.detectors
    assert (found.name, found.rule_version, found.severity) == ("good", 2, "low")
    assert (found.kinds, found.line) == (frozenset({"click"}), 3)
    detector: Detector[Any] = found.isolated()
    assert run_session([detector], CLICKS) == []


def test_no_folder_is_no_detector_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    """A setting that is not set loads nothing; one that leads nowhere is a fault."""
    assert load_user_detectors("") == load_user_detectors(None)
    assert load_user_detectors("").faults == ()
    (fault,) = load_user_detectors(tmp_path / "gone").faults
    assert "no such folder" in fault.problem


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("x = (\n", 1, "never closed"),
        ("import msgspec\n\nboom = 1 / 0\n", 3, "ZeroDivisionError"),
        ("import no_such_module_at_all\n", 1, "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", 1, "SystemExit"),
        ("class Panic(BaseException): pass\n\nraise Panic\n", 3, "Panic"),
        ("VALUE = 1\n", None, "no class with insight_type"),
        (good_with('"good"', '"Good-One"'), 4, "snake_case"),
        (good_with('"good"', '"' + "a" * 41 + '"'), 4, "snake_case"),
        (good_with('"good"', "7"), 4, "snake_case"),
        (good_with('"good"', '"rage_click"'), 4, "built in"),
        (good_with('"good"', '"page_view"'), 4, "built in"),
        (good_with("= 2", "= 0"), 5, "rule_version"),
        (good_with("= 2", "= True"), 5, "rule_version"),
        (good_with('"low"', '"worst"'), 6, "low, medium, high"),
        (good_with('{"click"}', '"click"'), 7, "set of types"),
        (good_with('{"click"}', '{"clack"}'), 7, "clack"),
        (good_with('{"click"}', '{"replay"}'), 7, "replay"),
        (good_with("state_type = int", "state_type = 3"), 8, "msgspec"),
        (good_with("    state_type = int\n", ""), 3, "state_type is missing"),
        (good_with("def wake_at_ms", "def wake"), 3, "wake_at_ms is missing"),
        (good_with("on_time(self, state, now_ms)", "on_time(self)"), 13, "2 arguments"),
        (good_with("    def on_event", "    def __init__(self, x): pass\n\n    def on_event"),
         3, "Good() fails"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int | None, problem: str
) -> None:
    """File, line and what is wrong are named, and the good file beside it loads."""
    loaded = load_user_detectors(write(tmp_path, bad=text.lstrip("\n"), good_too=good_two()))
    assert [found.name for found in loaded.detectors] == ["good_two"]
    (fault,) = loaded.faults
    assert fault.file.endswith("bad.py")
    assert fault.line == line
    assert problem in fault.problem
    assert str(fault).startswith(fault.file if line is None else f"{fault.file}:{line}: ")


def good_two() -> str:
    """A good detector with another name."""
    return good_with('"good"', '"good_two"')


def test_one_name_is_taken_once(tmp_path: Path) -> None:
    """Of two files with one name the first is taken, and the fault says where that is."""
    loaded = load_user_detectors(write(tmp_path, a=GOOD, b=good_with("= 2", "= 3")))
    assert [found.rule_version for found in loaded.detectors] == [2]
    (fault,) = loaded.faults
    assert fault.file.endswith("b.py")
    assert "a.py:3" in fault.problem


def test_built_in_names_are_all_taken() -> None:
    """No detector of a user's own can speak in the name of a built-in one."""
    six = {"rage_click", "dead_click", "error_click", "thrashed_cursor", "u_turn", "slow_page"}
    assert six <= TAKEN_NAMES


class Counting:
    """Counts clicks; what the parts of a test do wrong is put in by subclasses."""

    insight_type = "counting"
    rule_version = 1
    severity = "low"
    kinds = frozenset({"click"})
    state_type: Any = int

    def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
        """One more; found at the third."""
        count = (state or 0) + 1
        return count, self.found(event) if count == 3 else ()

    def found(self, event: Any) -> Any:
        """What is given out at the third click."""
        return [Found(event.event_id, event.at_ms, url=event.page.url, path=event.page.path)]

    def on_time(self, state: Any, now_ms: int) -> Any:
        """Forget."""
        return None, ()

    def wake_at_ms(self, state: Any) -> Any:
        """Never."""
        return None


def failures_of(inner: Any) -> tuple[list[Any], list[BaseException]]:
    """What a detector gives for the clicks, and what it was told to have done wrong."""
    told: list[BaseException] = []
    detector = IsolatedDetector(inner, report=lambda _name, error: told.append(error))
    return list(run_session([detector], CLICKS)), told


def test_a_finding_gets_type_version_and_severity_from_the_class() -> None:
    """`Found` becomes a `Finding`; ended_at is the moment itself if not said."""
    made, told = failures_of(Counting())
    assert told == []
    (finding,) = made
    assert isinstance(finding, Finding)
    assert (finding.insight_type, finding.rule_version, finding.severity) == ("counting", 1, "low")
    assert finding.anchor_event_id == event_id_of(3)
    assert finding.ended_at_ms == finding.at_ms


def test_asked_to_explain_it_gives_a_verdict_as_well() -> None:
    """The anchor of a finding has the verdict `fired`."""
    made = run_session([IsolatedDetector(Counting(), explain=True)], CLICKS)
    assert [type(item) for item in made] == [Finding, Verdict]
    assert made[1].outcome == "fired"  # type: ignore[union-attr]


class Raising(Counting):
    """Fails at the third click."""

    def found(self, event: Any) -> Any:
        """Fail."""
        raise KeyError("a value of a visitor")


class Leaving(Counting):
    """Wants to end the process."""

    def found(self, event: Any) -> Any:
        """Leave."""
        raise SystemExit("a value of a visitor")


class Opening(Counting):
    """Looks for a file that is not there."""

    def found(self, event: Any) -> Any:
        """Open it."""
        return Path("/a value of a visitor").read_text()


class Panic(BaseException):
    """What compiled code raises that no `except Exception` is to catch."""


class Panicking(Counting):
    """Runs into a panic of compiled code."""

    def found(self, event: Any) -> Any:
        """Panic."""
        raise Panic("a value of a visitor")


class Cancelled(Counting):
    """Lets out what asyncio cancels tasks with."""

    def found(self, event: Any) -> Any:
        """Be cancelled."""
        raise asyncio.CancelledError


class Exhausted(Counting):
    """Calls itself without end."""

    def found(self, event: Any) -> Any:
        """Once more."""
        return self.found(event)


@pytest.mark.parametrize("cls", [Raising, Leaving, Panicking, Cancelled, Exhausted])
def test_an_exception_drops_the_detector_for_the_session_only(cls: type[Counting]) -> None:
    """The failing one is told of once, its neighbour goes on, the next session begins anew."""
    told: list[str] = []
    bad = IsolatedDetector(cls(), report=lambda name, _error: told.append(name))
    good = Counting()
    good.insight_type = "good"
    run = DetectorRun([bad, IsolatedDetector(good)])
    made = [item for event in CLICKS for item in run.take(event)]
    assert [item.insight_type for item in made] == ["good"]
    assert told == ["counting"]
    assert run.states["counting"] == DROPPED
    assert run.pass_until(END_MS) == []
    DetectorRun([bad]).take(CLICKS[0])
    assert told == ["counting"]


class Interrupting(Counting):
    """Raises what Ctrl-C raises."""

    def found(self, event: Any) -> Any:
        """Interrupt."""
        raise KeyboardInterrupt


def test_an_interrupt_ends_a_command_and_never_a_flow() -> None:
    """Where SIGINT is handled as flows do, it is the detector's own; else it may be a Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            failures_of(Interrupting())
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
        made, told = failures_of(Interrupting())
    finally:
        signal.signal(signal.SIGINT, before)
    assert made == []
    assert [type(error) for error in told] == [KeyboardInterrupt]


ID = event_id_of(1)
BAD_OUTPUTS: dict[str, Any] = {
    "no Found": ["found"],
    "a Finding": [Finding("x", 1, "low", ID, 1, 1, "", "", None, None, None, {}, ())],
    "not even a list": 7,
    "too many": [Found(ID, 1)] * (FOUND_MAX + 1),
    "no id": [Found("first", 1)],
    "an id of no event": [Found(ID, 1, related_event_ids=("x",))],
    "a time as text": [Found(ID, "now")],  # type: ignore[arg-type]
    "a time before time": [Found(ID, -1)],
    "an end before the beginning": [Found(ID, 5, ended_at_ms=4)],
    "an end too far away": [Found(ID, 5, ended_at_ms=2**60)],
    "a fraction of a pixel": [Found(ID, 1, x=1.5)],  # type: ignore[arg-type]
    "a long url": [Found(ID, 1, url="u" * 2_049)],
    "large details": [Found(ID, 1, details={"a": "x" * 9_000})],
    "many details": [Found(ID, 1, details=dict.fromkeys(map(str, range(33)), 1))],
    "details of objects": [Found(ID, 1, details={"a": object()})],
    "details that hold themselves": [Found(ID, 1, details=(lambda d: d.update(d=d) or d)({}))],
    "half a character": [Found(ID, 1, details={"a": "\ud800"})],
}


@pytest.mark.parametrize("outputs", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_wrong_outputs_are_failures(outputs: Any) -> None:
    """Nothing that a store could not hold comes out of a detector."""

    class Bad(Counting):
        def found(self, event: Any) -> Any:
            return outputs

    made, told = failures_of(Bad())
    assert made == []
    assert len(told) == 1


def test_a_state_is_stored_and_bounded() -> None:
    """What msgpack cannot hold, what is too large, and another type than declared are failures."""

    class Large(Counting):
        state_type = str

        def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
            return "x" * STATE_BYTES_MAX, ()

    class Odd(Counting):
        def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
            return object(), ()

    class Other(Counting):
        def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
            return "text", ()

    for cls in (Large, Odd, Other):
        made, told = failures_of(cls())
        assert (made, len(told)) == ([], 1)


def test_a_state_that_is_changed_later_is_not_what_was_kept() -> None:
    """A detector that keeps hold of its state cannot change what the session remembers."""

    class Sharing(Counting):
        state_type = list[int]

        def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
            state = state if state is not None else []
            assert len(state) < 3
            state.append(1)
            return state, ()

    detector = IsolatedDetector(Sharing(), report=lambda _name, error: pytest.fail(str(error)))
    first, _ = detector.on_event(None, CLICKS[0], 0)
    for _ in range(5):
        detector.on_event(first, CLICKS[1], 0)
    packed = msgspec.msgpack.encode(first)
    assert msgspec.msgpack.decode(packed, type=IsolatedState) == first


def test_strict_compares_the_state_with_what_is_read_back() -> None:
    """A state whose type loses something when stored is found by the cases."""

    class Losing(Counting):
        state_type = Any

        def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
            return (1, 2), ()

    told: list[BaseException] = []
    detector = IsolatedDetector(
        Losing(), strict=True, report=lambda _name, error: told.append(error)
    )
    assert detector.on_event(None, CLICKS[0], 0) == (DROPPED, ())
    assert "read back" in str(told[0])


def test_a_session_ends_whatever_a_detector_asks_for() -> None:
    """To be woken now, in the past, for ever, or at no time at all is a failure, not a loop."""

    def waking(answer: Any) -> Any:
        class Waking(Counting):
            def on_time(self, state: Any, now_ms: int) -> Any:
                return now_ms, ()

            def wake_at_ms(self, state: Any) -> Any:
                return answer(state)

        return Waking()

    for answer in (
        lambda state: state,
        lambda state: state - 1,
        lambda state: state + 1,
        lambda state: "soon",
        lambda state: 1 / 0,
    ):
        made, told = failures_of(waking(answer))
        assert (made, len(told)) == ([], 1)


def test_slow_calls_are_counted() -> None:
    """A call over the limit is counted for its detector."""
    times = iter([0.0, 0.001, 1.0, 1.0 + 2 * SLOW_CALL_S])
    counter = SLOW_CALLS.labels("counting")
    before = counter._value.get()
    detector = IsolatedDetector(Counting(), clock_s=lambda: next(times))
    detector.on_event(None, CLICKS[0], 0)
    detector.on_event(None, CLICKS[0], 0)
    assert counter._value.get() == before + 1


def test_failures_are_counted_by_detector() -> None:
    """Each dropped session is one, whether the line was written or left out."""
    counter = FAILURES.labels("noisy")
    for _ in range(3):
        count_and_log("noisy", ValueError("x"))
    assert counter._value.get() == 3


class Unstorable(Counting):
    """Remembers what cannot be stored."""

    def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
        """An object."""
        return object(), ()


class TooDetailed(Counting):
    """Finds more than an insight can hold."""

    def found(self, event: Any) -> Any:
        """Large details."""
        return [Found(ID, 1, details={"a": "x" * 9_000})]


@pytest.mark.parametrize(
    ("cls", "detail"),
    [
        (TooDetailed, "Found: details is larger than 8192 bytes of JSON"),
        (Unstorable, "the state cannot be stored: Encoding objects of type object is unsupported"),
        (Raising, None),
        (Panicking, None),
        (Leaving, None),
        (Opening, None),
    ],
)
def test_the_line_of_a_failure_says_what_is_wrong_and_nothing_of_visitors(
    cls: type[Counting], detail: str | None
) -> None:
    """What was found here is told in words; what the detector says itself is left out."""
    inner = cls()
    inner.insight_type = f"failing_{cls.__name__.lower()}"  # Each may have one line a minute.
    with captured_logs() as lines:
        run_session([IsolatedDetector(inner)], CLICKS)
    (line,) = lines
    assert (line["event"], line["about"]) == ("detector_failed", inner.insight_type)
    assert line.get("detail") == detail
    assert "a value of a visitor" not in str(line)
    assert "test_user_detectors.py" in line["stack"] or detail is not None


@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
def test_what_is_open_is_told_if_the_detector_can(error: type[BaseException]) -> None:
    """`provisional` is optional, and its failure harms nobody."""

    class Telling(Counting):
        def provisional(self, state: Any) -> Any:
            if state != 1:
                raise error
            return [Found(ID, 1)]

    told: list[str] = []
    detector = IsolatedDetector(Telling(), report=lambda name, _error: told.append(name))
    one, _ = detector.on_event(None, CLICKS[0], 0)
    assert one is not None
    assert [found.anchor_event_id for found in detector.provisional(one)] == [ID]
    two, _ = detector.on_event(one, CLICKS[1], 0)
    assert two is not None
    assert detector.provisional(two) == ()
    assert told == ["counting"]
    assert IsolatedDetector(Counting()).provisional(one) == ()


class OwnRules:
    """Rules of a project with a detector of a user's own beside a built-in one."""

    hold_ms = 1_000
    currency = ""

    def __init__(self, own: Detector[Any]) -> None:
        self._own = own

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """Both."""
        return (RageClick(explain=explain), self._own)


@pytest.mark.parametrize("cls", [Raising, Panicking])
def test_the_flow_goes_on_when_a_detector_raises(cls: type[Counting]) -> None:
    """The session is closed with the built-in insight, through a store and restore each step."""
    told: list[str] = []
    own = IsolatedDetector(cls(), report=lambda name, _error: told.append(name))
    machine = BehaviourMachine(lambda _project: OwnRules(own))
    lines = [f"{number * 100}ms click / selector=#a x=5 y=5" for number in range(6)]
    state: SessionState | None = None
    made: list[Any] = []
    for event in given_events(lines):
        batch = SessionBatch("p", SESSION, event.received_at_ms, (event,))
        state, outputs = machine.on_event(state, batch, event.received_at_ms)
        made += outputs
        assert state is not None
        state = decode_state(encode_state(state))
    while state is not None:
        wake_at_ms = machine.wake_at_ms(state)
        assert wake_at_ms is not None
        state, outputs = machine.on_time(state, wake_at_ms)
        made += outputs
        state = None if state is None else decode_state(encode_state(state))
    assert [one.insight_type for one in made if isinstance(one, Insight)] == ["rage_click"]
    assert made[-1].is_closed
    assert made[-1].click_count == 6
    assert told == ["counting"]
