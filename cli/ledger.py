"""`gosight ledger`: what became of every event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import RESULT, fail, print_json, print_table, told_plainly

if TYPE_CHECKING:
    from api.ledger import LedgerEntry
    from cli.ledger_totals import Totals
    from cli.project_store import Project


def ledger(
    project: Annotated[str, typer.Option("--project", "-p", help="Id or slug; else all.")] = "",
    minutes: Annotated[int, typer.Option(min=1, help="How far back, in minutes.")] = 24 * 60,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Exit with 1 unless everything received is accounted for and the rows that are "
            "stored were counted again and match.",
        ),
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show received = stored + duplicate + rejected + dropped, by project."""
    from cli.ledger_totals import read_ledgers
    from cli.project_store import NotFoundError
    from cli.settings import load_settings

    with told_plainly(data):
        try:
            totals = read_ledgers(load_settings(data), project, minutes, patient=verify)
        except NotFoundError as error:
            fail(str(error))
    is_right = all(total.is_sound for _, total in totals)
    if as_json:
        print_json({"ok": is_right, "projects": [_document(*pair) for pair in totals]})
    else:
        _print(totals, minutes, is_right)
    raise typer.Exit(1 if verify and not is_right else 0)


def _document(project: Project, total: LedgerEntry) -> dict[str, Any]:
    return {"project_id": project.id, "slug": project.slug, **total.document()}


def _print(totals: Totals, minutes: int, is_right: bool) -> None:
    print_table(
        f"Ledger of the last {minutes:,} minutes",
        ("project", "received", "stored", "duplicate", "rejected", "dropped", "rows", "balanced"),
        [
            (
                project.slug,
                total.received,
                total.stored,
                total.duplicate,
                sum(total.rejected.values()),
                sum(total.dropped.values()),
                total.recounted,
                total.is_sound,
            )
            for project, total in totals
        ],
    )
    for project, total in totals:
        for reason, events in sorted(total.rejected.items()):
            RESULT.print(f"  {project.slug}: {events:,} rejected as {reason}")
    if not is_right:
        RESULT.print("[bold red]The ledger does not add up.[/]")
