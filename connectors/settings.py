"""Settings read once from an environment mapping into frozen models.

`EnvSettings` is the base of every process's settings: a field's alias is its environment variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


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


class DeliverySettings(ConnectionSettings):
    """How messages reach people; what the delivery of alerts and its test read."""

    telegram_bot_token: str = Field("", alias="TELEGRAM_BOT_TOKEN")
    telegram_api_url: str = Field("https://api.telegram.org", alias="TELEGRAM_API_URL")
    webhook_allowed_networks: str = Field("", alias="WEBHOOK_ALLOWED_NETWORKS")
    dashboard_url: str = Field("", alias="DASHBOARD_URL", pattern=r"^(https?://.+)?$")

    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks that webhooks may lead to although they are not public."""
        return read_networks(self.webhook_allowed_networks)

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _check_networks(cls, text: str) -> str:
        read_networks(text)
        return text


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from a list with commas, such as `10.0.0.0/8,192.0.2.7`.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
