"""The end of a flow: an effect on each item, one after the other, nothing kept between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bytewax.outputs import DynamicSink, StatelessSinkPartition

ItemT = TypeVar("ItemT")


class EachSink(DynamicSink[ItemT]):
    """Calls `effect` with each item.

    A flow process has one worker, or one key that leads to one worker: the effect is called by one
    thread only.
    """

    def __init__(self, effect: Callable[[ItemT], None]) -> None:
        self._effect = effect

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _EachPart[ItemT]:
        """See `DynamicSink.build`."""
        return _EachPart(self._effect)


class _EachPart(StatelessSinkPartition[ItemT]):
    def __init__(self, effect: Callable[[ItemT], None]) -> None:
        self._effect = effect

    def write_batch(self, items: list[ItemT]) -> None:
        for item in items:
            self._effect(item)
