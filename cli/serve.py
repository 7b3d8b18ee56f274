"""`gosight serve`: one server process in the foreground."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

app = typer.Typer(no_args_is_help=True, help="Run the ingestion gateway, the API or the eraser.")


@app.command()
def ingest() -> None:
    """Run the gateway that takes events (INGESTOR_HTTP_PORT, INGESTOR_GRPC_PORT)."""
    sys.argv = ["ingest_gateway"]  # It reads its own options, and these are not.
    raise typer.Exit(import_module("ingest_gateway.__main__").main())


@app.command()
def erasures() -> None:
    """Run the process that exports and erases what was asked for (METRICS_PORT)."""
    from cli.settings import process_environment

    raise typer.Exit(import_module("api.erasures.__main__").main(process_environment()))


@app.command()
def api() -> None:
    """Run the API that answers reports (API_PORT)."""
    from cli.settings import process_environment

    raise typer.Exit(import_module("api.__main__").main(process_environment()))
