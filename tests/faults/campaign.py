"""A row of faults on servers of its own, one after the other."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess

from tests.faults.harness import Outcome
from tests.faults.kinds import run
from tests.faults.site import Site, running_site

CLOSING_S = 30.0  # What servers take to end, at most.


def run_all(
    names: Sequence[str], seed: int, size: int, places: Sequence[int], *, is_short: bool
) -> list[Outcome]:
    """The faults of these places in the row, one after the other; after one that fails, on new
    servers.
    """
    # So that a file system of its own is taken away again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    outcomes: list[Outcome] = []
    while len(outcomes) < len(places):
        with running_site() as site:
            is_whole = True
            while is_whole and len(outcomes) < len(places):
                place = places[len(outcomes)]
                name = names[place % len(names)]
                round_seed = seed + place // len(names)
                outcomes.append(_run_one(site, name, round_seed, size, is_short=is_short))
                is_whole = outcomes[-1].is_good
    return outcomes


def _end_with(parent: BaseProcess) -> None:
    """End this process and its servers when the one that started it is gone, however it ended."""
    parent.join()
    while True:
        # The first ends the fault, for a pool's worker, which then waits for another.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(CLOSING_S)


def _run_one(site: Site, name: str, seed: int, size: int, *, is_short: bool) -> Outcome:
    outcome = run(site, name, seed, size, is_short=is_short)
    print(outcome.line(), flush=True)
    for fault in outcome.verdict.faults:
        print(f"    {fault}", flush=True)
    if not outcome.is_good:
        print(f"    repeat it with: {outcome.command}", flush=True)
    return outcome
