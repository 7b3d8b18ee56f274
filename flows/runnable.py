"""A flow that is ready to run, and what its process must know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bytewax.dataflow import Dataflow


@dataclass(frozen=True, slots=True)
class RunnableFlow:
    """`has_failed` tells, after the flow ended, whether it had to; `close` gives leases back."""

    flow: Dataflow
    has_failed: Callable[[], bool]
    close: Callable[[], None]
