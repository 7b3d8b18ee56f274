"""Settings of the process that erases."""

from __future__ import annotations

from pydantic import Field

from connectors.settings import ConnectionSettings


class ErasureSettings(ConnectionSettings):
    """What the process that erases needs to know."""

    metrics_port: int = Field(9090, alias="METRICS_PORT", ge=0, le=65_535)
    metrics_host: str = Field("0.0.0.0", alias="METRICS_HOST")  # noqa: S104 - scraped from outside.
    # Another process takes over what one that died was at after so long.
    lease_s: float = Field(60.0, alias="ERASURE_LEASE_SECONDS", ge=1, le=3_600)
    poll_s: float = Field(2.0, alias="ERASURE_POLL_SECONDS", ge=0.05, le=60)
