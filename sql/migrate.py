"""The one runner of migrations for PostgreSQL and ClickHouse.

In: the URLs of both databases and the numbered files beside this module. Out: records of what is
applied and what is not; printing is the caller's. Guarantees: files are applied in order, once;
nothing is applied when a file is missing, repeated, unknown or changed after it was applied; two
runners never work at the same time (a lock in PostgreSQL covers both databases); running again
changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import stamina

from connectors.errors import RetryableError
from sql.clickhouse_schema import ClickHouseSchema
from sql.migration_files import (
    AppliedMigration,
    Database,
    MigrationError,
    MigrationFile,
    load_migrations,
    pending_migrations,
)
from sql.postgres_schema import PostgresSchema

__all__ = [
    "MigrationError",
    "MigrationState",
    "SchemaFault",
    "migrate_up",
    "migration_status",
    "verify",
    "write_snapshots",
]

FOLDER = Path(__file__).parent
# Servers that are just starting: the slowest, ClickHouse with old data, takes some ten seconds.
WAIT_S = 60.0
DIFFERENCE_LINES_MAX = 40
DATABASES: tuple[Database, ...] = ("postgres", "clickhouse")

_T = TypeVar("_T")

# Called once a server that does not answer, with what is waited for and how long.
OnWait = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MigrationState:
    """One migration. `applied_at` is None while it is not applied."""

    database: Database
    number: int
    name: str
    blocking: bool
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """One way in which a database is not as this version of the program expects."""

    database: Database
    text: str


class Schema(Protocol):
    """What the runner needs of a database."""

    def applied(self) -> tuple[AppliedMigration, ...]: ...

    def apply(self, file: MigrationFile) -> None: ...

    def describe(self) -> str: ...


def _silent(_text: str) -> None:
    return None


def migrate_up(
    database_url: str,
    clickhouse_url: str,
    *,
    cluster: str = "",
    wait_s: float = WAIT_S,
    folder: Path = FOLDER,
    on_wait: OnWait = _silent,
) -> list[MigrationState]:
    """Apply every pending file; returns those applied now, in order.

    Waits up to `wait_s` for each server, which `on_wait` is told, and for another runner to end.

    Raises:
        MigrationError: the files do not fit what was applied (nothing is changed then), or a
            database refused a file (those before it stay applied).
        RetryableError: a server did not answer, or another runner did not end, in time.
        FatalError: a URL or a credential is wrong.
    """
    files = {database: load_migrations(folder / database, database) for database in DATABASES}
    with _open(database_url, clickhouse_url, cluster, wait_s, on_wait) as (postgres, clickhouse):
        postgres.lock(wait_s)
        schemas: dict[Database, Schema] = {"postgres": postgres, "clickhouse": clickhouse}
        pending = _pending(files, {name: schema.applied() for name, schema in schemas.items()})
        for database in DATABASES:
            for file in pending[database]:
                schemas[database].apply(file)
        applied_now = {
            (database, file.number) for database in DATABASES for file in pending[database]
        }
        return [
            state
            for database in DATABASES
            for state in _states(files[database], schemas[database].applied())
            if (state.database, state.number) in applied_now
        ]


def migration_status(
    database_url: str,
    clickhouse_url: str,
    *,
    wait_s: float = WAIT_S,
    folder: Path = FOLDER,
    on_wait: OnWait = _silent,
) -> list[MigrationState]:
    """Every file of both databases, applied or not; changes nothing.

    Raises:
        MigrationError: the files do not fit what was applied.
        RetryableError: a server did not answer in time.
        FatalError: a URL or a credential is wrong.
    """
    files = {database: load_migrations(folder / database, database) for database in DATABASES}
    with _open(database_url, clickhouse_url, "", wait_s, on_wait) as (postgres, clickhouse):
        applied: dict[Database, tuple[AppliedMigration, ...]] = {
            "postgres": postgres.applied(),
            "clickhouse": clickhouse.applied(),
        }
        _pending(files, applied)
        return [state for name in DATABASES for state in _states(files[name], applied[name])]


def verify(
    database_url: str,
    clickhouse_url: str,
    *,
    wait_s: float = WAIT_S,
    folder: Path = FOLDER,
    on_wait: OnWait = _silent,
) -> list[SchemaFault]:
    """What is wrong with the live schemas; empty when all is as it should be.

    Checks that every file is applied and unchanged, and that each schema equals its snapshot, so
    that a change made by hand shows. Snapshots are compared as text: another major version of a
    server may word the same definition differently.

    Raises:
        RetryableError: a server did not answer in time.
        FatalError: a URL or a credential is wrong.
    """
    faults: list[SchemaFault] = []
    with _open(database_url, clickhouse_url, "", wait_s, on_wait) as (postgres, clickhouse):
        schemas: dict[Database, Schema] = {"postgres": postgres, "clickhouse": clickhouse}
        for database, schema in schemas.items():
            # Where files are not applied, that the schema differs says nothing new.
            texts = _file_faults(folder, database, schema.applied()) or _differences(
                _snapshot(folder, database), schema.describe()
            )
            faults += [SchemaFault(database, text) for text in texts]
    return faults


def write_snapshots(
    database_url: str,
    clickhouse_url: str,
    *,
    wait_s: float = WAIT_S,
    folder: Path = FOLDER,
) -> list[Path]:
    """Write both live schemas to snapshot/, to be reviewed and committed; returns the files."""
    with _open(database_url, clickhouse_url, "", wait_s) as (postgres, clickhouse):
        written = []
        for database, text in (
            ("postgres", postgres.describe()),
            ("clickhouse", clickhouse.describe()),
        ):
            path = folder / "snapshot" / f"{database}.sql"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
        return written


@contextmanager
def _open(
    database_url: str,
    clickhouse_url: str,
    cluster: str,
    wait_s: float,
    on_wait: OnWait = _silent,
) -> Iterator[tuple[PostgresSchema, ClickHouseSchema]]:
    with (
        _when_reachable(lambda: PostgresSchema(database_url), wait_s, on_wait) as postgres,
        _when_reachable(
            lambda: ClickHouseSchema(clickhouse_url, cluster), wait_s, on_wait
        ) as clickhouse,
    ):
        yield postgres, clickhouse


def _when_reachable(connect: Callable[[], _T], wait_s: float, on_wait: OnWait) -> _T:
    """The result of the first call that does not find its server away, within about `wait_s`."""
    is_told = False

    def is_passing(error: Exception) -> bool:
        nonlocal is_told
        if not isinstance(error, RetryableError):
            return False
        if not is_told:
            is_told = True
            first_line, _, _ = str(error).partition("\n")
            on_wait(f"{first_line}; waiting for it, up to {wait_s:g} s")
        return True

    return stamina.retry(
        on=is_passing, attempts=None, timeout=wait_s, wait_initial=0.2, wait_max=2.0
    )(connect)()


def _pending(
    files: dict[Database, tuple[MigrationFile, ...]],
    applied: dict[Database, tuple[AppliedMigration, ...]],
) -> dict[Database, tuple[MigrationFile, ...]]:
    """Pending files of both databases; raises before anything is applied to either."""
    pending: dict[Database, tuple[MigrationFile, ...]] = {}
    faults: list[str] = []
    for database in DATABASES:
        try:
            pending[database] = pending_migrations(files[database], applied[database], database)
        except MigrationError as error:
            faults += error.faults
    if faults:
        raise MigrationError(faults)
    return pending


def _states(
    files: Sequence[MigrationFile], applied: Sequence[AppliedMigration]
) -> list[MigrationState]:
    times = {row.number: row.applied_at for row in applied}
    return [
        MigrationState(file.database, file.number, file.name, file.blocking, times.get(file.number))
        for file in files
    ]


def _file_faults(
    folder: Path, database: Database, applied: Sequence[AppliedMigration]
) -> list[str]:
    try:
        files = load_migrations(folder / database, database)
        pending = pending_migrations(files, applied, database)
    except MigrationError as error:
        return list(error.faults)
    return [f"{file.name} is not applied" for file in pending]


def _snapshot(folder: Path, database: Database) -> str:
    path = folder / "snapshot" / f"{database}.sql"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _differences(expected: str, live: str) -> list[str]:
    if expected == live:
        return []
    lines = list(
        difflib.unified_diff(
            expected.splitlines(), live.splitlines(), "snapshot", "live", n=0, lineterm=""
        )
    )
    if len(lines) > DIFFERENCE_LINES_MAX:
        more = len(lines) - DIFFERENCE_LINES_MAX
        lines[DIFFERENCE_LINES_MAX:] = [f"... and {more} lines more"]
    return ["the live schema is not the snapshot's:\n" + "\n".join(lines)]
