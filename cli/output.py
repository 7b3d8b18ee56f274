"""How commands speak: results on standard output, everything else on standard error.

With `--json` a command prints exactly one JSON document on one line and nothing else on standard
output, so that its result can be piped. Exit codes: 0 done, 1 it did not work or a check failed,
2 the command was called wrongly, 130 Ctrl-C.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from connectors.errors import ConnectorError, RetryableError

# A file or a pipe has no width of its own: there, ids must not be broken.
_PLAIN_WIDTH = 160

PEOPLE = Console(stderr=True, highlight=False)
RESULT = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def print_json(document: Any) -> None:
    """One JSON document on one line of standard output."""
    typer.echo(msgspec.json.encode(document, enc_hook=str).decode())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for a person; numbers are aligned to the right."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(cell) for cell in row))
    RESULT.print(table)


def cell_text(cell: Any) -> str:
    """A value as a person reads it."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, list | tuple | set | frozenset):
        return ", ".join(str(part) for part in cell)
    return "" if cell is None else str(cell)


def print_result(document: Mapping[str, Any], as_json: bool, text: str) -> None:
    """The document for a program, or the text for a person."""
    if as_json:
        print_json(document)
    else:
        RESULT.print(text, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Tell what went wrong and end with exit code 1."""
    # What somebody typed is in it, and is text, whatever brackets it has.
    PEOPLE.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(1)


def keep_libraries_quiet() -> None:
    """Let nothing but results on standard output, and on standard error only what matters.

    A command tells a person what went wrong in its own words; what a library logged on the way
    (retries, closed connections) would only stand in between.
    """
    import structlog

    logging.disable(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def told_plainly(data: Path | None = None) -> Iterator[None]:
    """Turn the failures that a person can do something about into one line and exit code 1.

    `data` is the folder whose servers are asked unless the environment names others.
    """
    import psycopg

    from cli.settings import why_no_server
    from connectors.settings import SettingsError

    try:
        yield
    except RetryableError as error:
        why = "" if data is None else why_no_server(data)
        fail(f"{why} ({error})" if why else str(error))
    except (ConnectorError, SettingsError) as error:
        fail(str(error))
    except psycopg.OperationalError as error:
        why = "" if data is None else why_no_server(data, "DATABASE_URL")
        why = why or "PostgreSQL does not answer; is DATABASE_URL right?"
        fail(f"{why} ({_first_line(error)})")
    except psycopg.errors.UndefinedTable as error:
        fail(f"PostgreSQL has no such schema; run `gosight migrate up` ({_first_line(error)})")
    except psycopg.Error as error:
        fail(f"PostgreSQL refuses: {_first_line(error)}")
    except BrokenPipeError:
        raise  # Nobody reads any more: there is nobody to tell.
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
