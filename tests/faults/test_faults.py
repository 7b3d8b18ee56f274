"""A short pass of every fault; `make faults` is the long one.

The last row of a session is due ten seconds after the one before. So that not every fault waits for
that, sessions of all faults are audited when all have struck.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.conftest import Sites
from tests.faults.kinds import USUAL, run

SIZE = 500

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", USUAL)
def test_nothing_is_lost_and_nothing_doubled(sites: Sites, kind: str) -> None:
    """The auditor finds everything that was acknowledged, once, and the ledger adds up."""
    _strike(sites, kind)


@pytest.mark.parametrize("kind", USUAL)
def test_sessions_and_insights_are_whole(sites: Sites, kind: str) -> None:
    """Each session of that fault has the row and the insights that its events give, once."""
    if kind not in sites.later:
        _strike(sites, kind)
    audits = sites.later[kind]
    if not audits:
        pytest.skip("the fault itself did not go well")
    (audit,) = audits
    counts = audit()
    print(counts.line())
    assert counts.faults == []


def _strike(sites: Sites, kind: str) -> None:
    text = os.environ.get("GOSIGHT_FAULTS_SEED", "")
    seed = int(text) if text else random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    outcome = run(
        sites.get(),
        kind,
        seed,
        SIZE,
        is_short=True,
        later=sites.later.setdefault(kind, []),
    )
    print(outcome.line())
    if not outcome.is_good:
        sites.give_up()
    assert outcome.is_good, "\n".join([outcome.command, *outcome.verdict.faults])
