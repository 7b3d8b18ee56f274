"""A worker as a process of its own that kills itself at a given moment: `STEP MOMENT`.

MOMENT is `begin` or `end` of the step, or how many changes of ClickHouse it makes in that step.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from api.erasures.worker import Worker
from connectors.erasing_store import ErasingStore


def main() -> None:
    """Do one order, as far as it is let."""
    step, moment = sys.argv[1:]
    left = int(moment) if moment.isdecimal() else 0
    is_there = False

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def on_step(name: str, at: str) -> None:
        nonlocal is_there
        is_there = (name, at) == (step, "begin")
        if (name, at) == (step, moment):
            die()

    command = ErasingStore._command

    def counted(
        store: ErasingStore,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        nonlocal left
        command(store, text, parameters, settings)
        if is_there and left:
            left -= 1
            if not left:
                die()

    ErasingStore._command = counted  # type: ignore[method-assign]
    urls = (os.environ[name] for name in ("DATABASE_URL", "CLICKHOUSE_URL", "REDIS_URL"))
    Worker(*urls, on_step=on_step).run_once()


if __name__ == "__main__":
    main()
