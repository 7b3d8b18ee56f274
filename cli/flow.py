"""`gosight flow`: the dataflows between Kafka and the stores."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from cli.output import fail, told_plainly

app = typer.Typer(no_args_is_help=True, help="Run a dataflow, or draw it.")
Name = Annotated[str, typer.Argument(help="Name of the flow, such as storage.")]


@app.command()
def run(
    name: Name,
    processes: Annotated[
        int, typer.Option(min=1, help="How many; they share the partitions among themselves.")
    ] = 1,
) -> None:
    """Run one flow until SIGTERM or Ctrl-C.

    Processes of a flow share its partitions, wherever they run: start as many as are needed, in
    any order. With --processes they run under one supervisor, with metrics on METRICS_PORT + n.
    """
    from cli.settings import process_environment
    from flows.run import FLOWS, run_flow

    if name not in FLOWS:
        fail(f"there is no flow {name}; there are: {', '.join(sorted(FLOWS))}")
    environ = process_environment()
    if processes == 1:
        raise typer.Exit(run_flow(name, environ))
    raise typer.Exit(_supervise(name, processes, environ))


def _supervise(name: str, processes: int, environ: Mapping[str, str]) -> int:
    from connectors.telemetry import configure_logging, get_logger
    from flows.health import check_port
    from flows.settings import FlowSettings
    from standalone.supervisor import ProcessSpec, Supervisor

    with told_plainly():
        settings = FlowSettings.from_env(environ)
        ports = [settings.metrics_port and settings.metrics_port + n for n in range(processes)]
        # Found out here, one is told at once; a process that is started again and again is not.
        for port in filter(None, ports):
            check_port(settings.metrics_host, port)
    configure_logging(name, settings.log_level)

    def tell(process: str, text: str) -> None:
        if text != "ready":  # Nobody asks them whether they are: it only says that they run.
            get_logger().info("worker", worker=process, detail=text)

    specs = [
        ProcessSpec(
            f"{name}-{number}",
            [sys.executable, "-m", "flows", name],
            {**environ, "METRICS_PORT": str(port)},
            grace_s=9.0,
        )
        for number, port in enumerate(ports)
    ]
    supervisor = Supervisor(
        specs,
        on_event=tell,
        on_line=lambda _name, line: print(line, file=sys.stderr),
        # Each may take seconds while a server is away, and none waits for another.
        stops_together=True,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: supervisor.request_stop())
    supervisor.start()
    return supervisor.run()


@app.command()
def graph(name: Name) -> None:
    """Print the flow as a Mermaid diagram; no server is asked."""
    from cli.flow_graphs import GRAPHS, draw

    if name not in GRAPHS:
        fail(f"there is no flow {name}; there are: {', '.join(sorted(GRAPHS))}")
    typer.echo(draw(name))
