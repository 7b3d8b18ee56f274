"""`gosight demo`: everything on this machine, with the traffic of a made-up shop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Json
from cli.output import PEOPLE, fail, print_json
from cli.up import AnyPorts, DataFolder, print_addresses, progress_report, stopping
from samples import GEO_DATABASE

if TYPE_CHECKING:
    from cli.demo_run import DemoResult
    from cli.machine import Addresses, OneMachine


def demo(
    data: DataFolder = DEFAULT_DATA,
    any_ports: AnyPorts = False,
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the report; exit code 1 if it is not right.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run everything on this machine and send it a day of visits to a made-up shop.

    The visits were recorded in a real browser. Some requests are sent twice and some events are bad
    on purpose, so that the report has duplicates and rejections in it. Afterwards everything stays
    up for you to look at, until Ctrl-C.
    """
    from cli.machine import OneMachine

    machine = OneMachine(
        data, any_ports=any_ports, extra_environ=_environment(), report=progress_report()
    )
    with stopping(machine):
        addresses = machine.start()

        # The main thread watches and restarts processes and hears Ctrl-C while another one sends.
        def report(result: DemoResult) -> None:
            if not once:
                _print(result, addresses, once=False, as_json=as_json)

        sending = _Sending(addresses, report, machine, stops=once)
        sending.start()
        code = machine.run()
    if not sending.is_done or code != 0:
        raise typer.Exit(code)  # Ctrl-C before all was sent, or something died too often.
    if sending.fault is not None:
        fail(sending.fault)
    assert sending.result is not None
    if once:
        _print(sending.result, addresses, once=True, as_json=as_json)
        code = 0 if sending.result.is_sound else 1
    raise typer.Exit(code)


class _Sending(threading.Thread):
    """Sends the visits; `result` or `fault` is there when it `is_done`."""

    def __init__(
        self,
        addresses: Addresses,
        report: Callable[[DemoResult], None],
        machine: OneMachine,
        *,
        stops: bool,
    ) -> None:
        super().__init__(name="sending", daemon=True)
        self._addresses = addresses
        self._report = report
        self._machine = machine
        self._stops = stops
        self.result: DemoResult | None = None
        self.fault: str | None = None
        self.is_done = False

    def run(self) -> None:
        """Send, then report; end the machine if it runs for this only, or if sending failed."""
        from cli.demo_run import StillMissingError
        from cli.sending import SendingError

        fault: str | None = "sending ended unexpectedly"
        try:
            self.result = _send(self._addresses)
            self._report(self.result)
            fault = None
        except (SendingError, StillMissingError) as error:
            fault = str(error)
        finally:
            # What fails because everything is being stopped is no fault.
            if fault is None or not self._machine.is_stop_requested:
                self.fault = fault
                self.is_done = True
            if self._stops or self.fault is not None:
                self._machine.request_stop()


def _environment() -> dict[str, str]:
    """The visits' addresses come in a header, and places from the small sample database."""
    from cli.settings import process_environment

    places = process_environment().get("GEOIP_DATABASE", "") or str(GEO_DATABASE)
    return {"TRUSTED_PROXY_COUNT": "1", "GEOIP_DATABASE": places}


def _send(addresses: Addresses) -> DemoResult:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    from cli.demo_run import load_traffic, run_demo

    traffic = load_traffic(time.time_ns() // 1_000_000, uuid4())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=PEOPLE, transient=True) as progress:
        task = progress.add_task("sending visits", total=traffic.event_count)

        def on_sent(events: int) -> None:
            progress.advance(task, events)
            if progress.tasks[0].finished:
                progress.update(task, description="waiting until all is stored")

        return asyncio.run(run_demo(addresses, traffic, on_sent))


def _print(result: DemoResult, addresses: Addresses, *, once: bool, as_json: bool) -> None:
    if as_json:
        print_json({**result.document(), **({} if once else asdict(addresses))})
        return
    from cli.demo_report import print_report

    print_report(result)
    if not once:
        print_addresses(addresses)
        PEOPLE.print("Press Ctrl-C to stop.")
