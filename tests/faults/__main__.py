"""`make faults`: seeded faults of all kinds, one line each, a table at the end.

Exit code 0 if every fault left everything whole, 1 if one did not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.faults.campaign import run_all
from tests.faults.harness import Outcome
from tests.faults.kinds import KINDS, USUAL

SIZE = 1_500


def main() -> int:
    """Run what the arguments ask for."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    names = options.kind.split(",") if options.kind else list(USUAL)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        print(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    count = options.number or len(names)
    print(f"{count} faults of {', '.join(names)}; seed {seed}, size {options.size}", flush=True)
    began_s = time.monotonic()
    places = range(count)
    shares = [places[job :: options.jobs] for job in range(options.jobs)]
    run_share = partial(run_all, names, seed, options.size, is_short=options.short)
    # Each job has servers and processes of its own; nothing is shared but the machine.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as jobs:
        outcomes = [one for share in jobs.map(run_share, shares) for one in share]
    print_table(outcomes, time.monotonic() - began_s)
    return 0 if len(outcomes) == count and all(one.is_good for one in outcomes) else 1


def print_table(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Faults by kind, events, lost, doubled, verdict."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind].append(outcome)
    print(f"\n{'kind':<8}{'faults':>7}{'accepted':>10}{'lost':>6}{'doubled':>9}  verdict")
    for name, group in [*groups.items(), ("all", list(outcomes))]:
        failed = sum(not one.is_good for one in group)
        print(
            f"{name:<8}{len(group):>7}{sum(one.verdict.accepted for one in group):>10}"
            f"{sum(one.verdict.lost for one in group):>6}"
            f"{sum(one.verdict.doubled for one in group):>9}  "
            f"{'ok' if not failed else f'{failed} FAILED'}"
        )
    print(f"{len(outcomes)} faults in {seconds / 60:.1f} minutes", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--number", type=int, default=0, help="faults; 0: one of each kind")
    parser.add_argument("--kind", default="", help="F1 ... F21, minute; several with commas")
    parser.add_argument("--seed", type=int, default=None, help="of the first fault; else by chance")
    parser.add_argument("--size", type=int, default=SIZE, help="events of one fault")
    parser.add_argument("--jobs", type=int, default=1, help="faults at the same time")
    parser.add_argument("--short", action="store_true", help="the timing of the short pass")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
