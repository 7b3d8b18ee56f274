"""The ClickHouse front (`standalone.clickhouse_server`) as one server of the stack.

In: a directory, a port, a user and password. Out: a running front on loopback with the database.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from standalone.http_probe import is_ok, request
from standalone.ports import LOOPBACK
from standalone.process import Command, GuardedProcess, StartError

_READY_TIMEOUT_S = 60.0
_STOP_GRACE_S = 20.0
_REQUEST_TIMEOUT_S = 10.0


class ClickHouseServer:
    """One front over one data directory."""

    name = "clickhouse"

    def __init__(
        self,
        directory: Path,
        port: int,
        user: str,
        password: str,
        database: str,
        log_path: Path,
        environ: Mapping[str, str],
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._directory = directory
        self._port = port
        self._user = user
        self._password = password
        self._database = database
        self._log_path = log_path
        self._environ = environ
        self._keep_open = keep_open
        self.process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """The address with user, password and database."""
        return f"http://{self._user}:{self._password}@{LOOPBACK}:{self._port}/{self._database}"

    def start(self, progress: Callable[[str], None]) -> None:
        """Start, wait for `/ping`, make the database.

        Raises:
            StartError: it did not get ready.
        """
        progress("starting")
        credentials = {"CLICKHOUSE_USER": self._user, "CLICKHOUSE_PASSWORD": self._password}
        arguments = ["--data", str(self._directory), "--port", str(self._port)]
        self.process = GuardedProcess(
            Command(
                name=self.name,
                argv=[sys.executable, "-m", "standalone.clickhouse_server", *arguments],
                log_path=self._log_path,
                environ={**self._environ, **credentials},
                grace_s=_STOP_GRACE_S,
                keep_open=self._keep_open,
            )
        )
        self.process.wait_until(self._is_ready, _READY_TIMEOUT_S)
        self._make_database()

    def _is_ready(self) -> bool:
        return is_ok(f"http://{LOOPBACK}:{self._port}/ping", _REQUEST_TIMEOUT_S)

    def _make_database(self) -> None:
        credentials = b64encode(f"{self._user}:{self._password}".encode()).decode()
        status, text = request(
            "POST",
            f"http://{LOOPBACK}:{self._port}/",
            f"CREATE DATABASE IF NOT EXISTS {self._database}",
            {"Authorization": f"Basic {credentials}"},
            _REQUEST_TIMEOUT_S,
        )
        if status != 200:
            raise StartError(f"clickhouse: the database could not be made: {text}")
