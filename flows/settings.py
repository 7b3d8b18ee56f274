"""Settings of the dataflows."""

from __future__ import annotations

import os

from pydantic import Field

from connectors.settings import DeliverySettings


class FlowSettings(DeliverySettings):
    """What every flow reads; see `.env.example` for units and defaults."""

    batch_rows: int = Field(20_000, alias="BATCH_ROWS", ge=1, le=1_000_000)
    batch_seconds: float = Field(1.0, alias="BATCH_SECONDS", ge=0.05, le=60)
    poll_records: int = Field(500, alias="POLL_RECORDS", ge=1, le=10_000)
    clock_ahead_seconds_max: float = Field(5.0, alias="CLOCK_AHEAD_SECONDS_MAX", ge=0)
    retry_seconds_max: float = Field(600.0, alias="RETRY_SECONDS_MAX", ge=0)
    geoip_database: str | None = Field(None, alias="GEOIP_DATABASE")
    alert_delay_seconds: float = Field(15.0, alias="ALERT_DELAY_SECONDS", ge=1, le=600)
    alert_lag_seconds_max: float = Field(60.0, alias="ALERT_LAG_SECONDS_MAX", ge=10, le=3_600)
    detectors_dir: str = Field("", alias="DETECTORS_DIR")
    detection_file: str = Field("", alias="DETECTION_FILE")
    metrics_port: int = Field(9090, alias="METRICS_PORT", ge=0, le=65_535)
    metrics_host: str = Field("0.0.0.0", alias="METRICS_HOST")  # noqa: S104 - scraped from outside.
    consumer_group: str | None = Field(None, alias="CONSUMER_GROUP")


def process_settings() -> FlowSettings:
    """Settings of this process's environment."""
    return FlowSettings.from_env(os.environ)
