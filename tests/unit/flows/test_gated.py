"""Work inside of the write gate, which may be lost at any moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.errors import RetryableError
from connectors.write_gate import OpenGate
from flows.gated import LAPS_MAX, inside, sure_inside
from flows.retries import RetryPolicy
from schemas.erasure import Erased, LateRows

RETRY = RetryPolicy(0.01, 0.001)


class Gate(OpenGate):
    """Lost when the test says so; each project stands for an erasure that passed meanwhile."""

    def __init__(self, held: list[bool], left: list[bool]) -> None:
        super().__init__()
        self._held = held
        self._left = left
        self.entered = 0

    def enter(self) -> Erased:
        """See `WriteGate.enter`."""
        self.entered += 1
        self.erased = Erased(frozenset(str(number) for number in range(self.entered)))
        return self.erased

    def is_held(self) -> bool:
        """See `WriteGate.is_held`."""
        return self._held.pop(0) if self._held else True

    def leave(self) -> bool:
        """See `WriteGate.leave`."""
        return self._left.pop(0) if self._left else True


def written(gate: Gate) -> list[str]:
    """Rows of projects 0 to 4 as work writes them by the list that it is given."""

    def work(erased: Erased) -> list[str]:
        rows = [name for name in "01234" if name not in erased.projects]
        sure_inside(gate)
        return rows

    def late(rows: list[str], erased: Erased) -> list[LateRows]:
        return [LateRows(name, [name]) for name in rows if name in erased.projects]

    return run(gate, work, late)


def run(
    gate: Gate,
    work: Callable[[Erased], list[str]],
    late: Callable[[list[str], Erased], list[LateRows]],
) -> list[str]:
    """In a flow of tests."""
    return inside("test", gate, work, late, RETRY, lambda: False)


def test_what_was_lost_before_the_insert_is_made_anew() -> None:
    """By the list as it is then; nothing is late."""
    gate = Gate([False, False], [False, False])
    assert written(gate) == ["3", "4"]
    assert (gate.entered, gate.late) == (3, [])


def test_what_was_lost_after_it_is_looked_at_again() -> None:
    """Rows that a newer list forbids are named, and only those."""
    gate = Gate([True], [False])
    assert written(gate) == ["1", "2", "3", "4"]
    assert gate.late == [LateRows("1", ["1"])]
    gate = Gate([True], [True])
    assert written(gate) == ["1", "2", "3", "4"]
    assert (gate.entered, gate.late) == (1, [])


def test_a_gate_that_is_always_lost_ends_in_an_error() -> None:
    """The block is written by the next process."""
    gate = Gate([False] * 100, [False] * 100)
    with pytest.raises(RetryableError):
        written(gate)
    assert gate.entered == LAPS_MAX


def test_an_error_of_the_work_leaves_the_gate() -> None:
    """And is not hidden."""
    gate = Gate([], [True])

    def work(_erased: Erased) -> list[str]:
        raise RetryableError("away")

    with pytest.raises(RetryableError, match="away"):
        run(gate, work, lambda _rows, _erased: [])
    assert gate._left == []
