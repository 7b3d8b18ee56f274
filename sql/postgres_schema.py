"""PostgreSQL as the migrations see it: lock, what was applied, apply, describe.

One file is one transaction together with its row in `schema_migrations`: it is there whole or not.
"""

from __future__ import annotations

import re
import time
from typing import Self

import psycopg

from connectors.errors import FatalError, RetryableError
from sql.migration_files import AppliedMigration, MigrationError, MigrationFile

# Any constant that no other program takes for its own lock.
_LOCK_KEY = 6_051_946_278
_LOCK_POLL_S = 0.2
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      varchar(64) NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""
# ARRAY[('a'::character varying)::text, ...], as it is restored from a dump.
_CAST_TEXT = re.compile(r"\(('(?:[^']|'')*'::character varying)\)::text")
_CAST_LIST = re.compile(rf"ARRAY\[({_CAST_TEXT.pattern}(?:, {_CAST_TEXT.pattern})*)\]")


class PostgresSchema:
    """One connection; use it as a context manager."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            RetryableError: the server does not answer (yet), or refuses this login.
            FatalError: the URL cannot be read.
        """
        try:
            # Each statement is its own transaction unless one is opened.
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
        except psycopg.ProgrammingError as error:
            raise FatalError(f"DATABASE_URL cannot be read: {error}") from None
        except psycopg.OperationalError as error:
            raise RetryableError(f"PostgreSQL: {str(error).strip()}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def lock(self, wait_s: float) -> None:
        """Keep every other runner out until this connection closes.

        Raises:
            RetryableError: another runner did not end within `wait_s`.
        """
        deadline = time.monotonic() + wait_s
        while not self._scalar("SELECT pg_try_advisory_lock(%s)", _LOCK_KEY):
            if time.monotonic() >= deadline:
                raise RetryableError(f"another migration is still running after {wait_s:g} s")
            time.sleep(_LOCK_POLL_S)

    def applied(self) -> tuple[AppliedMigration, ...]:
        """What was applied, in order; nothing where migrations never ran."""
        if self._scalar("SELECT to_regclass('schema_migrations')") is None:
            return ()
        rows = self._connection.execute(
            "SELECT number, name, sha256, applied_at FROM schema_migrations ORDER BY number"
        )
        return tuple(AppliedMigration(*row) for row in rows)

    def apply(self, file: MigrationFile) -> None:
        """Apply one file and note it, or neither.

        Raises:
            MigrationError: PostgreSQL refused it; nothing has changed.
        """
        self._connection.execute(_LEDGER)
        try:
            with self._connection.transaction():
                self._connection.execute(file.text.encode())
                self._connection.execute(
                    "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                    (file.number, file.name, file.sha256),
                )
        except psycopg.Error as error:
            raise MigrationError([f"postgres/{file.name}.sql: {str(error).strip()}"]) from error

    def describe(self) -> str:
        """The schema as text: types, tables, constraints, indexes, triggers, functions, sorted."""
        parts = [*self._types(), *self._tables(), *self._functions()]
        return "\n\n".join(parts) + "\n"

    def _types(self) -> list[str]:
        rows = self._connection.execute(
            """
            SELECT t.typname, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
            FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
            WHERE t.typnamespace = current_schema()::regnamespace
            GROUP BY t.typname ORDER BY t.typname
            """
        )
        return [f"CREATE TYPE {name} AS ENUM ({labels});" for name, labels in rows]

    def _tables(self) -> list[str]:
        # Constraints of kind n (not null) are part of the column's line; their names differ by
        # server version. Indexes that a constraint made are told by the constraint.
        tables = self._connection.execute(
            """
            SELECT c.oid, c.relname FROM pg_class c
            WHERE c.relnamespace = current_schema()::regnamespace
              AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
            ORDER BY c.relname
            """
        ).fetchall()
        return [self._table(oid, name) for oid, name in tables]

    def _table(self, oid: int, name: str) -> str:
        lines = self._texts(
            """
            SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
                       'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
                       CASE WHEN a.attnotnull THEN 'NOT NULL' END)
            FROM pg_attribute a
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
            """,
            oid,
        ) + self._texts(
            """
            SELECT 'CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE conrelid = %s AND contype <> 'n' ORDER BY conname
            """,
            oid,
        )
        after = self._texts(
            """
            SELECT pg_get_indexdef(indexrelid) FROM pg_index
            WHERE indrelid = %s
              AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u'))
            ORDER BY 1
            """,
            oid,
        ) + self._texts(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal "
            "ORDER BY tgname",
            oid,
        )
        body = ",\n".join(f"    {line}" for line in lines)
        return "\n".join([f"CREATE TABLE {name} (\n{body}\n);", *(f"{line};" for line in after)])

    def _functions(self) -> list[str]:
        rows = self._connection.execute(
            """
            SELECT pg_get_functiondef(oid) FROM pg_proc
            WHERE pronamespace = current_schema()::regnamespace ORDER BY proname
            """
        )
        return [f"{_plain(row[0])};" for row in rows]

    def _texts(self, query: str, value: int) -> list[str]:
        rows = self._connection.execute(query.encode(), (value,)).fetchall()
        return [_plain(row[0]) for row in rows]

    def _scalar(self, query: str, *values: object) -> object:
        row = self._connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]


def _plain(definition: str) -> str:
    """A definition without what differs between two databases of the same schema.

    That is the schema's name, which PostgreSQL adds to some of them, and lists of texts, whose cast
    is written into each element once it has read its own dump.
    """
    text = _CAST_LIST.sub(
        lambda found: "(ARRAY[" + _CAST_TEXT.sub(r"\1", found[1]) + "])::text[]", definition
    )
    return text.replace("public.", "").strip()
