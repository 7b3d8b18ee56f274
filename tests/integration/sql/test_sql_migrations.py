"""The runner on the real servers: from empty, again, interrupted, and what it refuses."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import psycopg
import pytest

from connectors.clickhouse import connect
from connectors.errors import RetryableError
from sql.migrate import (
    DATABASES,
    FOLDER,
    MigrationError,
    migrate_up,
    migration_status,
    verify,
    write_snapshots,
)
from tests.stack import RunningStack, with_database

pytestmark = pytest.mark.integration

HEADER = "-- why: a test\n-- blocking: no\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one small file for each database and no snapshots."""
    copy = tmp_path / "sql"
    for database in DATABASES:
        (copy / database).mkdir(parents=True)
    (copy / "postgres" / "0001_create_a.sql").write_text(HEADER + "CREATE TABLE a (b integer);")
    (copy / "clickhouse" / "0001_create_a.sql").write_text(
        HEADER + "CREATE TABLE IF NOT EXISTS a (b UInt8) ENGINE = MergeTree ORDER BY b;"
    )
    return copy


def tables(databases: RunningStack) -> set[str]:
    """The PostgreSQL tables of a database."""
    with psycopg.connect(databases.database_url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in rows}


def test_a_restored_dump_is_as_this_version_expects(empty_databases: RunningStack) -> None:
    """PostgreSQL words some checks otherwise once it has read its own dump."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migrate_up(*urls)
    with psycopg.connect(empty_databases.database_url) as connection:
        for table, name, column, values in (
            ("error_groups", "error_groups_status_check", "status", "open resolved ignored"),
            (
                "saved_filters",
                "saved_filters_filter_type_check",
                "filter_type",
                "sessions events errors",
            ),
        ):
            elements = ", ".join(f"('{value}'::varchar)::text" for value in values.split())
            connection.execute(
                f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
                f"CHECK (({column})::text = ANY (ARRAY[{elements}]))".encode()
            )
    assert verify(*urls) == []
    with psycopg.connect(empty_databases.database_url) as connection:
        connection.execute("ALTER TABLE error_groups DROP CONSTRAINT error_groups_status_check")
    assert len(verify(*urls)) == 1


def test_from_empty_to_the_snapshot_and_again(empty_databases: RunningStack) -> None:
    """All files are applied once; the result is the committed snapshot; again changes nothing."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    assert all(state.applied_at is None for state in migration_status(*urls))
    applied = migrate_up(*urls)
    files = [path for name in DATABASES for path in (FOLDER / name).glob("*.sql")]
    assert len(applied) == len(files)
    assert all(state.applied_at is not None for state in applied)
    assert verify(*urls) == []
    assert migrate_up(*urls) == []
    assert migration_status(*urls) == applied
    assert verify(*urls) == []


def test_looking_changes_nothing(empty_databases: RunningStack) -> None:
    """Status and verification of empty databases create no table."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migration_status(*urls)
    faults = verify(*urls)
    assert tables(empty_databases) == set()
    assert {fault.database for fault in faults} == set(DATABASES)
    assert any("0001_create_tenants is not applied" in fault.text for fault in faults)


def test_a_missing_clickhouse_database_is_made(empty_databases: RunningStack, folder: Path) -> None:
    """The first run needs a server only."""
    name = "made_by_migrations"
    url = with_database(empty_databases.clickhouse_url, name)
    client = connect(with_database(url, "default"))
    try:
        migrate_up(empty_databases.database_url, url, folder=folder)
        found = client.query(f"SELECT name FROM {name}.schema_migrations").result_rows
        assert [tuple(row) for row in found] == [("0001_create_a",)]
    finally:
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        client.close()


def test_a_change_made_by_hand_shows(empty_databases: RunningStack) -> None:
    """A column or an index that no file made is reported, with its line."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migrate_up(*urls)
    with psycopg.connect(empty_databases.database_url) as connection:
        connection.execute("CREATE INDEX by_hand ON projects (name)")
    client = connect(empty_databases.clickhouse_url)
    client.command("ALTER TABLE events ADD COLUMN by_hand UInt8")
    client.close()
    faults = {fault.database: fault.text for fault in verify(*urls)}
    assert "+CREATE INDEX by_hand ON projects" in faults["postgres"]
    assert "+    `by_hand` UInt8" in faults["clickhouse"]


@pytest.mark.parametrize("database", DATABASES)
def test_an_edited_file_is_refused_before_anything_happens(
    empty_databases: RunningStack, folder: Path, database: str
) -> None:
    """Neither database moves when a file of one of them was changed after it was applied."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migrate_up(*urls, folder=folder)
    edited = folder / database / "0001_create_a.sql"
    edited.write_text(edited.read_text() + "-- one word more\n")
    (folder / "postgres" / "0002_create_c.sql").write_text(HEADER + "CREATE TABLE c (d integer)")
    with pytest.raises(MigrationError, match=f"{database}/0001_create_a.sql is not the file"):
        migrate_up(*urls, folder=folder)
    with pytest.raises(MigrationError, match="is not the file"):
        migration_status(*urls, folder=folder)
    assert tables(empty_databases) == {"a", "schema_migrations"}
    assert any("is not the file" in fault.text for fault in verify(*urls, folder=folder))


def test_a_gap_and_an_unknown_number_are_refused(
    empty_databases: RunningStack, folder: Path
) -> None:
    """A file that is missing before, or was applied by a newer version, stops the run."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    (folder / "postgres" / "0003_create_c.sql").write_text(HEADER + "CREATE TABLE c (d integer)")
    with pytest.raises(MigrationError, match="postgres files: number 0002 is missing"):
        migrate_up(*urls, folder=folder)
    assert tables(empty_databases) == set()
    (folder / "postgres" / "0003_create_c.sql").rename(folder / "postgres" / "0002_create_c.sql")
    migrate_up(*urls, folder=folder)
    (folder / "postgres" / "0002_create_c.sql").unlink()
    with pytest.raises(MigrationError, match="0002_create_c was applied but there is no file"):
        migrate_up(*urls, folder=folder)


def test_a_postgres_file_is_applied_whole_or_not(
    empty_databases: RunningStack, folder: Path
) -> None:
    """A file that fails at its end leaves nothing; corrected, it is applied."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    file = folder / "postgres" / "0002_create_c.sql"
    file.write_text(HEADER + "CREATE TABLE c (d integer); CREATE TABLE a (b integer);")
    with pytest.raises(MigrationError, match=r'postgres/0002_create_c.sql: .*"a" already exists'):
        migrate_up(*urls, folder=folder)
    assert tables(empty_databases) == {"a", "schema_migrations"}
    file.write_text(HEADER + "CREATE TABLE c (d integer);")
    names = [(state.database, state.name) for state in migrate_up(*urls, folder=folder)]
    assert names == [("postgres", "0002_create_c"), ("clickhouse", "0001_create_a")]


def test_an_interrupted_clickhouse_file_is_run_again(
    empty_databases: RunningStack, folder: Path
) -> None:
    """Statements before the failing one are in effect but not noted; the next run completes it."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    file = folder / "clickhouse" / "0002_create_c_and_d.sql"
    first = "CREATE TABLE IF NOT EXISTS c (e String DEFAULT ';') ENGINE = MergeTree ORDER BY e;\n"
    file.write_text(HEADER + first + "CREATE TABLE IF NOT EXISTS d (e Wrong) ENGINE = Log;")
    with pytest.raises(MigrationError, match=r"0002_create_c_and_d.sql, statement 2: .*Wrong"):
        migrate_up(*urls, folder=folder)
    client = connect(empty_databases.clickhouse_url)
    client.command("INSERT INTO c VALUES ('kept')")
    file.write_text(HEADER + first + "CREATE TABLE IF NOT EXISTS d (e UInt8) ENGINE = Log;")
    applied = migrate_up(*urls, folder=folder)
    assert [(state.database, state.name) for state in applied] == [
        ("clickhouse", "0002_create_c_and_d")
    ]
    assert client.query("SELECT e, (SELECT count() FROM d) FROM c").result_rows == [("kept", 0)]
    client.close()


def test_two_runners_at_once_apply_each_file_once(empty_databases: RunningStack) -> None:
    """Processes that start together all succeed, and one of them did the work."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    counts: list[int] = []
    runners = [
        threading.Thread(target=lambda: counts.append(len(migrate_up(*urls)))) for _ in range(3)
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    files = [path for name in DATABASES for path in (FOLDER / name).glob("*.sql")]
    assert sorted(counts) == [0, 0, len(files)]


def test_a_runner_waits_for_another_for_a_bounded_time(
    empty_databases: RunningStack, folder: Path
) -> None:
    """A lock that is never released is told, not waited for without end."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migrate_up(*urls, folder=folder)
    with psycopg.connect(empty_databases.database_url) as other:
        other.execute("SELECT pg_advisory_lock(6051946278)")
        with pytest.raises(RetryableError, match="another migration is still running"):
            migrate_up(*urls, folder=folder, wait_s=0.3)


@pytest.mark.parametrize("away", ["postgres", "clickhouse"])
def test_a_server_that_stays_away_is_told(
    empty_databases: RunningStack, folder: Path, away: str
) -> None:
    """Once when waiting begins and when it ends, by its name and without a password."""
    waits: list[str] = []
    postgres, clickhouse = empty_databases.database_url, empty_databases.clickhouse_url
    if away == "postgres":
        postgres = "postgresql://gosight:secret@127.0.0.1:1/gosight"
    else:
        clickhouse = "http://gosight:secret@127.0.0.1:1/gosight"
    with pytest.raises(RetryableError, match=f"(?i){away}") as told:
        migrate_up(postgres, clickhouse, folder=folder, wait_s=0.5, on_wait=waits.append)
    assert "secret" not in str(told.value)
    (wait,) = waits
    assert away in wait.lower()
    assert wait.endswith("; waiting for it, up to 0.5 s")
    assert "secret" not in wait


def test_snapshots_are_of_the_live_schemas(empty_databases: RunningStack, folder: Path) -> None:
    """A written snapshot is what verification expects."""
    urls = (empty_databases.database_url, empty_databases.clickhouse_url)
    migrate_up(*urls, folder=folder)
    assert len(verify(*urls, folder=folder)) == len(DATABASES)
    written = write_snapshots(*urls, folder=folder)
    assert [path.name for path in written] == ["postgres.sql", "clickhouse.sql"]
    assert "CREATE TABLE a" in written[0].read_text()
    assert verify(*urls, folder=folder) == []
    shutil.rmtree(folder / "snapshot")
    assert len(verify(*urls, folder=folder)) == len(DATABASES)
