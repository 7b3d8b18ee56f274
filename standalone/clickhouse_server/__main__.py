"""`python -m standalone.clickhouse_server --data DIR --port N`: serve one data directory.

Prints one JSON line `{"ready": true, "port": N}` when it listens. SIGTERM: finish what runs, close
the engine, exit 0. Exit 2: wrong settings, or another process has the data directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import uvloop
from aiohttp import web

from standalone.clickhouse_server.app import Front
from standalone.clickhouse_server.engine import Engine
from standalone.clickhouse_server.settings import FrontSettings, NotLoopbackError, read_settings
from standalone.locks import DirectoryLock, LockedError

_KEEP_ALIVE_S = 60.0


async def _serve(engine: Engine, settings: FrontSettings) -> None:
    front = Front(engine, settings)
    runner = web.AppRunner(
        front.build_app(),
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        keepalive_timeout=_KEEP_ALIVE_S,
        shutdown_timeout=settings.drain_s,
    )
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port).start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(json.dumps({"ready": True, "port": runner.addresses[0][1]}), flush=True)
    await stop.wait()
    await runner.cleanup()
    front.close()


def main() -> int:
    """Read the settings, lock the directory, open the engine, serve."""
    try:
        settings = read_settings(None, os.environ)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = DirectoryLock(settings.data_dir / "front.lock")
        lock.acquire()
    except (NotLoopbackError, LockedError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        engine = Engine(settings.data_dir / "store", settings.memory_bytes_max)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(engine, settings))
        finally:
            engine.close()
    finally:
        lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
