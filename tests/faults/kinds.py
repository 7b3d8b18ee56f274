"""The list of faults: kind, scenario, and how many of our processes it wants."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.faults import (
    behaviour_faults,
    data_faults,
    position_faults,
    process_faults,
    server_faults,
    takeover_faults,
)
from tests.faults.harness import Outcome, Scenario, SessionAudit, run_fault
from tests.faults.site import Site


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault. Of several numbers of processes the seed chooses one."""

    name: str
    scenario: Scenario
    gateways: tuple[int, ...] = (1,)
    storages: tuple[int, ...] = (1,)
    behaviours: tuple[int, ...] = (1,)
    results: tuple[int, ...] = (1,)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("F1", process_faults.kill_gateway, gateways=(1, 2)),
        Kind("F2", process_faults.kill_storage, storages=(1, 2), behaviours=(1, 1, 2)),
        Kind("F3", server_faults.kill_kafka),
        Kind("F4", server_faults.freeze_server),
        Kind("F5", server_faults.lying_clickhouse, storages=(1, 2)),
        Kind("F6", server_faults.bad_redis),
        Kind("F7", server_faults.bad_postgres),
        Kind("F8", process_faults.terminate, storages=(1, 2)),
        Kind("F9", server_faults.disk_full),
        Kind("F10", position_faults.lost_positions),
        Kind("F12", takeover_faults.second_copy, storages=(1, 2), results=(1, 2)),
        Kind("F13", data_faults.poison),
        Kind("F14", data_faults.wrong_clocks),
        Kind("F15", data_faults.any_order),
        Kind("F16", data_faults.hot_session),
        Kind("F17", behaviour_faults.kill_in_transactions, behaviours=(1, 2)),
        Kind("F18", behaviour_faults.flows_away),
        Kind("F19", takeover_faults.behaviour_there_and_back),
        Kind("F20", takeover_faults.unaware_behaviour, behaviours=(1, 2, 2)),
        Kind("F21", behaviour_faults.refused_results, results=(1, 2)),
        Kind("minute", server_faults.a_minute_each),
    )
}
# In every campaign; a minute without each server takes six of them and is asked for by name.
USUAL = tuple(name for name in KINDS if name != "minute")


def run(
    site: Site,
    name: str,
    seed: int,
    size: int,
    *,
    is_short: bool = False,
    later: list[SessionAudit] | None = None,
) -> Outcome:
    """Run one fault; the same kind, seed and size makes the same load and the same fault.

    For `later` see `run_fault`.
    """
    kind = KINDS[name]
    chance = random.Random(f"shape {seed}")
    return run_fault(
        site,
        name,
        kind.scenario,
        seed,
        size,
        is_short=is_short,
        gateways=chance.choice(kind.gateways),
        flows={
            "storage": chance.choice(kind.storages),
            "behaviour": chance.choice(kind.behaviours),
            "results": chance.choice(kind.results),
        },
        later=later,
    )
