"""Settings read once from an environment mapping into frozen models.

`EnvSettings` is the base of every process's settings: a field's alias is its environment variable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


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
                f"{'.'.join(str(part) for part in fault['loc'])}: "
                f"{fault['msg'].removeprefix('Value error, ')}"
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

    @field_validator("clickhouse_url")
    @classmethod
    def _check_clickhouse(cls, url: str) -> str:
        _check_url(url, ("http", "https"), "http://user:password@host:8123/database")
        return url

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, url: str) -> str:
        _check_url(url, ("redis", "rediss", "unix"), "redis://:password@host:6379/0")
        return url

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: str) -> str:
        # It may be more than one URL says: several hosts, or pairs of names and values.
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            ports = str(conninfo_to_dict(url).get("port") or 0).split(",")
        except ProgrammingError:  # Its text may hold the password.
            ports = ["?"]
        if not all(port.isdecimal() for port in ports if port):
            raise ValueError("must look like postgresql://user:password@host:5432/database")
        return url

    @field_validator("log_level")
    @classmethod
    def _check_log_level(cls, level: str) -> str:
        if level.lower() not in LOG_LEVELS:
            raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
        return level


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


def _check_url(url: str, schemes: Collection[str], like: str) -> None:
    """Refuse what cannot be the address of a server; the text never repeats any of it.

    Raises:
        ValueError: saying what is wrong, and what one looks like.
    """
    try:
        parts = urlsplit(url)
        is_readable = parts.port != 0  # Reading the port is what refuses it.
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError(
            f"has no valid port or host; it must look like {like}, with special characters of a "
            "password written as %XX"
        )
    if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix"):
        raise ValueError(f"must look like {like}")


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from a list with commas, such as `10.0.0.0/8,192.0.2.7`.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
