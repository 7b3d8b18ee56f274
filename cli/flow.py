"""`gosight flow`: the dataflows between Kafka and the stores."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import fail

app = typer.Typer(no_args_is_help=True, help="Run a dataflow, or draw it.")
Name = Annotated[str, typer.Argument(help="Name of the flow, such as storage.")]


@app.command()
def run(name: Name) -> None:
    """Run one flow until SIGTERM or Ctrl-C; start several for a share of the partitions each.

    PARTITION_SHARE=0/4 makes this the first of four processes.
    """
    from cli.settings import process_environment
    from flows.run import FLOWS, run_flow

    if name not in FLOWS:
        fail(f"there is no flow {name}; there are: {', '.join(sorted(FLOWS))}")
    raise typer.Exit(run_flow(name, process_environment()))


@app.command()
def graph(name: Name) -> None:
    """Print the flow as a Mermaid diagram; no server is asked."""
    from cli.flow_graphs import GRAPHS, draw

    if name not in GRAPHS:
        fail(f"there is no flow {name}; there are: {', '.join(sorted(GRAPHS))}")
    typer.echo(draw(name))
