"""The Machine: the one shape of everything that decides over time.

Sessionizers, detectors, alert rules and the block cutter are machines. A machine is a frozen
object holding its parameters; what it remembers of one key is a separate state value, which the
engine keeps, stores and restores. The contract, checked by one suite over all machines:

- Deterministic: equal state, event and time give equal results; no clock, no chance, no I/O.
- States and outputs are never changed once returned: a step returns new values.
- `None` as state means "forget this key"; a key without state starts with `None`.
- `on_time` is called at or after `wake_at_ms`, possibly much later, possibly more than once. What
  is emitted depends on the deadline, never on how late the call came.
- After a restore the same remaining events give the same remaining outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

State = TypeVar("State")
Item_contra = TypeVar("Item_contra", contravariant=True)
Output_co = TypeVar("Output_co", covariant=True)


class Machine(Protocol[State, Item_contra, Output_co]):
    """State of one key in, state and outputs out. Times are integer milliseconds, UTC."""

    def on_event(
        self, state: State | None, event: Item_contra, now_ms: int
    ) -> tuple[State | None, Sequence[Output_co]]:
        """Take one event of the key at time `now_ms`."""

    def on_time(self, state: State, now_ms: int) -> tuple[State | None, Sequence[Output_co]]:
        """Time has reached `now_ms`, at or after the deadline asked for."""

    def wake_at_ms(self, state: State) -> int | None:
        """When to call `on_time` if no event comes before; None: never."""
