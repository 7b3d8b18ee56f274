"""A flow that is ready to run, and what its process must know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bytewax.dataflow import Dataflow


@dataclass(frozen=True, slots=True)
class RunnableFlow:
    """`close` gives back what the process holds, after the flow ended."""

    flow: Dataflow
    close: Callable[[], None]
