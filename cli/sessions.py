"""`gosight sessions`: putting rows right that disagree with their events."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json, OnlyProject
from cli.output import RESULT, fail, print_json, told_plainly
from cli.period import From, To

if TYPE_CHECKING:
    from cli.repairing import RepairReport

app = typer.Typer(no_args_is_help=True, help="Look after the rows of sessions.")


@app.callback()
def _several() -> None:
    """A callback keeps `repair` a command of its own while it is the only one."""


@app.command()
def repair(
    project: OnlyProject = "",
    begin: From = "1d",
    end: To = "now",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be written.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Make sessions again from their stored events, and write what is missing or wrong.

    Looks at sessions that have an event in the period and got none for 70 minutes, each as a whole.
    A wrong row is written with its next revision; insights that the events make by the rules of
    now are added. Nothing is taken away, and a second run finds nothing to do.
    """
    from cli.period import BadPeriodError, period_ms
    from cli.project_history import project_history, shown_progress
    from cli.project_store import NotFoundError
    from cli.repairing import repair_period
    from connectors.stored_sessions import Period, count_of_period
    from connectors.write_gate import PostgresWriteGate

    with told_plainly(data):
        try:
            start_ms, end_ms = period_ms(begin, end)
            with project_history(data, project) as history:
                period = Period(history.project_id, start_ms, end_ms, any_event=True)
                total = count_of_period(history.client, period)
                with (
                    closing(PostgresWriteGate(history.database_url, "repair")) as gate,
                    shown_progress("reading events", total) as progress,
                ):
                    report = repair_period(
                        history.client,
                        period,
                        history.detectors(),
                        currency=history.currency,
                        retain_days=history.retain_days,
                        gate=gate,
                        dry_run=dry_run,
                        progress=progress,
                    )
        except (NotFoundError, BadPeriodError) as error:
            fail(str(error))
    if as_json:
        print_json(report.document())
    else:
        _print(report)


def _print(report: RepairReport) -> None:
    from connectors.stored_sessions import SESSION_EVENTS_MAX

    RESULT.print(
        f"{report.sessions:,} sessions with {report.events:,} events: {report.right:,} right, "
        f"{report.skipped_open:,} still open"
    )
    for count, why in (
        (report.skipped_cut, f"more than {SESSION_EVENTS_MAX:,} events each"),
        (
            report.skipped_gone,
            "some of their events, insights or rows may have expired, or are not stored yet",
        ),
        (report.skipped_erased, "erased"),
    ):
        if count:
            RESULT.print(f"{count:,} left alone: {why}")
    verb = "would be written" if report.is_trial else "written"
    rows = report.rows_missing + report.rows_wrong
    RESULT.print(
        f"{rows:,} rows {verb}: {report.rows_missing:,} were missing, {report.rows_wrong:,} wrong"
    )
    for name, count in report.wrong_columns.most_common():
        RESULT.print(f"  {count:,} {name}")
    RESULT.print(f"{report.insights_missing.total():,} insights {verb}")
    for name, count in report.insights_missing.most_common():
        RESULT.print(f"  {count:,} {name}")
