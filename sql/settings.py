"""Settings of the migrations."""

from __future__ import annotations

from pydantic import Field

from connectors.settings import ConnectionSettings


class MigrationSettings(ConnectionSettings):
    """Where the databases are, and how tables are made."""

    # Name of a ClickHouse cluster: tables on all its nodes, replicated. Empty: one server.
    clickhouse_cluster: str = Field("", alias="CLICKHOUSE_CLUSTER")
