"""Trying again: what every writing flow does when the world is away for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina
from prometheus_client import Counter

from connectors.errors import RetryableError
from connectors.telemetry import get_logger

ResultT = TypeVar("ResultT")

RETRIES = Counter(
    "gosight_flow_retries_total",
    "Effects of a block that had to be tried again.",
    ["flow", "effect"],
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the world may be away before the process gives up and is started again."""

    seconds_max: float = 600.0
    wait_s_max: float = 2.0


def waiting_for(what: str, is_stopping: Callable[[], bool]) -> Callable[[Exception], bool]:
    """Whether to try again after an error while servers are just starting; it is told, too."""

    def is_passing(error: Exception) -> bool:
        if not isinstance(error, RetryableError) or is_stopping():
            return False
        get_logger().warning("start_retried", effect=what, detail=str(error))
        return True

    return is_passing


def try_effect(
    flow: str,
    effect: str,
    call: Callable[[], ResultT],
    policy: RetryPolicy,
    is_stopping: Callable[[], bool],
) -> ResultT:
    """Call until it succeeds, with growing pauses.

    Raises:
        RetryableError: the world stayed away for too long, or the flow is stopping.
        FatalError: trying again cannot help.
    """

    def is_passing(error: Exception) -> bool:
        if not isinstance(error, RetryableError) or is_stopping():
            return False
        RETRIES.labels(flow, effect).inc()
        get_logger().warning("effect_retried", effect=effect, detail=str(error))
        return True

    for attempt in stamina.retry_context(
        on=is_passing,
        attempts=None,
        timeout=policy.seconds_max,
        wait_initial=min(0.1, policy.wait_s_max),
        wait_jitter=min(1.0, policy.wait_s_max),
        wait_max=policy.wait_s_max,
    ):
        with attempt:
            return call()
    raise AssertionError("a retry context ends with a result or an error")
