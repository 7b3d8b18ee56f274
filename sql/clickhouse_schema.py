"""ClickHouse as the migrations see it: make the database, what was applied, apply, describe.

ClickHouse has no transactions over statements. A file is applied statement by statement and noted
after the last one, so an interrupted file is run again from its start; its statements are safe to
repeat. With a cluster name, tables are made on all its nodes with replicated engines (not tried on
a real cluster: the statements are tested, their effect is not).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import connect
from connectors.errors import FatalError
from sql.migration_files import AppliedMigration, MigrationError, MigrationFile
from sql.statements import for_cluster, split_statements

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      UInt32,
    name        String,
    sha256      String,
    applied_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""
_DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ClickHouseSchema:
    """One client; use it as a context manager."""

    def __init__(self, url: str, cluster: str = "") -> None:
        """Connect to the server; the URL's database need not exist yet.

        Raises:
            RetryableError: the server does not answer.
            FatalError: wrong URL, credentials or database name.
        """
        parts = urlsplit(url)
        self._database = parts.path.strip("/") or "default"
        if _DATABASE_NAME.fullmatch(self._database) is None:
            raise FatalError(f"{self._database!r} is not the name of a ClickHouse database")
        self._url = url
        self._cluster = cluster
        self._client: Client = connect(urlunsplit(parts._replace(path="/default")))
        self._is_bound = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def applied(self) -> tuple[AppliedMigration, ...]:
        """What was applied, in order; nothing where migrations never ran."""
        if not self._has_ledger():
            return ()
        self._bind()
        rows = self._client.query(
            "SELECT number, name, sha256, toUnixTimestamp64Milli(applied_at) "
            "FROM schema_migrations FINAL ORDER BY number"
        ).result_rows
        return tuple(
            AppliedMigration(number, name, sha256, datetime.fromtimestamp(at_ms / 1000, UTC))
            for number, name, sha256, at_ms in rows
        )

    def apply(self, file: MigrationFile) -> None:
        """Run one file's statements, then note it.

        Raises:
            MigrationError: a statement was refused; those before it are in effect, the file is not
                noted and will be run again.
        """
        self._prepare()
        for place, statement in enumerate(split_statements(file.text), start=1):
            try:
                self._client.command(for_cluster(statement, self._cluster))
            except ClickHouseError as error:
                raise MigrationError(
                    [f"clickhouse/{file.name}.sql, statement {place}: {str(error)[:500]}"]
                ) from error
        self._client.command(
            "INSERT INTO schema_migrations (number, name, sha256) SELECT "
            "{number:UInt32}, {name:String}, {sha256:String}",
            parameters={"number": file.number, "name": file.name, "sha256": file.sha256},
        )

    def describe(self) -> str:
        """The schema as text: one CREATE statement a table or view, sorted by name.

        Independent of the database's name, of who made the views, and of replication.
        """
        rows = self._client.query(
            "SELECT formatQuery(create_table_query) FROM system.tables "
            "WHERE database = {database:String} AND name != 'schema_migrations' ORDER BY name",
            parameters={"database": self._database},
        ).result_rows
        return "\n\n".join(normal_definition(row[0], self._database) for row in rows) + "\n"

    def _has_ledger(self) -> bool:
        found = self._client.query(
            "SELECT count() FROM system.tables "
            "WHERE database = {database:String} AND name = 'schema_migrations'",
            parameters={"database": self._database},
        ).result_rows
        return bool(found[0][0])

    def _prepare(self) -> None:
        if self._is_bound:
            return
        suffix = f" ON CLUSTER '{self._cluster}'" if self._cluster else ""
        self._client.command(f"CREATE DATABASE IF NOT EXISTS `{self._database}`{suffix}")
        self._bind()
        self._client.command(for_cluster(_LEDGER.strip(), self._cluster))

    def _bind(self) -> None:
        """Go on inside the database itself, so that statements need not name it."""
        if not self._is_bound:
            self._client.close()
            self._client = connect(self._url)
            self._is_bound = True


def normal_definition(definition: str, database: str) -> str:
    """A table's definition without what differs between two servers of the same schema."""
    text = re.sub(rf"(?<![\w.`])`?{re.escape(database)}`?\.(?=[\w`])", "", definition)
    text = re.sub(r"^DEFINER = \S+ SQL SECURITY \w+\n", "", text, flags=re.MULTILINE)
    text = re.sub(
        r"\bReplicated(\w*MergeTree)(?:\('[^']*', '[^']*'(?:, )?([^)\n]*)\))?",
        lambda found: found[1] + (f"({found[2]})" if found[2] else ""),
        text,
    )
    text = text.replace(" replicated_deduplication_window", " non_replicated_deduplication_window")
    return text.strip() + ";"
