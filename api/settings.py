"""Settings of the API process, read once at start. Source: deployment.md, section 2."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator

from connectors.settings import DeliverySettings, SettingsError

SECRET_CHARS_MIN = 32  # RFC 7518, section 3.2: as long as the hash.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?|https?://\[[0-9a-f:]+\](?::\d{1,5})?")


class ApiSettings(DeliverySettings):
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

    # Signs the tokens of logins. The one before is still believed while secrets rotate.
    jwt_secret: str = Field("", alias="JWT_SECRET", min_length=SECRET_CHARS_MIN)
    jwt_secret_previous: str = Field("", alias="JWT_SECRET_PREVIOUS", min_length=SECRET_CHARS_MIN)
    # Source: api.md, section 2.
    access_s: int = Field(900, alias="API_ACCESS_SECONDS", ge=60, le=3_600)
    refresh_days: int = Field(30, alias="API_REFRESH_DAYS", ge=1, le=365)
    is_registration_open: bool = Field(False, alias="API_REGISTRATION_OPEN")
    cors_origins_text: str = Field("", alias="API_CORS_ORIGINS")
    # One takes 64 MiB and a core for a quarter of a second.
    hashes_at_once_max: int = Field(2, alias="API_HASHES_AT_ONCE", ge=1, le=64)
    # Source: api.md, section 1.
    auth_per_minute: int = Field(10, alias="API_AUTH_PER_MINUTE", ge=1)
    reads_per_minute: int = Field(100, alias="API_READS_PER_MINUTE", ge=1)
    writes_per_minute: int = Field(1_000, alias="API_WRITES_PER_MINUTE", ge=1)
    trusted_proxy_count: int = Field(0, alias="TRUSTED_PROXY_COUNT", ge=0, le=10)

    def command_environ(self) -> dict[str, str]:
        """All that commands which this process starts may know."""
        return {
            "CLICKHOUSE_URL": self.clickhouse_url,
            "DATABASE_URL": self.database_url,
            "DETECTORS_DIR": self.detectors_dir,
        }

    def sender_environ(self) -> dict[str, str]:
        """All that commands which send messages may know; they run no code of a user."""
        return {
            "CLICKHOUSE_URL": self.clickhouse_url,
            "DATABASE_URL": self.database_url,
            "TELEGRAM_BOT_TOKEN": self.telegram_bot_token,
            "TELEGRAM_API_URL": self.telegram_api_url,
            "WEBHOOK_ALLOWED_NETWORKS": self.webhook_allowed_networks,
            "DASHBOARD_URL": self.dashboard_url,
        }

    @classmethod
    def from_process(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the process's environment (or the mapping given).

        Raises:
            SettingsError: naming every variable at fault; a secret to sign with must be there.
        """
        settings = cls.from_env(os.environ if environ is None else environ)
        if not settings.jwt_secret:
            raise SettingsError(
                "invalid settings: JWT_SECRET: set it to at least "
                f"{SECRET_CHARS_MIN} random characters, as `openssl rand -hex 32` prints them"
            )
        return settings

    def jwt_secrets(self) -> tuple[str, ...]:
        """The secret that signs, then the one that is still believed."""
        return tuple(filter(None, (self.jwt_secret, self.jwt_secret_previous)))

    def cors_origins(self) -> frozenset[str]:
        """Origins of dashboards in lower case, without a slash at the end."""
        return _read_origins(self.cors_origins_text)

    @field_validator("cors_origins_text")
    @classmethod
    def _check_origins(cls, text: str) -> str:
        _read_origins(text)
        return text


def _read_origins(text: str) -> frozenset[str]:
    origins = [part.strip().lower().rstrip("/") for part in text.split(",") if part.strip()]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("must be origins with commas, as https://dashboard.example")
    return frozenset(origins)
