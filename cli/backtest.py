"""`gosight backtest`: changed rules over stored sessions, before they are switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json, OnlyProject
from cli.output import RESULT, fail, print_json, print_table, told_plainly
from cli.period import From, To

if TYPE_CHECKING:
    from cli.backtesting import BacktestReport
    from flows.core.backtest import Sides, TypeComparison

PAGES_SHOWN = 10
SESSIONS_SHOWN = 5


def backtest(
    project: OnlyProject = "",
    begin: From = "7d",
    end: To = "now",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A changed setting, such as rage_click.min_clicks=3; repeat it for several.",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="The rules of a preset: gosight, posthog, datadog.")
    ] = None,
    tell_progress: Annotated[
        bool,
        typer.Option("--tell-progress", help="Print lines of JSON on standard error meanwhile."),
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Try changed rules on stored sessions: who fires under both, only the old, only the new.

    Nothing is written. Sessions that began in the period are taken, each whole, also if it went on
    after the end. An insight counts as the same under both rules if it shares an event of evidence.
    """
    from cli.backtesting import run_backtest
    from cli.period import BadPeriodError, period_ms
    from cli.project_history import project_history, shown_progress, told_progress
    from cli.project_store import NotFoundError
    from cli.rule_changes import BadChangeError, changed_document
    from connectors.stored_sessions import Period

    with told_plainly(data):
        try:
            start_ms, end_ms = period_ms(begin, end)
            # A wrong key is told before any server is asked.
            changed_document({}, changes or [], preset)
            with project_history(data, project) as history:
                settings = history.project.settings
                report = run_backtest(
                    history.client,
                    Period(history.project_id, start_ms, end_ms),
                    settings,
                    changed_document(settings, changes or [], preset),
                    told_progress
                    if tell_progress
                    else lambda total: shown_progress("reading events", total),
                )
        except (NotFoundError, BadPeriodError, BadChangeError) as error:
            fail(str(error))
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: BacktestReport) -> None:
    for name, (before, after) in report.changed.items():
        RESULT.print(f"{name}: {_change(before, after)}", markup=False, soft_wrap=True)
    RESULT.print(
        f"{report.sessions:,} sessions, {report.events:,} events of the types that are needed, "
        f"in {report.seconds:.1f} s"
    )
    if report.cut_sessions:
        RESULT.print(f"[yellow]{report.cut_sessions:,} sessions were too long and were cut[/]")
    if not report.changed:
        RESULT.print("These are the settings in force: there was nothing to compare.")
    elif not report.types:
        RESULT.print("No detector finds anything differently by these settings.")
    for found in report.types:
        _print_type(found)


def _print_type(found: TypeComparison) -> None:
    from cli.period import day_text

    RESULT.print()
    print_table(
        found.insight_type,
        ("", "both", "only old", "only new"),
        [
            ("sessions", *_cells(found.sessions)),
            ("insights", *_cells(found.insights)),
            *((f"on {day_text(day.day_ms)}", *_cells(day.insights)) for day in found.by_day),
            *((page.path, *_cells(page.insights)) for page in found.by_page[:PAGES_SHOWN]),
        ],
    )
    if len(found.by_page) > PAGES_SHOWN:
        RESULT.print(f"and {len(found.by_page) - PAGES_SHOWN:,} more pages; --json has all")
    for side, ids in (
        ("only old", found.session_ids.only_old),
        ("only new", found.session_ids.only_new),
    ):
        for session_id in ids[:SESSIONS_SHOWN]:
            RESULT.print(f"{side}: {session_id}")
        if len(ids) > SESSIONS_SHOWN:
            RESULT.print(f"and {len(ids) - SESSIONS_SHOWN:,} more; --json has all")


def _cells(sides: Sides) -> tuple[int, int, int]:
    return sides.both, sides.only_old, sides.only_new


def _change(before: Any, after: Any) -> str:
    """Old and new value; of lists what is gone and what is new."""
    if isinstance(before, list) and isinstance(after, list):
        gone = [f"-{item}" for item in before if item not in after]
        added = [f"+{item}" for item in after if item not in before]
        return " ".join((*gone, *added))
    return f"{before} -> {after}"
