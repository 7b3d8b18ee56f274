"""`python -m ingest_gateway [--processes N]`: one gateway, or several on the same ports.

With several, this process only starts and watches them: one that ends is started anew, and SIGTERM
or SIGINT stops all. Exit code 0 after a clean stop, 1 if a worker cannot start or a record was
left unacknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import subprocess
import sys
import time

import uvloop

from connectors.log_capture import log_descriptor, own_process_logs
from connectors.settings import SettingsError
from connectors.telemetry import get_logger, watch_event_loop
from ingest_gateway.service import GatewayService
from ingest_gateway.settings import GatewaySettings

RESTART_PAUSE_S = 1.0
QUICK_FAILURES_MAX = 5
QUICK_FAILURE_S = 5.0


def main() -> int:
    """Read the settings, then serve or supervise."""
    own_process_logs("ingest_gateway")
    parser = argparse.ArgumentParser(prog="ingest_gateway", description=__doc__)
    parser.add_argument("--processes", type=int, default=None, help="workers on the same ports")
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        settings = GatewaySettings.from_process()
    except SettingsError as error:
        get_logger().error("settings_invalid", detail=str(error))
        return 2
    if arguments.processes is not None:
        settings = settings.model_copy(update={"processes": arguments.processes})
    own_process_logs("ingest_gateway", settings.log_level)
    if settings.processes > 1 and arguments.worker is None:
        if settings.http_port == 0 or settings.grpc_port == 0:
            get_logger().error("settings_invalid", detail="several processes need a port to share")
            return 2
        return supervise(settings.processes)
    return uvloop.run(serve(settings, arguments.worker or 0))


async def serve(settings: GatewaySettings, worker: int) -> int:
    """Serve until a signal or a failure that only a new process can mend."""
    logger = get_logger()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = GatewayService(settings, worker)
    try:
        ports = await service.start()
    except Exception as error:
        # Whatever it is: what has begun by then would keep a process alive that nobody can stop.
        logger.error("start_failed", reason=str(error))
        await service.stop()
        return 1
    # What is alive now stays alive: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    logger.info(
        "started",
        worker=worker,
        http_port=ports.http,
        grpc_port=ports.grpc,
        metrics_port=ports.metrics,
    )
    watch = asyncio.create_task(watch_event_loop())
    waits = [asyncio.create_task(event.wait()) for event in (stopping, service.failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in (*waits, watch):
        wait.cancel()
    left = await service.stop()
    logger.info("stopped", worker=worker, records_left=left)
    return 1 if left or service.failed.is_set() else 0


def supervise(processes: int) -> int:
    """Keep `processes` workers running until a signal; gives the exit code."""
    logger = get_logger()
    is_stopping = False

    def start(worker: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ingest_gateway", f"--processes={processes}"]
        return subprocess.Popen([*command, f"--worker={worker}"], stderr=log_descriptor())

    def stop(_number: int, _frame: object) -> None:
        nonlocal is_stopping
        is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers = [start(worker) for worker in range(processes)]
    started_at_s = [time.monotonic()] * processes
    quick_failures = 0
    while not is_stopping and quick_failures < QUICK_FAILURES_MAX:
        time.sleep(0.1)
        for number, worker in enumerate(workers):
            code = worker.poll()
            if code is None or is_stopping:
                continue
            is_quick = time.monotonic() - started_at_s[number] < QUICK_FAILURE_S
            quick_failures = quick_failures + 1 if is_quick else 0
            logger.error("worker_ended", worker=number, code=code)
            time.sleep(RESTART_PAUSE_S)
            workers[number] = start(number)
            started_at_s[number] = time.monotonic()
    for worker in workers:
        worker.terminate()
    codes = [worker.wait() for worker in workers]
    return 1 if any(codes) or quick_failures >= QUICK_FAILURES_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
