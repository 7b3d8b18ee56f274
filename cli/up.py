"""`gosight up`: everything on this machine, in the foreground."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Json
from cli.output import PEOPLE, RESULT, fail, print_json, print_result, told_plainly
from standalone.locks import LockedError
from standalone.process import StartError

if TYPE_CHECKING:
    from cli.machine import Addresses, OneMachine, Report

DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder for all data; kept over restarts.")
]
AnyPorts = Annotated[
    bool, typer.Option("--any-ports", help="Take free ports instead of the usual ones.")
]
ServersOnly = Annotated[
    bool,
    typer.Option(
        "--servers-only",
        help="Start Kafka, ClickHouse, PostgreSQL and Valkey alone, for backups and repairs.",
    ),
]


class StopRequestedError(BaseException):
    """SIGTERM or Ctrl-C while starting; not an Exception, so that nobody handles it by chance."""


def up(
    data: DataFolder = DEFAULT_DATA,
    any_ports: AnyPorts = False,
    servers_only: ServersOnly = False,
    as_json: Json = False,
) -> None:
    """Run everything on this machine until Ctrl-C: servers, gateway, storage flow and API.

    Nothing has to be installed or configured before. The first start fetches Kafka once; later
    ones take some seconds. A project and its keys are made on the first start and shown at each.
    """
    from cli.machine import OneMachine

    machine = OneMachine(data, any_ports=any_ports, report=progress_report())
    with stopping(machine):
        if servers_only:
            urls = machine.start_servers()
            text = "\n".join(f"{name}={url}" for name, url in urls.items())
            print_result(
                urls, as_json, f"\n[bold]The servers are running, nothing else is[/]\n{text}"
            )
        else:
            addresses = machine.start()
            if as_json:
                print_json(asdict(addresses))
            else:
                print_addresses(addresses)
        if not as_json:
            PEOPLE.print("Press Ctrl-C to stop.")
        code = machine.run()
    raise typer.Exit(code)


@contextmanager
def stopping(machine: OneMachine) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the machine cleanly, and tell what kept it from starting."""
    from sql.migrate import MigrationError

    is_first = True

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_first
        machine.request_stop()
        # A second signal must not interrupt the tidying up that the first one began.
        interrupts, is_first = is_first and not machine.is_running, False
        if interrupts:
            raise StopRequestedError

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        with told_plainly():
            yield
    except StopRequestedError:
        machine.stop()
        raise typer.Exit(0) from None
    except LockedError as error:
        fail(str(error))
    except (StartError, MigrationError) as error:
        fail(f"it does not start: {error}")


def progress_report() -> Report:
    """Lines on standard error: seconds since now, who, what."""
    began = time.monotonic()

    def report(name: str, text: str) -> None:
        PEOPLE.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  [bold]{name:<11}[/] {text}")

    return report


def print_addresses(addresses: Addresses) -> None:
    """Where everything is, and one call that works."""
    RESULT.print(
        f"\n[bold]GoSight is running[/]\n"
        f"  gateway     {addresses.gateway}   (POST /v1/events; gRPC on {addresses.grpc})\n"
        f"  api         {addresses.api}\n"
        f"  clickhouse  {addresses.clickhouse}\n"
        f"  project     {addresses.project_id}\n"
        f"  write key   {addresses.write_key}\n"
        f"  read key    {addresses.read_key}\n"
        f"  data, logs  {addresses.data}\n"
        f"\nTry:\n"
        f"  curl -H 'X-GoSight-Key: {addresses.read_key}' \\\n"
        f"    {addresses.api}/api/v1/projects/{addresses.project_id}/overview\n",
        soft_wrap=True,
    )
