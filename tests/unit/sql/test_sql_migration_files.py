"""Checks of the numbered files and of what a database says was applied."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sql.migrate import DATABASES, FOLDER
from sql.migration_files import (
    AppliedMigration,
    MigrationError,
    MigrationFile,
    load_migrations,
    pending_migrations,
)

HEADER = "-- why: a test\n-- blocking: no\n"
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def write(folder: Path, name: str, text: str = HEADER + "CREATE TABLE a (b int);") -> None:
    """Put one file into a folder."""
    (folder / name).write_text(text, encoding="utf-8")


def applied(*files: MigrationFile) -> list[AppliedMigration]:
    """What a database says after these files were applied."""
    return [AppliedMigration(file.number, file.name, file.sha256, NOW) for file in files]


def three_files(folder: Path) -> tuple[MigrationFile, ...]:
    """Three good files."""
    for name in ("0001_create_a.sql", "0002_create_b.sql", "0003_create_c.sql"):
        write(folder, name)
    return load_migrations(folder, "postgres")


def test_files_come_in_order_with_their_checksums(tmp_path: Path) -> None:
    """A folder of good files gives one record a file, in order of the numbers."""
    write(tmp_path, "0002_add_b_c.sql", HEADER.replace("no", "yes") + "SELECT 1")
    write(tmp_path, "0001_create_a.sql")
    files = load_migrations(tmp_path, "postgres")
    assert [(file.number, file.name, file.blocking) for file in files] == [
        (1, "0001_create_a", False),
        (2, "0002_add_b_c", True),
    ]
    assert files[0].sha256 != files[1].sha256
    assert len(files[0].sha256) == 64


@pytest.mark.parametrize("database", DATABASES)
def test_our_own_files_are_in_order(database: str) -> None:
    """The files of this repository pass every check."""
    files = load_migrations(FOLDER / database, database)  # type: ignore[arg-type]
    assert [file.number for file in files] == list(range(1, len(files) + 1))
    assert len(files) >= 10


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["0001_create_a.sql", "0003_create_c.sql"], "number 0002 is missing"),
        (["0002_create_b.sql"], "number 0001 is missing"),
        (["0001_create_a.sql", "0001_create_b.sql"], "number 0001 is there more than once"),
        (["1_create_a.sql"], "must be named NNNN_verb_object.sql"),
        (["0001_create.sql"], "must be named NNNN_verb_object.sql"),
    ],
)
def test_bad_numbers_and_names_are_refused(tmp_path: Path, names: list[str], fault: str) -> None:
    """Gaps, repeats and names that say nothing stop the runner."""
    for name in names:
        write(tmp_path, name)
    with pytest.raises(MigrationError, match=fault):
        load_migrations(tmp_path, "postgres")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("-- blocking: no\nSELECT 1", "needs a line '-- why: ...'"),
        ("-- why:\n-- blocking: no\nSELECT 1", "needs a line '-- why: ...'"),
        ("-- why: a\nSELECT 1", "needs a line '-- blocking: yes' or"),
        ("-- why: a\n-- blocking: maybe\nSELECT 1", "needs a line '-- blocking: yes' or"),
    ],
)
def test_missing_headers_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    """Each file says why it is there and whether it blocks."""
    write(tmp_path, "0001_create_a.sql", text)
    with pytest.raises(MigrationError) as refusal:
        load_migrations(tmp_path, "postgres")
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE TABLE a (b UInt8) ENGINE = Memory", "CREATE needs IF NOT EXISTS"),
        ("CREATE TABLE IF NOT EXISTS a (b String DEFAULT 'x) ENGINE = Memory", "is not closed"),
    ],
)
def test_clickhouse_files_that_cannot_be_repeated_are_refused(
    tmp_path: Path, statement: str, fault: str
) -> None:
    """A ClickHouse file may be run again after an interruption, so it has to be harmless."""
    write(tmp_path, "0001_create_a.sql", HEADER + statement)
    with pytest.raises(MigrationError, match=fault):
        load_migrations(tmp_path, "clickhouse")


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    """One run tells all that is wrong."""
    write(tmp_path, "0001_create_a.sql", "SELECT 1")
    write(tmp_path, "0003_create_c.sql")
    with pytest.raises(MigrationError) as refusal:
        load_migrations(tmp_path, "postgres")
    assert len(refusal.value.faults) == 3


def test_what_follows_the_applied_files_is_pending(tmp_path: Path) -> None:
    """Nothing applied: all are pending. All applied: none is."""
    files = three_files(tmp_path)
    assert pending_migrations(files, [], "postgres") == files
    assert pending_migrations(files, applied(*files[:2]), "postgres") == files[2:]
    assert pending_migrations(files, applied(*files), "postgres") == ()


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    """A file that was applied must stay as it was."""
    before = three_files(tmp_path)
    write(tmp_path, "0002_create_b.sql", HEADER + "CREATE TABLE b (c int); -- edited")
    after = load_migrations(tmp_path, "postgres")
    with pytest.raises(
        MigrationError, match=r"0002_create_b\.sql is not the file that was applied"
    ):
        pending_migrations(after, applied(*before), "postgres")


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    """A number keeps its name."""
    before = three_files(tmp_path)
    (tmp_path / "0002_create_b.sql").rename(tmp_path / "0002_create_bee.sql")
    after = load_migrations(tmp_path, "postgres")
    with pytest.raises(MigrationError, match="applied as 0002_create_b on 2026-01-31"):
        pending_migrations(after, applied(*before), "postgres")


def test_an_unknown_applied_number_is_refused(tmp_path: Path) -> None:
    """An older program does not work on a newer database."""
    files = three_files(tmp_path)
    with pytest.raises(MigrationError, match="0003_create_c was applied but there is no file"):
        pending_migrations(files[:2], applied(*files), "postgres")


def test_a_gap_in_what_was_applied_is_refused(tmp_path: Path) -> None:
    """A database that skipped a file is not brought forward silently."""
    files = three_files(tmp_path)
    with pytest.raises(MigrationError, match="says was applied: number 0002 is missing"):
        pending_migrations(files, applied(files[0], files[2]), "postgres")
