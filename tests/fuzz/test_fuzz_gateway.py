"""A short run of the fuzzer against a real gateway process, each time with another seed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.entries import ENTRIES
from tests.fuzz.runner import EntryRun
from tests.fuzz.target import gateway_target
from tests.integration.ingest_gateway.gateway_process import create_tables
from tests.stack import RunningStack, fresh_databases

SECONDS = 0.7  # An entry.


@pytest.mark.integration
async def test_a_short_run_finds_nothing(running_stack: RunningStack, tmp_path: Path) -> None:
    """All doors of one process, one after the other: no failure, no hang, nothing lost."""
    seed = random.SystemRandom().randrange(2**31)
    with fresh_databases(running_stack) as servers:
        create_tables(servers.database_url)
        with gateway_target(servers) as target:
            for entry in ENTRIES:
                run = EntryRun(entry, seed, target, tmp_path, block_cases=200)
                report = await run.run(SECONDS)
                assert report.findings == [], [str(finding) for finding in report.findings]
                assert report.cases > 10, report.line()
                assert report.good_batches >= 1
