"""Diagrams of the flows, drawn from the graphs that really run.

A flow is built on sources and sinks that are never started, so that no server is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from bytewax.dataflow import Dataflow
from bytewax.visualize import to_mermaid

from connectors.memory_kafka import MemoryLog, MemorySource
from flows.core.blocks import BlockCutter
from flows.core.event_rows import RowBuilder
from flows.storage import BlockSink, build_flow
from schemas.lookups import UNKNOWN_PLACE, ParsedAgent
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED


def _never() -> NoReturn:
    raise AssertionError("a drawn flow must not run")


def _storage() -> Dataflow:
    source = MemorySource(MemoryLog(), [EVENTS_RAW, EVENTS_REJECTED])
    builder = RowBuilder(lambda text: ParsedAgent(text=text), lambda _address: UNKNOWN_PLACE)
    return build_flow(source, BlockSink(_never), builder, BlockCutter())


GRAPHS: Mapping[str, Callable[[], Dataflow]] = {"storage": _storage}


def draw(name: str) -> str:
    """The flow of this name as a Mermaid flowchart."""
    return str(to_mermaid(GRAPHS[name]()))
