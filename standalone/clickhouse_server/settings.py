"""What the front takes from its environment and its command line."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HELP = """\
ClickHouse's HTTP interface over the ClickHouse engine of the chdb-core wheel, for development,
tests and one small machine.

It gives: queries and inserts in every format of the engine, typed parameters, settings per request,
compressed bodies, materialized and refreshable views, mutations, data on disk that survives a kill.

It does not give: several users, roles and quotas; replication, Keeper, distributed tables;
the native protocol (port 9000) and TLS; sessions (session_id is accepted, temporary tables and SET
end with the request); external tables in a request; the asynchronous insert queue's timing;
system.query_log and the other log tables; query_id in system.processes (it is found there as
Settings['log_comment']). It listens on loopback only.
"""
_EPILOG = """\
Environment: CLICKHOUSE_USER and CLICKHOUSE_PASSWORD name the one user (default: user `default`
without a password).
"""

_MEGABYTE = 1_000_000


class NotLoopbackError(ValueError):
    """The address to listen on would be reachable from other machines."""


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """Where the data is, where to listen, who may ask, how much is allowed.

    `insert_bytes_max` bounds one request's unpacked body, `memory_bytes_max` the engine's memory,
    `threads` the statements that run at the same time; more wait.
    """

    data_dir: Path
    port: int
    host: str = "127.0.0.1"
    user: str = "default"
    password: str = ""
    threads: int = 16
    memory_bytes_max: int = 4_000 * _MEGABYTE
    insert_bytes_max: int = 512 * _MEGABYTE
    drain_s: float = 10.0


def read_settings(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> FrontSettings:
    """Settings from the command line and the environment.

    Raises:
        NotLoopbackError: `--host` is not a loopback address.
        SystemExit: wrong arguments, or `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m standalone.clickhouse_server",
        description=_HELP,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="directory of the data")
    parser.add_argument("--port", type=int, default=8123, help="TCP port; 0 takes any (8123)")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (127.0.0.1)")
    parser.add_argument("--threads", type=int, default=16, help="statements at a time (16)")
    parser.add_argument("--memory-mb", type=int, default=4_000, help="engine memory limit (4000)")
    parser.add_argument(
        "--insert-mb", type=int, default=512, help="unpacked bytes of one request (512)"
    )
    options = parser.parse_args(arguments)
    check_loopback(options.host)
    return FrontSettings(
        data_dir=options.data.expanduser().resolve(),
        port=options.port,
        host=options.host,
        user=environ.get("CLICKHOUSE_USER", "") or "default",
        password=environ.get("CLICKHOUSE_PASSWORD", ""),
        threads=options.threads,
        memory_bytes_max=options.memory_mb * _MEGABYTE,
        insert_bytes_max=options.insert_mb * _MEGABYTE,
    )


def check_loopback(host: str) -> None:
    """Refuse a host that means more than this machine.

    Raises:
        NotLoopbackError: an address of `host` is not a loopback address, or it has none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotLoopbackError(f"{host!r} is not an address of this machine: {error}") from None
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise NotLoopbackError(
                f"{host!r} can be reached from other machines; this server has one user, no TLS "
                "and no quotas, so it listens on loopback only (127.0.0.1, ::1, localhost)"
            )
