"""`gosight dlq`: events that were refused, why, and bringing them in after a fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import RESULT, fail, print_json, print_table, told_plainly
from schemas.reasons import RejectReason

if TYPE_CHECKING:
    from cli.dead_letters import DeadLetter

app = typer.Typer(no_args_is_help=True, help="Look at refused events, and bring them in again.")

ProjectFilter = Annotated[str, typer.Option("--project", "-p", help="Id or slug; else all.")]
ReasonFilter = Annotated[
    RejectReason | None,
    typer.Option("--reason", metavar="REASON", help="Only this reason, such as too_old."),
]
SinceFilter = Annotated[
    str,
    typer.Option(
        "--since", help="Only since then: 30m, 6h, 2d or a date-time (2026-01-31T12:00Z)."
    ),
]


@app.command("list")
def list_command(
    project: ProjectFilter = "",
    reason: ReasonFilter = None,
    since: SinceFilter = "",
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List refused events, oldest first, with the reason of each."""
    from cli.dlq_work import Chosen, find_letters
    from cli.settings import load_settings

    with _told(data):
        chosen = Chosen(project, reason.value if reason else "", since)
        letters = find_letters(load_settings(data), chosen)
    counts = dict(sorted(Counter(letter.record.reason for letter in letters).items()))
    shown = letters[-limit:]
    if as_json:
        rejections = [_document(letter) for letter in shown]
        print_json({"total": len(letters), "by_reason": counts, "rejections": rejections})
        return
    print_table(
        f"Refused events: {len(letters):,}",
        ("time", "reason", "stage", "event", "project", "bytes"),
        [
            (
                _time_text(letter.record.rejected_at_ms),
                letter.record.reason,
                letter.record.stage,
                letter.record.event_id or letter.record.rejection_id,
                letter.record.project_id,
                letter.record.payload_bytes,
            )
            for letter in shown
        ],
    )
    for name, count in counts.items():
        RESULT.print(f"  {count:,} {name}")


@app.command()
def retry(
    project: ProjectFilter = "",
    reason: ReasonFilter = None,
    since: SinceFilter = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, oldest first.")] = 10_000,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were brought in before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Judge refused events by the settings of now, and bring in those that pass.

    They keep their own time and id; the receipt is a new one, so the ledger books them again. Each
    refused event is brought in once.
    """
    from cli.dlq_work import Chosen, find_letters, retry_letters
    from cli.settings import load_settings

    with _told(data):
        settings = load_settings(data)
        letters = find_letters(settings, Chosen(project, reason.value if reason else "", since))
        report = retry_letters(settings, letters, limit=limit, again=again, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
        return
    verb = "would be brought in" if dry_run else "brought in"
    RESULT.print(f"{report.sent:,} {verb}, {report.already_sent:,} were before")
    for why, count in report.not_sent.items():
        RESULT.print(f"  {count:,} not: {why}")


@contextmanager
def _told(data: Path) -> Iterator[None]:
    from cli.dlq_work import BadMomentError
    from cli.project_store import NotFoundError

    with told_plainly(data):
        try:
            yield
        except (NotFoundError, BadMomentError) as error:
            fail(str(error))


def _document(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "rejection_id": record.rejection_id,
        "project_id": record.project_id,
        "stage": record.stage,
        "reason": record.reason,
        "detail": record.detail,
        "event_id": record.event_id,
        "session_id": record.session_id,
        "rejected_at": _time_text(record.rejected_at_ms),
        "payload_kind": record.payload_kind,
        "payload_bytes": record.payload_bytes,
        "payload_withheld": record.payload_withheld,
        "partition": letter.partition,
        "offset": letter.offset,
    }


def _time_text(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
