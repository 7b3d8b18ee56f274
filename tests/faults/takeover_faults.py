"""Faults of partitions that change hands: a second process, a holder unawares (F12, F19, F20)."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from tests.faults.behaviour_faults import admin_of, is_open, wait_until_open
from tests.faults.harness import Fault, wait_until
from tests.faults.kept import Kept
from tests.faults.site import GROUPS, Site

JOIN_S = 8.0  # How long events come while a second process joins and leaves.
TAKEN_OVER_S = 40.0
# Partitions of all topics that a group reads.
PARTS = {GROUPS["storage"]: 15, GROUPS["behaviour"]: 12, GROUPS["results"]: 15}


def second_copy(fault: Fault) -> None:
    """F12: a second process by mistake, or a holder that does not know it is none."""
    flow = fault.chance.choice(["storage", "results"])
    fault.notes.append(f"flow={flow}")
    if len(fault.site.flows[flow]) > 1:
        _unaware_holder(fault, flow)
    elif fault.chance.random() < 0.5:
        _joining_copy(fault, flow)
    else:
        _stolen_claims(fault, flow)


def behaviour_there_and_back(fault: Fault) -> None:
    """F19: one behaviour process becomes two and one again while events come."""
    _joining_copy(fault, "behaviour")


def unaware_behaviour(fault: Fault) -> None:
    """F20: a behaviour process that was taken over goes on as if nothing were."""
    if len(fault.site.flows["behaviour"]) > 1:
        _unaware_holder(fault, "behaviour")
    else:
        _stolen_claims(fault, "behaviour")


def _joining_copy(fault: Fault, flow: str) -> None:
    """A second one takes its share of the partitions; then one of the two is stopped or killed."""
    load = fault.load(fault.plans(load_s=JOIN_S))
    with _copy_of(fault, flow) as copy:
        copy.wait_for("partition_taken", 0)
        time.sleep(fault.between(0, 1.5))
        victim = fault.chance.choice([copy, fault.site.flows[flow][0]])
        is_killed = fault.chance.random() < 0.5
        which = "second" if victim is copy else "first"
        fault.notes.append(f"copy=joined {which}={'killed' if is_killed else 'stopped'}")
        if is_killed:
            victim.kill()
        code = victim.stop()
        fault.require(is_killed or code == 0, f"{victim.name} ended with {code} after SIGTERM")
        # The other one has all partitions for a while.
        time.sleep(fault.between(1, 2))
        fault.site.start_ours()
    fault.finish(load)


@contextmanager
def _copy_of(fault: Fault, flow: str) -> Iterator[Kept]:
    environ = {**fault.site.flows[flow][0].environ, "METRICS_PORT": "0"}
    log_path = fault.site.folder / f"copy-{fault.kind}-{fault.seed}.log"
    copy = Kept("copy", [sys.executable, "-m", "flows", flow], environ, log_path)
    try:
        copy.start()
        yield copy
    finally:
        copy.close()


def _stolen_claims(fault: Fault, flow: str) -> None:
    """Its session is cut and somebody else takes the locks: it waits, then goes on."""
    fault.notes.append("copy=stolen")
    site = fault.site
    victim = site.flows[flow][0]
    name = f"gosight lease {GROUPS[flow]}"
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.5))
    with psycopg.connect(site.urls["DATABASE_URL"], autocommit=True) as thief:
        held = thief.execute(
            "SELECT pid, classid::bigint << 32 | objid::bigint FROM pg_locks "
            "JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND application_name = %s",
            (name,),
        ).fetchall()
        assert held, f"{victim.name} holds no partition"
        thief.execute("SELECT pg_terminate_backend(%s)", (held[0][0],))
        for _, key in held:
            thief.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        _wait_for_new_session(
            thief, name, held[0][0]
        )  # Its log may have said the same a minute ago.
        time.sleep(fault.between(0, 2))
    fault.finish(load)
    fault.expect_log(victim, "claims_unconfirmed")


def _wait_for_new_session(thief: psycopg.Connection[Any], name: str, old_pid: int) -> None:
    """Until the process has noticed that its session is gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = thief.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND pid <> %s",
            (name, old_pid),
        ).fetchone()
        if found is not None:
            return
        time.sleep(0.05)
    raise AssertionError("the process did not open a new session in 30 s")


def _unaware_holder(fault: Fault, flow: str) -> None:
    """One of two stands still until the other has its partitions, and then moves again.

    The other gets them when PostgreSQL ends the frozen one's session, after 20 s, or at once if its
    connection breaks.
    """
    is_cut = fault.is_short or fault.chance.random() < 0.7
    fault.notes.append(f"copy={'cut_off' if is_cut else 'frozen'}")
    site = fault.site
    frozen = fault.chance.choice(site.flows[flow])
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.5))
    admin = admin_of(fault)
    if flow == "behaviour":
        wait_until_open(admin)
    frozen.kill(signal.SIGSTOP)
    try:
        if flow == "behaviour":
            fault.notes.append(f"left_open={is_open(admin)}")
        if is_cut:
            relay = site.postgres_relay
            relay.drop(frozen.ports_to(relay.port))
        wait_until(partial(_is_all_held_by_one, site, GROUPS[flow]), TAKEN_OVER_S)
        time.sleep(fault.between(0, 2))
    finally:
        frozen.kill(signal.SIGCONT)
    fault.finish(load)


def _is_all_held_by_one(site: Site, group: str) -> bool:
    with psycopg.connect(site.urls["DATABASE_URL"], autocommit=True) as database:
        found = database.execute(
            "SELECT count(*), count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' "
            "AND application_name = %s",
            (f"gosight lease {group}",),
        ).fetchone()
    return found is not None and found[0] == PARTS[group] and found[1] == 1
