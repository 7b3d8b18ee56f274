"""Diagrams of the flows, drawn from the graphs that really run.

A flow is built on sources and sinks that are never started, so that no server is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource
from bytewax.outputs import DynamicSink
from bytewax.visualize import to_mermaid

from flows import alert_delivery, alerts, behaviour, results
from flows.core.alert_records import AlertBatch
from flows.core.blocks import Block, BlockCutter
from flows.core.results import ResultChunk
from flows.core.session_batches import BatchReader
from flows.partition_runs import TakenItems
from flows.storage import build_flow
from flows.ticks import Tick
from schemas.log import PolledBatch
from schemas.lookups import UNKNOWN_PLACE, ParsedAgent


class _NotRun:
    """Stands for what a drawn flow never uses."""

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> NoReturn:
        """Never called."""
        raise AssertionError("a drawn flow must not run")


class _NoSource(_NotRun, DynamicSource[PolledBatch]):
    pass


class _NoSink(_NotRun, DynamicSink[Block[PolledBatch]]):
    pass


def _storage() -> Dataflow:
    return build_flow(_NoSource(), _NoSink(), BlockCutter())


class _NoResultSink(_NotRun, DynamicSink[Block[ResultChunk]]):
    pass


class _NoLiveSink(_NotRun, DynamicSink[ResultChunk]):
    pass


def _results() -> Dataflow:
    return results.build_flow(_NoSource(), _NoResultSink(), _NoLiveSink(), BlockCutter())


class _NoTickingSource(_NotRun, DynamicSource[PolledBatch | Tick]):
    pass


class _NoRuns(_NotRun, DynamicSink[TakenItems[Any] | Tick]):
    pass


def _behaviour() -> Dataflow:
    reader = BatchReader(lambda text: ParsedAgent(text=text), lambda _address: UNKNOWN_PLACE)
    to_items = behaviour.session_items(reader)
    return behaviour.build_flow(_NoTickingSource(), to_items, _NoRuns())


class _NoOutbox(_NotRun, DynamicSink[AlertBatch]):
    pass


def _alert_delivery() -> Dataflow:
    return alert_delivery.build_flow(_NoSource(), _NoOutbox())


class _NoAlertSink(_NotRun, DynamicSink[PolledBatch | Tick]):
    pass


def _alerts() -> Dataflow:
    return alerts.build_flow(_NoTickingSource(), _NoAlertSink())


GRAPHS: Mapping[str, Callable[[], Dataflow]] = {
    "alert_delivery": _alert_delivery,
    "alerts": _alerts,
    "behaviour": _behaviour,
    "results": _results,
    "storage": _storage,
}


def draw(name: str) -> str:
    """The flow of this name as a Mermaid flowchart."""
    return str(to_mermaid(GRAPHS[name]()))
