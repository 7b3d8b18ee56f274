"""Four servers as one: started together, stopped together, found through environment variables.

In: a data directory. Out: Kafka, ClickHouse, PostgreSQL and Valkey on loopback, and `urls`.
Guarantees: at most one stack a directory; ports and passwords stay the same over restarts as long
as the ports are free; when this process ends in whatever way, the servers end too; a start that
failed or was interrupted, at any moment, leaves no server running.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from standalone.clickhouse import ClickHouseServer
from standalone.files import write_private
from standalone.kafka import KafkaServer
from standalone.locks import DirectoryLock
from standalone.ports import choose_port
from standalone.postgres import PostgresServer
from standalone.process import GuardedProcess, SpawnGate, StartError
from standalone.settings import cache_dir, process_environ
from standalone.valkey import ValkeyServer

USUAL_PORTS = {"kafka": 9092, "clickhouse": 8123, "postgres": 5432, "valkey": 6379}
_CONTROLLER = "kafka_controller"
_CONTROLLER_PORT = 9093
_NAME = "gosight"
_PASSWORD_BYTES = 24
# How long servers of a killed stack may take to end: the longest grace and the guard's margin.
_WAIT_DEAD_OWNER_S = 25.0
_POLL_S = 0.02
# A start that was called off ends with its child process; only a download goes on for longer.
_CANCEL_S = 15.0

# Called with a server's name, what it does now, and the seconds since the start of the stack.
Progress = Callable[[str, str, float], None]


class Server(Protocol):
    """What the stack needs of a server."""

    name: str
    process: GuardedProcess | None

    def start(self, progress: Callable[[str], None]) -> None:
        """Block until it is ready, or raise StartError."""


class Stack:
    """The servers of one data directory.

    Use it as a context manager, or call `start` and `stop`. Without `ports` a first start takes the
    usual ones; with `ports`, a mapping by server name (`kafka`, `clickhouse`, `postgres`, `valkey`,
    `kafka_controller`), a server that is not named takes any free port. In both cases later starts
    take the ports of the first, and a port that is taken is replaced by a free one.
    """

    def __init__(
        self,
        data_dir: Path,
        ports: Mapping[str, int] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.state_path = self.data_dir / "stack.json"
        self._wanted_ports = ports
        self._environ = process_environ() if environ is None else dict(environ)
        self._lock = DirectoryLock(self.data_dir / "stack.lock")
        self._servers: dict[str, Server] = {}
        self._urls: dict[str, str] = {}
        self._state: dict[str, dict[str, str | int]] = {}
        self._starts: list[_Start] = []

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def urls(self) -> dict[str, str]:
        """KAFKA_BROKERS, CLICKHOUSE_URL, DATABASE_URL, REDIS_URL. They hold passwords."""
        return dict(self._urls)

    @property
    def process_ids(self) -> dict[str, int]:
        """The process id of each running server by its name."""
        return {
            name: server.process.pid
            for name, server in self._servers.items()
            if server.process is not None and server.process.returncode is None
        }

    def start(self, progress: Progress | None = None) -> dict[str, str]:
        """Start all servers at the same time; returns `urls` when all are ready.

        `progress` is called from several threads.

        Raises:
            LockedError: another stack has this data directory.
            StartError: the directory cannot be used, or a server did not get ready; the others are
                stopped again.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(_WAIT_DEAD_OWNER_S)
        except OSError as error:
            is_no_folder = isinstance(error, FileExistsError | NotADirectoryError)
            reason = "it is no folder" if is_no_folder else error.strerror
            raise StartError(f"{self.data_dir} cannot hold data: {reason}") from error
        try:
            self._state = self._read_state()
            self._build()
            # Before any server starts: what it makes first can be opened with its password alone.
            self._write_state()
            self._start_all(progress or _silent)
            self._write_state()
        except BaseException:
            self.stop()
            raise
        return self.urls

    def stop(self, progress: Progress | None = None) -> None:
        """Stop the servers in reverse order, each with a bound. Does nothing when not started.

        Interrupted, it still ends every server, all at once then, before it raises.
        """
        try:
            self._stop_in_order(progress or _silent)
        except BaseException:
            self._stop_at_once()
            raise
        finally:
            self._servers.clear()
            self._lock.release()

    def _stop_in_order(self, report: Progress) -> None:
        began = time.monotonic()
        # A start that is still on its way could bring up a server behind our back.
        for start in self._starts:
            start.cancel()
        for start in self._starts:
            start.join()
        self._starts.clear()
        for name in reversed(self._servers):
            process = self._servers[name].process
            if process is not None:
                code = process.stop()
                report(name, f"stopped (exit code {code})", time.monotonic() - began)

    def _stop_at_once(self) -> None:
        """End what an interrupted stop has left, without an order and without reports."""
        for start in self._starts:
            start.forbid()
        processes = [process for start in self._starts for process in start.spawned]
        processes += [server.process for server in self._servers.values() if server.process]
        # All are told before the first is waited for: whoever interrupts again leaves none behind.
        for process in processes:
            process.request_stop()
        for process in processes:
            process.stop()
        for start in self._starts:
            start.join()
        self._starts.clear()

    def restart(self, name: str) -> None:
        """Start one server again that has ended, or stop and start it.

        Raises:
            StartError: it did not get ready.
        """
        server = self._servers[name]
        if server.process is not None:
            server.process.stop()
        server.start(lambda _: None)
        self._write_state()

    def dead(self) -> dict[str, int]:
        """Exit code of each server that has ended by itself, by name."""
        codes = {
            name: server.process.returncode
            for name, server in self._servers.items()
            if server.process is not None
        }
        return {name: code for name, code in codes.items() if code is not None}

    def _read_state(self) -> dict[str, dict[str, str | int]]:
        """Ports and passwords of the last run, completed; a port that is taken is replaced."""
        try:
            known = json.loads(self.state_path.read_text())
        except FileNotFoundError:
            known = {}
        defaults = {**USUAL_PORTS, _CONTROLLER: _CONTROLLER_PORT}
        ports: dict[str, str | int] = {}
        for name, usual in defaults.items():
            wanted = int(known.get("ports", {}).get(name, usual))
            if self._wanted_ports is not None:
                wanted = self._wanted_ports.get(name, wanted if known else 0)
            ports[name] = choose_port(wanted, [int(port) for port in ports.values()])
        passwords = {
            name: known.get("passwords", {}).get(name) or secrets.token_urlsafe(_PASSWORD_BYTES)
            for name in ("clickhouse", "postgres", "valkey")
        }
        return {"ports": ports, "passwords": passwords}

    def _write_state(self) -> None:
        content = {
            **self._state,
            "urls": self._urls,
            "process_id": os.getpid(),
            "pids": self.process_ids,
        }
        write_private(self.state_path, json.dumps(content, indent=1) + "\n")

    def _build(self) -> None:
        ports = {name: int(port) for name, port in self._state["ports"].items()}
        passwords = {name: str(password) for name, password in self._state["passwords"].items()}
        logs = self.data_dir / "logs"
        held = (self._lock.descriptor,)
        kafka = KafkaServer(
            self.data_dir / "kafka",
            ports["kafka"],
            ports[_CONTROLLER],
            cache_dir(self._environ),
            logs / "kafka.log",
            held,
        )
        clickhouse = ClickHouseServer(
            self.data_dir / "clickhouse",
            ports["clickhouse"],
            _NAME,
            passwords["clickhouse"],
            _NAME,
            logs / "clickhouse.log",
            self._environ,
            held,
        )
        postgres = PostgresServer(
            self.data_dir / "postgres",
            ports["postgres"],
            _NAME,
            passwords["postgres"],
            logs / "postgres.log",
            held,
        )
        valkey = ValkeyServer(
            self.data_dir / "valkey",
            ports["valkey"],
            passwords["valkey"],
            logs / "valkey.log",
            held,
        )
        self._servers = {server.name: server for server in (valkey, postgres, clickhouse, kafka)}
        self._urls = {
            "KAFKA_BROKERS": kafka.brokers,
            "CLICKHOUSE_URL": clickhouse.url,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
        }

    def _start_all(self, report: Progress) -> None:
        """Start every server on a thread of its own; wait for all before giving up."""
        began = time.monotonic()

        def start_one(server: Server) -> None:
            server.start(lambda state: report(server.name, state, time.monotonic() - began))
            report(server.name, "ready", time.monotonic() - began)

        self._starts = [_Start(server, start_one) for server in self._servers.values()]
        for start in self._starts:
            start.begin()
        # Not joined: an interrupt has to reach this thread while it waits.
        while any(start.is_running for start in self._starts):
            time.sleep(_POLL_S)
        errors = [start.error for start in self._starts if start.error is not None]
        if errors:
            for fault in errors:
                if not isinstance(fault, StartError):
                    raise fault
            raise StartError("\n".join(str(fault) for fault in errors))
        self._starts.clear()


class _Start:
    """The start of one server on a thread of its own, which can be called off."""

    def __init__(self, server: Server, start_one: Callable[[Server], None]) -> None:
        self._server = server
        self._start_one = start_one
        self._gate = SpawnGate()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"start-{server.name}", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it has neither succeeded nor failed yet."""
        return self._thread.is_alive()

    def begin(self) -> None:
        """Start in the background."""
        self._thread.start()

    @property
    def spawned(self) -> list[GuardedProcess]:
        """The processes it has started so far."""
        return self._gate.spawned

    def forbid(self) -> None:
        """Let it spawn nothing any more."""
        self._gate.close()

    def cancel(self) -> None:
        """End what it has spawned; it spawns nothing any more."""
        self._gate.close()
        for process in self._gate.spawned:
            process.stop()

    def join(self) -> None:
        """Wait until nothing of it goes on but a download, which spawns nothing."""
        self._thread.join(_CANCEL_S)

    def _run(self) -> None:
        try:
            with self._gate:
                self._start_one(self._server)
        except BaseException as error:
            self.error = error


def _silent(_name: str, _state: str, _seconds: float) -> None:
    return None
