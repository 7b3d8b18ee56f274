"""Settings read once from an environment mapping into frozen models.

`EnvSettings` is the base of every process's settings: a field's alias is its environment variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class SettingsError(ValueError):
    """The environment does not describe valid settings; the text names every bad key."""


class EnvSettings(BaseModel):
    """Frozen settings whose field aliases are environment variables."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Build from `environ`; an empty value counts as not set.

        Raises:
            SettingsError: naming every variable that is missing or invalid, at once.
        """
        values: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            variable = field.alias or name
            value = environ.get(variable, "")
            if value != "":
                values[variable] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = [
                f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
                for fault in error.errors()
            ]
            raise SettingsError("invalid settings: " + "; ".join(faults)) from None


class ConnectionSettings(EnvSettings):
    """Where the servers are; what every process shares.

    URLs may hold passwords: they are never logged.
    """

    kafka_brokers: str = Field("localhost:9092", alias="KAFKA_BROKERS")
    clickhouse_url: str = Field("http://localhost:8123/gosight", alias="CLICKHOUSE_URL")
    database_url: str = Field("postgresql://gosight@localhost:5432/gosight", alias="DATABASE_URL")
    redis_url: str = Field("redis://localhost:6379/0", alias="REDIS_URL")
    log_level: str = Field("info", alias="LOG_LEVEL")
