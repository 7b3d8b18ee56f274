"""Faults of the flows of sessions and insights: killed within transactions, away, not believed
by ClickHouse (F17, F18, F21).
"""

from __future__ import annotations

import time
from functools import partial

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests.faults.harness import Fault, wait_until
from tests.faults.kept import Kept
from tests.faults.proxy import SILENTLY_REPEATED, Lie

STATE_PARTS = [TopicPartition("gosight.behaviour.state", number) for number in range(12)]
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
KILLS = 3
WATCH_S = 3.0
CALL_S = 10.0


def kill_in_transactions(fault: Fault) -> None:
    """F17: kill -9 of a behaviour process while it has a transaction open, three times."""
    running = fault.site.flows["behaviour"]
    admin = admin_of(fault)
    load = fault.load()
    left_open = 0
    victims = set()
    for share in sorted(fault.between(0.1, 0.8) for _ in range(KILLS)):
        load.wait_for_share(share)
        victim = fault.chance.choice(running)
        wait_until_open(admin)
        lives = victim.starts
        victim.kill()
        victims.add(victim)
        left_open += is_open(admin)
        wait_until(partial(_has_begun_again, victim, lives), 30.0)
    fault.finish(load)
    fault.notes.append(f"left_open={left_open}/{KILLS}")
    for process in victims:
        fault.expect_log(process, "flow_started")


def _has_begun_again(process: Kept, lives: int) -> bool:
    return process.starts > lives


def admin_of(fault: Fault) -> AdminClient:
    """To look at transactions with."""
    return AdminClient({"bootstrap.servers": fault.site.urls["KAFKA_BROKERS"], "log_level": 0})


def wait_until_open(admin: AdminClient) -> None:
    """Until a transaction on the states is open, or so long that none will be."""
    ends_s = time.monotonic() + WATCH_S
    while not is_open(admin) and time.monotonic() < ends_s:
        pass


def is_open(admin: AdminClient) -> bool:
    """Whether a transaction on the states is open: there is more than readers of committed see."""
    try:
        everything = _ends(admin, IsolationLevel.READ_UNCOMMITTED)
        committed = _ends(admin, IsolationLevel.READ_COMMITTED)
    except KafkaException:
        return False
    return any(committed[number] < end for number, end in everything.items())


def _ends(admin: AdminClient, level: IsolationLevel) -> dict[int, int]:
    wanted = dict.fromkeys(STATE_PARTS, LATEST)
    futures = admin.list_offsets(wanted, isolation_level=level, request_timeout=CALL_S)
    return {part.partition: int(future.result().offset) for part, future in futures.items()}


def flows_away(fault: Fault) -> None:
    """F18: both flows are away while all events come, and catch up: killed, or stopped."""
    others = fault.site.others
    is_killed = fault.chance.random() < 0.5
    fault.notes.append(f"flows={'killed' if is_killed else 'stopped'}")
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.4))
    for process in others:
        if is_killed:
            process.kill()
        code = process.stop()
        fault.require(is_killed or code == 0, f"{process.name} ended with {code} after SIGTERM")
    fault.finish(load)
    time.sleep(fault.between(0, 3))
    fault.site.start_ours()
    for process in others:
        fault.expect_log(process, "flow_started")


def refused_results(fault: Fault) -> None:
    """F21: ClickHouse refuses rows, or takes them without a word; results are killed meanwhile."""
    relay = fault.site.clickhouse_relay
    running = fault.site.flows["results"]
    lies = [Lie.DROP_ANSWER, Lie.LATE_ANSWER, Lie.ERROR_AFTER, Lie.REFUSE, Lie.REFUSE]
    load = fault.load()
    load.wait_for_share(fault.between(0.05, 0.2))
    relay.told.clear()
    relay.tables = ("sessions", "insights")
    relay.lies = [fault.chance.choice(lies) for _ in range(fault.chance.randint(3, 6))]
    kills = fault.chance.randint(1, 2)
    for share in sorted(fault.between(0.2, 0.9) for _ in range(kills)):
        load.wait_for_share(share)
        told = len(relay.told)
        # Nothing is taken any more until they are dead: what they hold must be read again.
        relay.standing_lie = Lie.REFUSE
        wait_until(lambda told=told: Lie.REFUSE in relay.told[told:], WATCH_S)
        time.sleep(fault.between(0, 0.2))
        for process in running:
            process.kill()
        relay.standing_lie = None
    fault.finish(load)
    wait_until(lambda: not relay.lies, 30.0)
    fault.notes.append(f"kills={kills} lies={len(relay.told)}")
    fault.require(bool(relay.told), "no insert met a lie")
    if not SILENTLY_REPEATED.issuperset(relay.told):
        fault.expect_log(running, "effect_retried")
