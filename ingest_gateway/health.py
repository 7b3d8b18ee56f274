"""Whether this process can do its work now, dependency by dependency.

Kafka is needed: without it nothing can be accepted. Without Redis the gateway goes on with local
limits and asks PostgreSQL; without PostgreSQL it goes on with the keys it has seen: taking it out
of service would turn a part of an outage into a whole one. Source: deployment.md, section 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.dependencies import AsyncProbe, AsyncProbes, all_needed_up

NEEDED = frozenset({"kafka"})


class Readiness:
    """Asks all dependencies at once, whenever asked itself. `stop` makes it unready for good."""

    def __init__(self, checks: Mapping[str, AsyncProbe]) -> None:
        self._probes = AsyncProbes(checks, NEEDED)
        self._is_stopping = False

    def start(self) -> None:
        """Watch the dependencies from now on, for the gauges and the log."""
        self._probes.start()

    def stop(self) -> None:
        """Say no from now on, so that balancers look elsewhere while requests are finished."""
        self._is_stopping = True
        self._probes.stop()

    async def lines(self) -> dict[str, dict[str, Any]]:
        """State, since when, and one sentence, by dependency."""
        if self._is_stopping:
            return {"process": {"state": "stopping", "needed": True}}
        return await self._probes.ask()

    @staticmethod
    def is_ready(lines: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether the dependencies that are needed are there."""
        return all_needed_up(lines)
