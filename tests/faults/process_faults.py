"""Faults of our own processes: killed, stopped (F1, F2, F8)."""

from __future__ import annotations

import signal
import time

from tests.faults.harness import Fault

EXIT_TIMEOUT_S = 60.0


def kill_gateway(fault: Fault) -> None:
    """F1: kill -9 of the gateway, or of one of its two workers, once or twice under load."""
    site = fault.site
    load = fault.load()
    for share in sorted(fault.between(0.1, 0.7) for _ in range(fault.chance.randint(1, 2))):
        load.wait_for_share(share)
        if site.gateway_processes == 1:
            site.gateway.kill()
        else:
            site.gateway.kill(pid=fault.chance.choice(site.gateway.children()))
        fault.kill_another()
    fault.finish(load)
    is_alone = site.gateway_processes == 1
    fault.expect_log(site.gateway, "started" if is_alone else "worker_ended")


def kill_storage(fault: Fault) -> None:
    """F2: kill -9 of a storage process, one to three times under load; sometimes of others, too."""
    load = fault.load()
    storages = fault.site.storages
    killed = []
    for share in sorted(fault.between(0.1, 0.95) for _ in range(fault.chance.randint(1, 3))):
        load.wait_for_share(share)
        time.sleep(fault.between(0, 0.3))
        storage = fault.chance.choice(storages)
        storage.kill()
        killed.append(storage)
        fault.kill_another()
    fault.finish(load)
    for storage in killed:
        storage.wait_for("flow_started", fault.mark(storage))
        fault.expect_log(storage, "flow_started")


def terminate(fault: Fault) -> None:
    """F8: SIGTERM of every process under load: what is ours drains and ends with 0."""
    site = fault.site
    load = fault.load()
    ours = list(site.ours)
    fault.chance.shuffle(ours)
    shares = sorted(fault.between(0.1, 0.7) for _ in ours)
    for process, share in zip(ours, shares, strict=True):
        load.wait_for_share(share)
        ends = len(process.codes)
        began_s = time.monotonic()
        process.kill(signal.SIGTERM)
        while len(process.codes) == ends:
            if time.monotonic() - began_s > EXIT_TIMEOUT_S:
                fault.faults.append(f"{process.name} did not end after SIGTERM")
                process.kill()
                break
            time.sleep(0.02)
        else:
            code = process.codes[-1]
            fault.require(code == 0, f"{process.name} ended with {code} after SIGTERM")
            fault.notes.append(f"{process.name}_ended_s={time.monotonic() - began_s:.1f}")
        fault.expect_log(process, "stopped", "flow_stopped", "stopped_before_done")
    if fault.chance.random() < 0.5:
        server = fault.chance.choice(["kafka", "clickhouse", "postgres", "valkey"])
        fault.notes.append(f"then={server}")
        site.end_server(server, signal.SIGTERM)
        site.restart_server(server)
    fault.finish(load)
