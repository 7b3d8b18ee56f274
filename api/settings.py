"""Settings of the API process, read once at start. Source: deployment.md, section 2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import Field

from connectors.settings import ConnectionSettings


class ApiSettings(ConnectionSettings):
    """What one API process needs to know."""

    http_port: int = Field(8080, alias="API_PORT", ge=0, le=65_535)
    listen_host: str = Field("0.0.0.0", alias="API_HOST")  # noqa: S104 - a public door.
    # A page of a dashboard asks about eight queries at once; more wait for a free thread.
    queries_at_once_max: int = Field(8, alias="API_QUERIES_AT_ONCE", ge=1, le=64)
    # Source: api.md, section 10.
    query_timeout_s: float = Field(10.0, alias="API_QUERY_TIMEOUT_SECONDS", gt=0)
    # Explanations and backtests are run with the project's own detectors, too.
    detectors_dir: str = Field("", alias="DETECTORS_DIR")
    drain_timeout_s: float = Field(30.0, alias="DRAIN_TIMEOUT_SECONDS", gt=0)

    def command_environ(self) -> dict[str, str]:
        """All that commands which this process starts may know."""
        return {
            "CLICKHOUSE_URL": self.clickhouse_url,
            "DATABASE_URL": self.database_url,
            "DETECTORS_DIR": self.detectors_dir,
        }

    @classmethod
    def from_process(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the process's environment (or the mapping given)."""
        return cls.from_env(os.environ if environ is None else environ)
