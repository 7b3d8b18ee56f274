"""Settings of the dataflows."""

from __future__ import annotations

import os

from pydantic import Field, field_validator

from connectors.settings import ConnectionSettings


class FlowSettings(ConnectionSettings):
    """What every flow reads; see `.env.example` for units and defaults."""

    batch_rows: int = Field(20_000, alias="BATCH_ROWS", ge=1, le=1_000_000)
    batch_seconds: float = Field(1.0, alias="BATCH_SECONDS", ge=0.05, le=60)
    poll_records: int = Field(500, alias="POLL_RECORDS", ge=1, le=10_000)
    retry_seconds_max: float = Field(600.0, alias="RETRY_SECONDS_MAX", ge=0)
    geoip_database: str | None = Field(None, alias="GEOIP_DATABASE")
    metrics_port: int = Field(9090, alias="METRICS_PORT", ge=0, le=65_535)
    metrics_host: str = Field("0.0.0.0", alias="METRICS_HOST")  # noqa: S104 - scraped from outside.
    consumer_group: str | None = Field(None, alias="CONSUMER_GROUP")
    share: tuple[int, int] = Field((0, 1), alias="PARTITION_SHARE")

    @field_validator("share", mode="before")
    @classmethod
    def _parse_share(cls, value: object) -> object:
        """`2/4` is the third of four processes that split the partitions."""
        if isinstance(value, str):
            index, _, count = value.partition("/")
            if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
                raise ValueError("must look like 0/4: index from 0, then the number of processes")
            return int(index), int(count)
        return value


def process_settings() -> FlowSettings:
    """Settings of this process's environment."""
    return FlowSettings.from_env(os.environ)
