"""`python -m tests.fuzz`: fuzz a real gateway process on real servers; exit code 1 on a finding.

Entries run one after the other, each for --minutes and each against a gateway of its own, so that
time and memory belong to one entry; --together runs all at once, each still with its own gateway.
A case is made again by the --seed and --case that a finding names.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.entries import ENTRIES
from tests.fuzz.runner import EntryReport, EntryRun, run_one
from tests.fuzz.target import gateway_target, own_servers
from tests.stack import RunningStack


def main() -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each entry")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, printed")
    parser.add_argument("--entry", action="append", choices=list(ENTRIES), help="default: all")
    parser.add_argument("--case", type=int, default=None, help="send this case alone")
    parser.add_argument("--together", action="store_true", help="all entries at the same time")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
    entries = arguments.entry or list(ENTRIES)
    folder = Path(tempfile.mkdtemp(prefix="gosight-fuzz-"))
    print(f"seed={seed} minutes={arguments.minutes:g} entries={','.join(entries)}", flush=True)
    with own_servers() as servers:
        if arguments.case is not None:
            with gateway_target(servers) as target:
                asyncio.run(run_one(entries[0], seed, arguments.case, target, print))
            return 0
        seconds = arguments.minutes * 60
        if arguments.together:
            reports = asyncio.run(_together(entries, seed, servers, folder, seconds))
        else:
            reports = [
                asyncio.run(_run(entry, seed, servers, folder, seconds)) for entry in entries
            ]
    findings = sum(len(report.findings) for report in reports)
    cases = sum(report.cases for report in reports)
    print(f"total: cases={cases} findings={findings} seed={seed}")
    if not findings:
        folder.rmdir()
    return 1 if findings else 0


async def _run(
    entry: str, seed: int, servers: RunningStack, folder: Path, seconds: float
) -> EntryReport:
    with gateway_target(servers) as target:
        report = await EntryRun(entry, seed, target, folder).run(seconds)
    print(report.line(), flush=True)
    for finding in report.findings:
        print(f"  {finding}", flush=True)
    return report


async def _together(
    entries: list[str], seed: int, servers: RunningStack, folder: Path, seconds: float
) -> list[EntryReport]:
    runs = (_run(entry, seed, servers, folder, seconds) for entry in entries)
    return list(await asyncio.gather(*runs))


if __name__ == "__main__":
    sys.exit(main())
