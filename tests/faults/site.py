"""A whole installation that may be broken: real servers, relays before them, and our processes.

In: a folder. Out: Kafka, ClickHouse, PostgreSQL and Valkey that can be killed, frozen and started
again one by one; a gateway and one or two processes of each flow that reach three of them through
relays; projects to send for. Everything ends with this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from cli.project_store import connect, create_key, create_project
from connectors.kafka_admin import ensure_topics
from sql.migrate import migrate_up
from standalone.ports import choose_port
from standalone.stack import Stack
from tests.faults.kept import Kept
from tests.faults.proxy import LOOPBACK, HttpRelay, Relay
from tests.faults.session_auditor import SETTINGS
from tests.faults.session_log import stamp_at_append
from tests.faults.stores import ClickHouse
from tests.faults.traffic import ProjectDoor

GROUP = "gosight-event-processor"
GROUPS = {"storage": GROUP, "behaviour": "gosight-behaviour", "results": "gosight-results"}
READY_TIMEOUT_S = 90.0
FLOWS = ("storage", "behaviour", "results")
# Small blocks and polls: more of the moments in which a fault can hurt.
FLOW_SETTINGS = {"BATCH_SECONDS": "0.3", "BATCH_ROWS": "500", "POLL_RECORDS": "50"}
# Settings of a project are read every two seconds: it is made long before it is used.
PROJECTS, PROJECTS_LOW = 24, 12
SETTINGS_KNOWN_S = 5.0
DISK_BYTES = 1 << 30
CLOCK = Path(__file__).with_name("clock")


class Site:
    """The servers run as long as the site; our processes are set up anew where a fault asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = Stack(folder / "stack", ports={})
        self.small_disk = SmallDisk.at(folder / "stack" / "clickhouse")
        try:
            self.urls = self.stack.start()
            self._build()
        except BaseException:
            self._close_servers()
            raise

    def _build(self) -> None:
        self.clickhouse_relay = HttpRelay(_port(self.urls["CLICKHOUSE_URL"]))
        self.redis_relay = Relay(_port(self.urls["REDIS_URL"]))
        self.postgres_relay = Relay(_port(self.urls["DATABASE_URL"]))
        ensure_topics(self.urls["KAFKA_BROKERS"])
        stamp_at_append(self.urls["KAFKA_BROKERS"])
        migrate_up(self.urls["DATABASE_URL"], self.urls["CLICKHOUSE_URL"])
        ports: list[int] = []
        for _ in range(2):
            ports.append(choose_port(0, ports))
        self.http_port, self.grpc_port = ports
        self.environ = {
            **os.environ,
            "KAFKA_BROKERS": self.urls["KAFKA_BROKERS"],
            "CLICKHOUSE_URL": _through(self.urls["CLICKHOUSE_URL"], self.clickhouse_relay.port),
            "DATABASE_URL": _through(self.urls["DATABASE_URL"], self.postgres_relay.port),
            "REDIS_URL": _through(self.urls["REDIS_URL"], self.redis_relay.port),
            "RUST_BACKTRACE": "0",
            "PYTHONFAULTHANDLER": "1",  # See `Kept.stacks`.
        }
        self.keep_copies_apart = False  # Merges stay stopped when ClickHouse starts again.
        self._projects: list[tuple[float, ProjectDoor]] = []
        self._stock_projects()
        self.gateway = self._gateway(1)
        self.gateway_processes = 1
        self.flows = {name: [self._flow(name, 0)] for name in FLOWS}

    @property
    def http_url(self) -> str:
        """Of the gateway."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """Of the gateway."""
        return f"{LOOPBACK}:{self.grpc_port}"

    @property
    def storages(self) -> list[Kept]:
        """The processes of the storage flow."""
        return self.flows["storage"]

    @property
    def others(self) -> list[Kept]:
        """The processes of the flows of sessions and insights."""
        return [*self.flows["behaviour"], *self.flows["results"]]

    @property
    def ours(self) -> list[Kept]:
        """All processes of ours."""
        return [self.gateway, *self.storages, *self.others]

    def arrange(self, *, gateways: int = 1, **flows: int) -> None:
        """Run this many processes of the gateway and of each flow; returns when they are ready."""
        if self.gateway_processes != gateways:
            self.gateway.stop()
            self.gateway.close()
            self.gateway = self._gateway(gateways)
            self.gateway_processes = gateways
        for name in FLOWS:
            wanted, running = flows.get(name, 1), self.flows[name]
            while len(running) > wanted:
                process = running.pop()
                process.stop()
                process.close()
            running += [self._flow(name, number) for number in range(len(running), wanted)]
        self.start_ours()

    def start_ours(self) -> None:
        """Start what does not run, and wait until all of it works."""
        for process in self.ours:
            process.start()
        self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until the gateway takes records and every process of a flow reads.

        Raises:
            AssertionError: it takes too long; the text says what the process was doing.
        """
        deadline = time.monotonic() + timeout_s
        urls = {self.gateway: f"{self.http_url}/ready"}
        for process in (*self.storages, *self.others):
            urls[process] = f"http://{LOOPBACK}:{process.environ['METRICS_PORT']}/ready"
        for process, url in urls.items():
            while (answer := http_answer(url))[0] != 200:
                assert time.monotonic() < deadline, (
                    f"{process.name} is not ready in {timeout_s} s: {answer}\n{process.stacks()}"
                )
                time.sleep(0.1)

    def project(self) -> ProjectDoor:
        """A project that nobody has used and that takes everything; all know its settings."""
        if len(self._projects) <= PROJECTS_LOW:
            self._stock_projects()
        made_at_s, door = self._projects.pop(0)
        time.sleep(max(0.0, made_at_s + SETTINGS_KNOWN_S - time.monotonic()))
        return door

    def _stock_projects(self) -> None:
        with connect(self.urls["DATABASE_URL"]) as connection:
            for _ in range(PROJECTS):
                project = create_project(connection, "faults", settings=SETTINGS)
                key, _row = create_key(
                    connection,
                    project.id,
                    name="faults",
                    permission="write",
                    rate_limit=100_000,
                    burst=100_000,
                )
                self._projects.append((time.monotonic(), ProjectDoor(str(project.id), key)))

    def server_pids(self, name: str) -> list[int]:
        """A server and all that it started."""
        pid = self.stack.process_ids.get(name)
        if pid is None:
            return []
        with suppress(psutil.Error):
            server = psutil.Process(pid)
            return [pid, *(child.pid for child in server.children(recursive=True))]
        return []

    def signal_server(self, name: str, number: int) -> None:
        """Send a signal to a server and all that it started."""
        for pid in self.server_pids(name):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end_server(self, name: str, number: int = signal.SIGKILL, timeout_s: float = 30.0) -> None:
        """End a server; returns when it is gone. SIGTERM lets it finish what it does."""
        pids = self.server_pids(name)
        if number == signal.SIGKILL:
            self.signal_server(name, number)
        elif pids:
            # PostgreSQL waits for its clients after SIGTERM, not after SIGINT.
            os.kill(pids[0], signal.SIGINT if name == "postgres" else number)
        deadline = time.monotonic() + timeout_s
        while name in self.stack.process_ids:
            assert time.monotonic() < deadline, f"{name} did not end"
            time.sleep(0.02)

    def restart_server(self, name: str) -> None:
        """Start a server that has ended; returns when it is ready."""
        self.stack.restart(name)
        if name == "clickhouse" and self.keep_copies_apart:
            ClickHouse(self.urls["CLICKHOUSE_URL"]).run("SYSTEM STOP MERGES")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A server that does not move, and moves again afterwards."""
        pids = self.server_pids(name)
        try:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def clocks_off(self, processes: list[Kept], offset_s: int) -> Iterator[None]:
        """Start processes again with Python's wall clock moved, and afterwards without."""
        usual = [dict(process.environ) for process in processes]
        path = os.pathsep.join(filter(None, [str(CLOCK), self.environ.get("PYTHONPATH", "")]))
        moved = {"PYTHONPATH": path, "GOSIGHT_FAULTS_CLOCK_OFFSET_S": str(offset_s)}
        for process in processes:
            process.stop()
            process.environ.update(moved)
        self.start_ours()
        try:
            yield
        finally:
            for process, environ in zip(processes, usual, strict=True):
                process.stop()
                process.environ = environ
            self.start_ours()

    def mend(self) -> None:
        """Make everything whole again, whatever a fault left behind."""
        for relay in (self.clickhouse_relay, self.redis_relay, self.postgres_relay):
            relay.mend()
        if self.small_disk is not None:
            self.small_disk.empty()
        for name in ("valkey", "postgres", "clickhouse", "kafka"):
            self.signal_server(name, signal.SIGCONT)
            if name not in self.stack.process_ids:
                self.restart_server(name)

    def close(self) -> None:
        """End everything."""
        for process in self.ours:
            process.close()
        for relay in (self.clickhouse_relay, self.redis_relay, self.postgres_relay):
            relay.close()
        self._close_servers()

    def _close_servers(self) -> None:
        self.stack.stop()
        if self.small_disk is not None:
            self.small_disk.close()

    def _gateway(self, processes: int) -> Kept:
        metrics = choose_port(0, (self.http_port, self.grpc_port))
        environ = {
            **self.environ,
            "INGESTOR_HOST": LOOPBACK,
            "INGESTOR_HTTP_PORT": str(self.http_port),
            "INGESTOR_GRPC_PORT": str(self.grpc_port),
            "INGESTOR_PROCESSES": str(processes),
            "METRICS_PORT": str(metrics) if processes == 1 else "0",
        }
        argv = [sys.executable, "-m", "ingest_gateway"]
        return Kept("gateway", argv, environ, self.folder / "gateway.log")

    def _flow(self, name: str, index: int) -> Kept:
        environ = {
            **self.environ,
            **FLOW_SETTINGS,
            "METRICS_HOST": LOOPBACK,
            "METRICS_PORT": str(choose_port(0, (self.http_port, self.grpc_port))),
        }
        argv = [sys.executable, "-m", "flows", name]
        return Kept(f"{name}-{index}", argv, environ, self.folder / f"{name}-{index}.log")


class SmallDisk:
    """A file system of its own for ClickHouse, that can be filled; only for root on Linux."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "filler"

    @classmethod
    def at(cls, folder: Path) -> SmallDisk | None:
        """Mounted there, or None where that is not allowed."""
        if os.geteuid() != 0:
            return None
        folder.mkdir(parents=True)
        options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        done = subprocess.run(["mount", *options], capture_output=True, check=False)
        return cls(folder) if done.returncode == 0 else None

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 20))
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the file system away."""
        subprocess.run(["umount", "-l", str(self._folder)], capture_output=True, check=False)


@contextmanager
def running_site() -> Iterator[Site]:
    """A site in a temporary folder; it is removed at the end, but kept when something fails."""
    folder = Path(tempfile.mkdtemp(prefix="gosight-faults-"))
    site = Site(folder)
    try:
        site.arrange()
        yield site
    finally:
        site.close()
        if not os.environ.get("GOSIGHT_FAULTS_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def http_answer(url: str, timeout_s: float = 5.0) -> tuple[int, str]:
    """Status and text of a GET; 0 and why if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))
