"""All of GoSight on one machine: the servers, the schemas, the topics, a project, our processes.

In: a data folder. Out: `Addresses`, once everything answers. Guarantees: ports stay the same over
restarts as long as they are free; what was started is stopped in an order that loses nothing (first
what takes events in, last what keeps them), however the process is asked to end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cli.default_project import DefaultProject, ensure_default_project
from cli.folders import ENVIRONMENT_FILE, PORTS_FILE, SIGNING_FILE
from cli.settings import process_environment
from connectors.kafka_admin import ensure_topics
from connectors.secret_texts import random_text
from sql.migrate import migrate_up
from standalone.files import write_private
from standalone.ports import LOOPBACK, choose_port
from standalone.process import StartError
from standalone.stack import Stack
from standalone.supervisor import EXIT_GAVE_UP, ProcessSpec, Supervisor

USUAL_PORTS = {
    "gateway": 8080,
    "grpc": 50_051,
    "api": 8082,
    "storage": 9090,
    "results": 9094,
    "behaviour": 9095,
    "alerts": 9096,
    "alert_delivery": 9097,
    "erasures": 9098,
}
# A server that dies this often is not saved by starting it once more.
SERVER_RESTARTS_MAX = 5
_WATCH_S = 1.0
_SOURCE = Path(__file__).resolve().parent.parent

READS_PER_MINUTE = "100000"
SECRET_CHARS = 64

# Called with what is being worked on, and what happened to it.
Report = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is. It holds keys and passwords: it is not for logs."""

    gateway: str
    grpc: str
    api: str
    clickhouse: str
    kafka: str
    database: str
    redis: str
    project_id: str
    write_key: str
    read_key: str
    data: str


def read_ports(data: Path) -> dict[str, int]:
    """The ports of our own processes at the last start, by name; empty if there was none."""
    try:
        found: dict[str, int] = json.loads((data / PORTS_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return found


def ensure_secret(data: Path) -> str:
    """The secret that signs logins, the same over restarts; drawn at the first start."""
    path = data / SIGNING_FILE
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        known = ""
    if len(known) < SECRET_CHARS:
        known = random_text(SECRET_CHARS)
        write_private(path, known + "\n")
    return known


class OneMachine:
    """Everything in one data folder; `start`, then `run` until `request_stop`.

    `any_ports` takes free ports instead of the usual ones. `extra_environ` is added to the
    environment of our own processes.
    """

    def __init__(
        self,
        data: Path,
        *,
        any_ports: bool = False,
        extra_environ: Mapping[str, str] | None = None,
        report: Report = lambda _name, _text: None,
    ) -> None:
        self._data = data.expanduser().resolve()
        self._any_ports = any_ports
        self._extra_environ = dict(extra_environ or {})
        self._report = report
        self._stack = Stack(self._data, ports={} if any_ports else None)
        self._supervisor: Supervisor | None = None
        self._is_stop_requested = False
        self._servers_failed = False
        self.is_running = False  # `run` is at work, and will stop all when asked to.

    def start(self) -> Addresses:
        """Start everything; returns when all of it answers.

        Raises:
            LockedError: another process has the data folder.
            StartError: something did not get ready; all is stopped again.
            ConnectorError: the schemas or the topics could not be made; all is stopped again.
        """
        urls = self._stack.start(lambda name, text, _seconds: self._report(name, text))
        try:
            project = self._prepare(urls)
            ports = self._choose_ports()
            self._start_processes(self._specs(urls, ports), urls)
            return self._addresses(urls, ports, project)
        except BaseException:
            self.stop()
            raise

    def start_servers(self) -> dict[str, str]:
        """Start the servers and nothing that uses them; returns their addresses by variable.

        For what keeps the rest from starting, and for what is done while nobody writes.

        Raises:
            LockedError: another process has the data folder.
            StartError: a server did not get ready; all are stopped again.
        """
        urls = self._stack.start(lambda name, text, _seconds: self._report(name, text))
        try:
            self._start_processes([], urls)
        except BaseException:
            self.stop()
            raise
        return urls

    def _start_processes(self, specs: Sequence[ProcessSpec], urls: Mapping[str, str]) -> None:
        self._supervisor = Supervisor(specs, on_event=self._report)
        if self._is_stop_requested:
            self._supervisor.request_stop()
        self._supervisor.start()
        write_private(self._data / ENVIRONMENT_FILE, json.dumps(urls, indent=1) + "\n")

    def run(self) -> int:
        """Keep everything running until a stop is requested; stop it; return the exit code."""
        assert self._supervisor is not None, "start comes first"
        self.is_running = True
        watcher = threading.Thread(target=self._watch_servers, name="servers", daemon=True)
        watcher.start()
        try:
            code = self._supervisor.run()
        finally:
            self._is_stop_requested = True
            watcher.join()
            self.stop()
        return EXIT_GAVE_UP if self._servers_failed else code

    @property
    def is_stop_requested(self) -> bool:
        """Whether it is stopping, or will stop as soon as it runs."""
        return self._is_stop_requested

    def request_stop(self) -> None:
        """Make `start` and `run` return soon; may be called from a signal handler."""
        self._is_stop_requested = True
        if self._supervisor is not None:
            self._supervisor.request_stop()

    def stop(self) -> None:
        """Stop whatever runs. Does nothing the second time."""
        (self._data / ENVIRONMENT_FILE).unlink(missing_ok=True)
        if self._supervisor is not None:
            self._supervisor.stop()
        self._stack.stop(lambda name, text, _seconds: self._report(name, text))

    def _prepare(self, urls: Mapping[str, str]) -> DefaultProject:
        """Schemas and topics at the same time, then the project."""
        with ThreadPoolExecutor(1) as pool:
            topics = pool.submit(ensure_topics, urls["KAFKA_BROKERS"])
            applied = migrate_up(urls["DATABASE_URL"], urls["CLICKHOUSE_URL"])
            self._report("schemas", f"{len(applied)} migrations applied" if applied else "ready")
            created = topics.result()
        self._report("topics", f"{len(created)} created" if created else "ready")
        return ensure_default_project(urls["DATABASE_URL"], self._data)

    def _choose_ports(self) -> dict[str, int]:
        known = read_ports(self._data)
        ports: dict[str, int] = {}
        for name, usual in USUAL_PORTS.items():
            wanted = known.get(name, 0 if self._any_ports else usual)
            ports[name] = choose_port(wanted, tuple(ports.values()))
        write_private(self._data / PORTS_FILE, json.dumps(ports, indent=1) + "\n")
        return ports

    def _specs(self, urls: Mapping[str, str], ports: Mapping[str, int]) -> list[ProcessSpec]:
        inherited = process_environment()
        path = [str(_SOURCE), inherited.get("PYTHONPATH", "")]
        environ = {
            **inherited,
            **urls,
            "PYTHONPATH": ":".join(filter(None, path)),
            "INGESTOR_HOST": LOOPBACK,
            "INGESTOR_HTTP_PORT": str(ports["gateway"]),
            "INGESTOR_GRPC_PORT": str(ports["grpc"]),
            "API_HOST": LOOPBACK,
            "API_PORT": str(ports["api"]),
            "JWT_SECRET": inherited.get("JWT_SECRET") or ensure_secret(self._data),
            # One machine's owner is the only caller: limits protect others, of whom there are none.
            "API_READS_PER_MINUTE": inherited.get("API_READS_PER_MINUTE") or READS_PER_MINUTE,
            "METRICS_HOST": LOOPBACK,
            **self._extra_environ,
        }

        def spec(name: str, module: str, *arguments: str, **changes: str) -> ProcessSpec:
            return ProcessSpec(
                name=name,
                # -P: a folder named `api` where the command was called must not be ours.
                argv=(sys.executable, "-P", "-m", module, *arguments),
                environ={**environ, **changes},
                ready_url=f"http://{LOOPBACK}:{ports[name]}/ready",
                log_path=self._data / "logs" / f"{name}.log",
            )

        return [
            # Its metrics are on its HTTP port: one port less to find.
            spec("gateway", "ingest_gateway", METRICS_PORT="0"),
            spec("storage", "flows", "storage", METRICS_PORT=str(ports["storage"])),
            spec("behaviour", "flows", "behaviour", METRICS_PORT=str(ports["behaviour"])),
            spec("alerts", "flows", "alerts", METRICS_PORT=str(ports["alerts"])),
            spec("results", "flows", "results", METRICS_PORT=str(ports["results"])),
            spec(
                "alert_delivery",
                "flows",
                "alert_delivery",
                METRICS_PORT=str(ports["alert_delivery"]),
            ),
            spec("erasures", "api.erasures", METRICS_PORT=str(ports["erasures"])),
            spec("api", "api"),
        ]

    def _addresses(
        self, urls: Mapping[str, str], ports: Mapping[str, int], project: DefaultProject
    ) -> Addresses:
        return Addresses(
            gateway=f"http://{LOOPBACK}:{ports['gateway']}",
            grpc=f"{LOOPBACK}:{ports['grpc']}",
            api=f"http://{LOOPBACK}:{ports['api']}",
            clickhouse=urls["CLICKHOUSE_URL"],
            kafka=urls["KAFKA_BROKERS"],
            database=urls["DATABASE_URL"],
            redis=urls["REDIS_URL"],
            project_id=project.project_id,
            write_key=project.write_key,
            read_key=project.read_key,
            data=str(self._data),
        )

    def _watch_servers(self) -> None:
        """Start a server again that has ended by itself; give up when that does not help."""
        assert self._supervisor is not None
        restarts = 0
        while not self._is_stop_requested:
            for name, code in self._stack.dead().items():
                restarts += 1
                self._report(name, f"ended by itself (exit code {code}); starting it again")
                if restarts > SERVER_RESTARTS_MAX or not self._restart_server(name):
                    self._servers_failed = True
                    self._supervisor.request_stop()
                    return
            time.sleep(_WATCH_S)

    def _restart_server(self, name: str) -> bool:
        try:
            self._stack.restart(name)
        except StartError as error:
            self._report(name, f"cannot be started again: {error}")
            return False
        return True
