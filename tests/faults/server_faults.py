"""Faults of the servers: killed, frozen, lying, slow, full (F3 to F7, F9, and a minute of each)."""

from __future__ import annotations

import json
import resource
import signal
import time
import urllib.error
import urllib.request

from tests.faults.events import EventMaker, batch_json
from tests.faults.harness import Fault, wait_until
from tests.faults.proxy import SILENTLY_REPEATED, Lie
from tests.faults.traffic import Load

FROZEN_LONG_S = 30.0
MINUTE_S = 60.0
PROBE_TIMEOUT_S = 13.0
UNKNOWN_KEY = "gs_live_" + "Zz9" * 10 + "Zz"
# The same warning is written once a minute: what an earlier fault said is not said again.
KAFKA_LINES = ("kafka_write_failed", "dependency_down", "dependency_up")


def kill_kafka(fault: Fault) -> None:
    """F3: kill -9 of the broker under load, started again up to two seconds later."""
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.6))
    fault.site.end_server("kafka")
    time.sleep(fault.between(0, 2))
    fault.site.restart_server("kafka")
    fault.finish(load)
    fault.expect_log(fault.site.storages, "kafka_away")


def freeze_server(fault: Fault) -> None:
    """F4: SIGSTOP of the broker or of ClickHouse; every third one for the whole 30 s."""
    is_long = not fault.is_short and fault.seed % 3 == 0
    seconds = FROZEN_LONG_S if is_long else fault.between(2, 4) if fault.is_short else 9.0
    name = fault.chance.choice(["kafka", "clickhouse"])
    fault.notes.append(f"{name}_frozen_s={seconds:.0f}")
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.5))
    with fault.site.frozen(name):
        time.sleep(seconds)
    fault.finish(load)
    for process in fault.site.ours:
        fault.require(not process.codes_since_mark, f"{process.name} ended: it need not have")
    if name == "kafka" and seconds > 10:
        fault.expect_log(fault.site.gateway, *KAFKA_LINES)


def lying_clickhouse(fault: Fault) -> None:
    """F5: inserts are done and not answered, or refused; in some runs it is killed as well."""
    relay = fault.site.clickhouse_relay
    lies = [Lie.DROP_ANSWER, Lie.LATE_ANSWER, Lie.ERROR_AFTER, Lie.REFUSE]
    load = fault.load()
    load.wait_for_share(fault.between(0.05, 0.4))
    relay.told.clear()
    relay.lies = [fault.chance.choice(lies) for _ in range(fault.chance.randint(2, 6))]
    if fault.chance.random() < 0.4:
        load.wait_for_share(fault.between(0.5, 0.8))
        fault.notes.append("clickhouse=killed")
        fault.site.end_server("clickhouse")
        time.sleep(fault.between(0, 1))
        fault.site.restart_server("clickhouse")
    fault.finish(load)
    wait_until(lambda: not relay.lies, 30.0)
    fault.notes.append(f"lies={len(relay.told)}")
    fault.require(bool(relay.told), "no insert met a lie")
    if not SILENTLY_REPEATED.issuperset(relay.told):
        fault.expect_log([*fault.site.storages, *fault.site.flows["results"]], "effect_retried")


def bad_redis(fault: Fault) -> None:
    """F6: Redis killed, flushed, slow or cut off: ingestion goes on, nobody gets past a key."""
    site = fault.site
    mode = fault.chance.choice(["killed", "flushed", "slow", "cut"])
    fault.notes.append(f"redis={mode}")
    load = fault.load()
    load.wait_for_share(fault.between(0.05, 0.3))
    if mode == "killed":
        site.end_server("valkey")
    elif mode == "cut":
        site.redis_relay.cut()
    elif mode == "slow":
        site.redis_relay.delay_s = fault.between(0.3, 1.5)
    else:
        _flush_redis(fault)
    _probe_while(fault, load, {401}, 2.0)
    if mode == "killed":
        site.restart_server("valkey")
    site.redis_relay.mend()
    fault.finish(load)
    if mode != "flushed":
        fault.expect_log(site.gateway, "key_cache_away", "rate_limit_local")
    fault.require(not fault.told.failed_attempts, f"refused: {dict(fault.told.statuses)}")


def bad_postgres(fault: Fault) -> None:
    """F7: PostgreSQL stopped, frozen or cut off: known keys work, unknown ones get 503."""
    site = fault.site
    mode = fault.chance.choice(["stopped", "frozen", "cut"])
    fault.notes.append(f"postgres={mode}")
    load = fault.load()
    # Each client has been let in once: its key is known.
    load.wait_for_share(fault.between(0.2, 0.5))
    seconds = fault.between(2, 5)
    if fault.chance.random() < 0.5:
        fault.notes.append("redis=flushed")
        _flush_redis(fault)
    if mode == "stopped":
        site.end_server("postgres", signal.SIGTERM)
        _probe_while(fault, load, {503}, seconds)
        site.restart_server("postgres")
    elif mode == "cut":
        site.postgres_relay.cut()
        _probe_while(fault, load, {503}, seconds)
        site.postgres_relay.mend()
    else:
        with site.frozen("postgres"):
            _probe_while(fault, load, {503}, seconds)
    fault.finish(load)
    fault.require(not fault.told.failed_attempts, f"refused: {dict(fault.told.statuses)}")
    for process in (*site.storages, *site.others):
        fault.require(not process.codes_since_mark, f"{process.name} ended: it is alone, may go on")


def disk_full(fault: Fault) -> None:
    """F9: no room for ClickHouse (a full file system, or an answer that says so) or for Kafka."""
    site = fault.site
    disk = site.small_disk
    mode = fault.chance.choice(["clickhouse", "clickhouse", "kafka"])
    load = fault.load()
    load.wait_for_share(fault.between(0.1, 0.4))
    seconds = fault.between(2, 4)
    if mode == "clickhouse":
        fault.notes.append(f"full=clickhouse_{'says' if disk is None else 'disk'}")
        if disk is not None:
            disk.fill()
        else:
            site.clickhouse_relay.standing_lie = Lie.DISK_FULL
        time.sleep(seconds)
        # On a busy machine storage may have had nothing to write until now.
        wait_until(lambda: fault.has_logged(site.storages, "effect_retried"), 20.0)
        site.clickhouse_relay.mend()
        if disk is not None:
            disk.empty()
        fault.expect_log(site.storages, "effect_retried")
    else:
        _limit_files(site.server_pids("kafka"), 1)
        # A broker that cannot write its only log folder ends; somebody makes room, and it starts.
        wait_until(lambda: "kafka" not in site.stack.process_ids, 20.0)
        has_ended = "kafka" not in site.stack.process_ids
        fault.notes.append(f"full=kafka_files broker_ended={has_ended}")
        if not has_ended:
            site.end_server("kafka")
        time.sleep(1.0)
        site.restart_server("kafka")
        fault.expect_log(site.ours, "kafka_away", *KAFKA_LINES)
    fault.finish(load)


def a_minute_each(fault: Fault) -> None:
    """Every server away for a minute, one after the other, under load and with no human."""
    site = fault.site
    pause_s = 5.0 if fault.is_short else 20.0
    names = ["kafka", "clickhouse", "valkey", "postgres"]
    load = fault.load(fault.plans(load_s=len(names) * (MINUTE_S + pause_s + 5)), give_up_s=900.0)
    time.sleep(pause_s)
    for name in names:
        before = dict(load.told.statuses)
        site.end_server(name)
        time.sleep(MINUTE_S)
        site.restart_server(name)
        time.sleep(pause_s)
        during = {s: n - before.get(s, 0) for s, n in sorted(load.told.statuses.items())}
        fault.notes.append(f"{name}={json.dumps(during).replace(' ', '')}")
        if name != "kafka":
            refused = sum(count for status, count in during.items() if status != 202)
            fault.require(refused == 0, f"{refused} requests refused while {name} was away")
    fault.finish(load)
    fault.expect_log(site.gateway, *KAFKA_LINES)
    fault.expect_log(site.storages, "effect_retried")
    fault.expect_log(site.gateway, "key_cache_away", "rate_limit_local")
    fault.expect_log(site.storages, "claims_unconfirmed")
    fault.expect_log(site.gateway, "dependency_down")
    fault.notes.append(f"storage_starts={sum(s.starts for s in site.storages)}")


def _flush_redis(fault: Fault) -> None:
    import redis

    client = redis.Redis.from_url(fault.site.urls["REDIS_URL"])
    client.flushall()
    client.close()


def _limit_files(pids: list[int], size_bytes: int) -> None:
    """The largest size to which a process may grow a file: what is beyond fails as a write."""
    for pid in pids:
        _soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


def _probe_while(fault: Fault, load: Load, allowed: set[int], seconds: float) -> None:
    """Send with a key that does not exist, again and again; note what it is answered."""
    ends_s = time.monotonic() + seconds
    answers: dict[int, int] = {}
    slowest_s = 0.0
    while time.monotonic() < ends_s:
        began_s = time.monotonic()
        status = probe(fault)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        answers[status] = answers.get(status, 0) + 1
        time.sleep(0.1)
    fault.notes.append(f"unknown_key={'/'.join(map(str, sorted(answers)))}<{slowest_s:.1f}s")
    fault.require(answers.keys() <= allowed, f"an unknown key was answered {answers}")


def probe(fault: Fault) -> int:
    """The status for a good batch with an unknown key; each time another one."""
    made = EventMaker(fault.chance, sessions=1, bad_share=0).make(1, time.time_ns() // 1_000_000)
    key = UNKNOWN_KEY[:-8] + f"{fault.chance.getrandbits(32):08x}"
    request = urllib.request.Request(
        f"{fault.site.http_url}/v1/events",
        data=batch_json(made, 0, 0),
        headers={"X-GoSight-Key": key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        if error.code == 503 and "Retry-After" not in error.headers:
            fault.faults.append("a 503 without Retry-After")
        return error.code
    except OSError:
        return 0
