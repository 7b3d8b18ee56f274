"""`gosight migrate`: the schemas of PostgreSQL and ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import PEOPLE, fail, print_json, print_result, print_table, told_plainly

if TYPE_CHECKING:
    from sql.migrate import MigrationState
    from sql.settings import MigrationSettings

app = typer.Typer(no_args_is_help=True, help="Create and check the database schemas.")


@app.command()
def up(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Apply what is not applied yet, in order. Running it again changes nothing."""
    from sql.migrate import migrate_up

    with _told(data):
        settings = _settings(data)
        applied = migrate_up(
            settings.database_url,
            settings.clickhouse_url,
            cluster=settings.clickhouse_cluster,
            on_wait=_tell,
        )
    text = "\n".join(f"applied {state.database} {state.name}" for state in applied)
    print_result(
        {"applied": [_document(state) for state in applied]},
        as_json,
        text or "both databases are up to date",
    )


@app.command()
def status(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Show every migration and when it was applied; exit code 1 if any is not."""
    from sql.migrate import migration_status

    with _told(data):
        settings = _settings(data)
        states = migration_status(settings.database_url, settings.clickhouse_url, on_wait=_tell)
    is_complete = all(state.applied_at for state in states)
    if as_json:
        print_json({"complete": is_complete, "migrations": [_document(state) for state in states]})
    else:
        print_table(
            "Migrations",
            ("database", "file", "applied"),
            [
                (
                    state.database,
                    state.name,
                    f"{state.applied_at:%Y-%m-%d %H:%M:%S}" if state.applied_at else "no",
                )
                for state in states
            ],
        )
    raise typer.Exit(0 if is_complete else 1)


@app.command("verify")
def verify_command(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Compare the live schemas with what this version expects; exit code 1 if they differ."""
    from sql.migrate import verify

    with _told(data):
        settings = _settings(data)
        faults = verify(settings.database_url, settings.clickhouse_url, on_wait=_tell)
    print_result(
        {"ok": not faults, "faults": [f"{fault.database}: {fault.text}" for fault in faults]},
        as_json,
        "\n".join(f"{fault.database}: {fault.text}" for fault in faults)
        or "both schemas are as this version expects",
    )
    raise typer.Exit(1 if faults else 0)


def _settings(data: Path) -> MigrationSettings:
    from cli.settings import load_environment
    from sql.settings import MigrationSettings

    return MigrationSettings.from_env(load_environment(data))


def _tell(text: str) -> None:
    PEOPLE.print(text, markup=False, soft_wrap=True)


@contextmanager
def _told(data: Path) -> Iterator[None]:
    from sql.migrate import MigrationError

    with told_plainly(data):
        try:
            yield
        except MigrationError as error:
            fail(str(error))


def _document(state: MigrationState) -> dict[str, Any]:
    return {
        "database": state.database,
        "number": state.number,
        "name": state.name,
        "applied_at": state.applied_at,
    }
