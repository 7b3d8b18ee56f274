"""Settings of the gateway, read once at start.

Every limit refuses, none truncates silently. Source: events.md, section 6; deployment.md,
section 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import Field

from connectors.settings import ConnectionSettings

REPLAY_BODY_BYTES_MAX = 2 * 1024 * 1024  # On the wire. Source: replay.md, section 3.


class GatewaySettings(ConnectionSettings):
    """What one gateway process needs to know."""

    http_port: int = Field(8080, alias="INGESTOR_HTTP_PORT", ge=0, le=65_535)
    grpc_port: int = Field(50_051, alias="INGESTOR_GRPC_PORT", ge=-1, le=65_535)  # -1: no gRPC.
    # Worker n listens on metrics_port + n; 0: only GET /metrics of the HTTP port.
    metrics_port: int = Field(9090, alias="METRICS_PORT", ge=0, le=65_535)
    listen_host: str = Field("0.0.0.0", alias="INGESTOR_HOST")  # noqa: S104 - a public door.
    processes: int = Field(1, alias="INGESTOR_PROCESSES", ge=1, le=64)
    alias_path: str = Field("", alias="GOSIGHT_INGEST_PATH")  # A second path for POST /v1/events.

    trusted_proxy_count: int = Field(0, alias="TRUSTED_PROXY_COUNT", ge=0, le=16)
    body_bytes_max: int = Field(256 * 1024, alias="MAX_BODY_BYTES", gt=0)
    unpacked_bytes_max: int = Field(2 * 1024 * 1024, alias="MAX_UNPACKED_BYTES", gt=0)
    batch_events_max: int = Field(500, alias="MAX_BATCH_EVENTS", gt=0)
    request_timeout_s: float = Field(10.0, alias="REQUEST_TIMEOUT_SECONDS", gt=0)
    drain_timeout_s: float = Field(30.0, alias="DRAIN_TIMEOUT_SECONDS", gt=0)
    requests_in_flight_max: int = Field(2_000, alias="MAX_REQUESTS_IN_FLIGHT", gt=0)

    # For all keys of a project and for one client's address together; 0: no such limit.
    project_rate_limit_per_s: int = Field(0, alias="PROJECT_RATE_LIMIT_RPS", ge=0)
    project_rate_limit_burst: int = Field(20_000, alias="PROJECT_RATE_LIMIT_BURST", gt=0)
    address_rate_limit_per_s: int = Field(0, alias="ADDRESS_RATE_LIMIT_RPS", ge=0)
    address_rate_limit_burst: int = Field(200, alias="ADDRESS_RATE_LIMIT_BURST", gt=0)
    is_replay_enabled: bool = Field(True, alias="REPLAY_ENABLED")

    # Together they bound the memory that a broker's absence can take.
    kafka_bytes_in_flight_max: int = Field(24 * 1024 * 1024, alias="KAFKA_INFLIGHT_BYTES", gt=0)
    kafka_records_in_flight_max: int = Field(20_000, alias="KAFKA_INFLIGHT_RECORDS", gt=0)
    # Below the request timeout, so that a dead broker is answered 503 and not 408.
    kafka_delivery_timeout_s: float = Field(8.0, alias="KAFKA_DELIVERY_TIMEOUT_SECONDS", gt=0)
    kafka_linger_ms: float = Field(1.0, alias="KAFKA_LINGER_MS", ge=0)
    kafka_compression: str = Field("none", alias="KAFKA_COMPRESSION")
    # Secret of the daily address pseudonyms; without one, every process draws its own at start.
    ip_hash_secret: str = Field("", alias="IP_HASH_SECRET")

    @classmethod
    def from_process(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the process's environment (or the mapping given)."""
        return cls.from_env(os.environ if environ is None else environ)
