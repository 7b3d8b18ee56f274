"""The numbered files of one database, and what may be done with them.

In: a folder of `NNNN_verb_object.sql` files, and what a database says was applied. Out: the files
that are still to be applied, in order. Refused, all faults at once: gaps, repeated numbers, missing
headers, files that changed after they were applied, applied numbers without a file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sql.statements import StatementError, repeat_fault, split_statements

Database = Literal["postgres", "clickhouse"]

_FILE_NAME = re.compile(r"(?P<number>\d{4})_[a-z]+(?:_[a-z0-9]+)+\.sql")
_WHY = re.compile(r"^-- why: \S", re.MULTILINE)
_BLOCKING = re.compile(r"^-- blocking: (?P<answer>yes|no)\b", re.MULTILINE)


class MigrationError(Exception):
    """The files and the database do not fit together; the text names every fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One file. `blocking` says whether applying it keeps others from the table meanwhile."""

    database: Database
    number: int
    name: str  # As on disk, without the ending.
    sha256: str
    text: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """One row of a database's `schema_migrations`."""

    number: int
    name: str
    sha256: str
    applied_at: datetime


def load_migrations(folder: Path, database: Database) -> tuple[MigrationFile, ...]:
    """The files of a folder in order of their numbers, which are 1, 2, 3 ...

    Raises:
        MigrationError: naming every fault of the files.
    """
    faults: list[str] = []
    files: list[MigrationFile] = []
    for path in sorted(folder.glob("*.sql")):
        found = _FILE_NAME.fullmatch(path.name)
        if found is None:
            faults.append(f"{database}/{path.name}: must be named NNNN_verb_object.sql")
            continue
        content = path.read_bytes()
        text = content.decode("utf-8")
        blocking = _BLOCKING.search(text)
        faults += [f"{database}/{path.name}: {fault}" for fault in _text_faults(text, database)]
        files.append(
            MigrationFile(
                database=database,
                number=int(found["number"]),
                name=path.stem,
                sha256=hashlib.sha256(content).hexdigest(),
                text=text,
                blocking=blocking is not None and blocking["answer"] == "yes",
            )
        )
    faults += _number_faults([file.number for file in files], f"{database} files")
    if faults:
        raise MigrationError(faults)
    return tuple(files)


def pending_migrations(
    files: Sequence[MigrationFile], applied: Sequence[AppliedMigration], database: Database
) -> tuple[MigrationFile, ...]:
    """The files that come after the last applied one.

    Raises:
        MigrationError: what was applied is not exactly the beginning of `files`.
    """
    by_number = {file.number: file for file in files}
    faults = _number_faults(
        [row.number for row in applied], f"{database}, what schema_migrations says was applied"
    )
    for row in applied:
        file = by_number.get(row.number)
        if file is None:
            faults.append(
                f"{database}: {row.name} was applied but there is no file of that number; "
                "is this an older version of the program?"
            )
        elif (file.name, file.sha256) != (row.name, row.sha256):
            faults.append(
                f"{database}/{file.name}.sql is not the file that was applied as {row.name} on "
                f"{row.applied_at:%Y-%m-%d}; restore it and write the change as a new file"
            )
    if faults:
        raise MigrationError(faults)
    done = {row.number for row in applied}
    return tuple(file for file in files if file.number not in done)


def _text_faults(text: str, database: Database) -> list[str]:
    faults = []
    if _WHY.search(text) is None:
        faults.append("needs a line '-- why: ...'")
    if _BLOCKING.search(text) is None:
        faults.append("needs a line '-- blocking: yes' or '-- blocking: no'")
    if database == "clickhouse":
        try:
            found = [repeat_fault(statement) for statement in split_statements(text)]
        except StatementError as error:
            return [*faults, str(error)]
        faults += [fault for fault in found if fault is not None]
    return faults


def _number_faults(numbers: Sequence[int], where: str) -> list[str]:
    faults = [
        f"{where}: number {number:04} is there more than once"
        for number in sorted({number for number in numbers if numbers.count(number) > 1})
    ]
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    faults += [f"{where}: number {number:04} is missing" for number in missing]
    return faults
