"""The demonstration's result, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.table import Table

from cli.demo_run import DemoResult
from cli.output import RESULT, cell_text

_BAR_WIDTH = 24
_ROWS = 8


def print_report(result: DemoResult) -> None:
    """Counts first, then what the visits were like."""
    charts = result.overview["charts"]
    RESULT.print()
    RESULT.print(_events(result))
    RESULT.print()
    RESULT.print(
        Columns(
            [
                _top("Pages", charts["top_pages"], "path", "views"),
                _top("Browsers", charts["top_browsers"], "browser", "sessions"),
                _top("Countries", charts["countries"], "country", "sessions"),
                _top("Devices", _shares(charts["devices"]), "device", "percent"),
                _top("From", charts["top_referrers"], "source", "sessions"),
            ],
            padding=(0, 3),
        )
    )
    RESULT.print()
    RESULT.print(_hours(charts["hourly"][-24:]))
    RESULT.print()
    RESULT.print(_verdict(result))


def _events(result: DemoResult) -> Table:
    table = _table("Events of this run", "", "")
    table.add_row("accepted", cell_text(result.accepted))
    table.add_row("stored", cell_text(result.stored))
    table.add_row("duplicates left out", cell_text(result.duplicates))
    table.add_row("rejected", cell_text(sum(result.rejected_by_reason.values())))
    for reason, count in sorted(result.rejected_by_reason.items()):
        table.add_row(f"[dim]  {reason}[/]", f"[dim]{count:,}[/]")
    return table


def _top(title: str, rows: Sequence[Mapping[str, Any]], name: str, figure: str) -> Table:
    table = _table(title, name.replace("_", " "), figure.replace("_", " "))
    for row in rows[:_ROWS]:
        table.add_row(str(row[name]), cell_text(row[figure]))
    return table


def _shares(devices: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"device": name, "percent": share}
        for name, share in sorted(devices.items(), key=lambda item: -item[1])
    ]


def _hours(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The last day by hour; the bar is the number of events."""
    table = Table(title="Hours (UTC)", title_justify="left", title_style="bold", show_edge=False)
    table.add_column("hour")
    for figure in ("events", "page views", "sessions"):
        table.add_column(figure, justify="right")
    table.add_column("")
    highest = max((row["events"] for row in rows), default=1)
    for row in rows:
        bar = "█" * max(1, round(row["events"] / highest * _BAR_WIDTH))
        table.add_row(
            row["hour"][5:16].replace("T", " "),
            cell_text(row["events"]),
            cell_text(row["page_views"]),
            cell_text(row["sessions"]),
            f"[blue]{bar}[/]",
        )
    return table


def _verdict(result: DemoResult) -> str:
    freshness = result.overview["freshness"]
    lag_ms = freshness["lag_ms_p99"]
    lag = "unknown" if lag_ms is None else f"{lag_ms / 1000:.1f} s"
    mark = "[bold green]balanced[/]" if result.is_sound else "[bold red]does not balance[/]"
    return (
        f"[bold]Freshness[/]  99 % of events were stored within {lag} of their receipt\n"
        f"[bold]Ledger[/]     {mark}: accepted {result.accepted:,} = stored {result.stored:,} "
        f"+ duplicates {result.duplicates:,}"
    )


def _table(title: str, name: str, figure: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        show_header=bool(name),
    )
    table.add_column(name)
    table.add_column(figure, justify="right")
    return table
