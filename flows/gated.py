"""Writing rows inside of the gate that erasures close, and knowing whether it was inside.

In: a gate, and work that makes and inserts rows by the list it is given. Out: what the work gives,
and whether the gate was held to its end. A process that stands still for a minute loses the gate
without a word: PostgreSQL must not make an erasure wait for it. So work asks just before it inserts
(`sure_inside`), each time it tries; if the gate was lost, all is done again from the new list.
What was lost after that question is told by `leave`: then the rows are looked at again by the list
as it is by then, and what of them should not be there is named to who erases (`LateRows`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from prometheus_client import Counter

from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from connectors.write_gate import WriteGate
from flows.retries import RetryPolicy, try_effect
from schemas.erasure import Erased, LateRows

LAPS_MAX = 10

ResultT = TypeVar("ResultT")

LOST = Counter(
    "gosight_flow_gate_lost_total",
    "Blocks whose writer stood still for so long that an erasure could pass, by when it was found.",
    ["flow", "found"],
)


class GateLostError(Exception):
    """The gate was lost before rows were inserted; nothing but the work itself is to be redone."""


def sure_inside(gate: WriteGate) -> None:
    """Ask just before an insert.

    Raises:
        GateLostError: an erasure may have passed since `enter`.
    """
    if not gate.is_held():
        raise GateLostError


def inside(
    flow: str,
    gate: WriteGate,
    work: Callable[[Erased], ResultT],
    late_of: Callable[[ResultT, Erased], Sequence[LateRows]],
    retry: RetryPolicy,
    is_stopping: Callable[[], bool],
) -> ResultT:
    """What the work gives; `late_of` says which of its rows a list forbids.

    Raises:
        RetryableError: the gate stays closed or is lost again and again; and what the work raises.
    """
    for _ in range(LAPS_MAX):
        erased = try_effect(flow, "gate", gate.enter, retry, is_stopping)
        is_sure = False
        try:
            result = work(erased)
        except GateLostError:
            note_lost(flow, "before")
            continue
        finally:
            is_sure = gate.leave()
        if not is_sure:
            note_lost(flow, "after")
            now = try_effect(flow, "gate", gate.enter, retry, is_stopping)
            gate.leave()
            late = late_of(result, now)
            if late:
                try_effect(flow, "late", partial(gate.erase_late, late), retry, is_stopping)
        return result
    raise RetryableError("the gate is lost again and again")


def note_lost(flow: str, found: str) -> None:
    """Count a lost gate, by when it was found."""
    LOST.labels(flow, found).inc()
    get_logger().warning("gate_lost", found=found)
