"""The `gosight` command: subcommands and what they are for."""

from __future__ import annotations

import typer

from cli import alerts, detectors, dlq, flow, keys, migrate, projects, serve, sessions, topics
from cli.backtest import backtest
from cli.demo import demo
from cli.doctor import doctor
from cli.explain import explain
from cli.ledger import ledger
from cli.loadgen import loadgen
from cli.options import Json
from cli.output import keep_libraries_quiet, print_result
from cli.up import up
from connectors.telemetry import gosight_version

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",  # Paragraphs of docstrings are set anew to the width.
    help="GoSight: what visitors do on your site, from their browser to explained insights.\n\n"
    "Start with `gosight demo`. Everything runs on this machine; nothing has to be installed.",
    pretty_exceptions_enable=False,
)

# These run a process of ours, which logs as it is set to.
_PROCESSES = frozenset({"serve", "flow"})
_START, _OPERATE, _LOOK = "Start here", "Operate", "Look inside"


@app.callback()
def _before(context: typer.Context) -> None:
    if context.invoked_subcommand not in _PROCESSES:
        keep_libraries_quiet()


app.command(rich_help_panel=_START)(demo)
app.command(rich_help_panel=_START)(up)
app.command(rich_help_panel=_START)(doctor)
app.add_typer(projects.app, name="projects", rich_help_panel=_OPERATE)
app.add_typer(keys.app, name="keys", rich_help_panel=_OPERATE)
app.add_typer(migrate.app, name="migrate", rich_help_panel=_OPERATE)
app.add_typer(alerts.app, name="alerts", rich_help_panel=_OPERATE)
app.add_typer(topics.app, name="topics", rich_help_panel=_OPERATE)
app.add_typer(serve.app, name="serve", rich_help_panel=_OPERATE)
app.add_typer(flow.app, name="flow", rich_help_panel=_OPERATE)
app.command(rich_help_panel=_LOOK)(ledger)
app.command(rich_help_panel=_LOOK)(explain)
app.command(rich_help_panel=_LOOK)(backtest)
app.add_typer(detectors.app, name="detectors", rich_help_panel=_LOOK)
app.add_typer(sessions.app, name="sessions", rich_help_panel=_OPERATE)
app.add_typer(dlq.app, name="dlq", rich_help_panel=_LOOK)
app.command(rich_help_panel=_LOOK)(loadgen)


@app.command(rich_help_panel=_LOOK)
def version(as_json: Json = False) -> None:
    """Print the version."""
    found = gosight_version()
    print_result({"version": found}, as_json, f"gosight {found}")
