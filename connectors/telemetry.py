"""Structured logs and the metrics server that every process shares.

A log line is one JSON object: timestamp (RFC 3339), level, service, event, and what the call adds
(project_id, count, duration_ms ...). Keys, addresses, bodies and URLs with queries never appear.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import msgspec
import structlog
from prometheus_client import Gauge

_ENCODER = msgspec.json.Encoder(enc_hook=str)
BUILD_INFO = Gauge("gosight_build_info", "Always 1; labels tell the build.", ["service", "version"])


def gosight_version() -> str:
    """The installed version, or 0 when run from a plain checkout."""
    try:
        return version("gosight")
    except PackageNotFoundError:
        return "0"


def _render(_logger: Any, _name: str, event: structlog.typing.EventDict) -> str:
    return _ENCODER.encode(dict(event)).decode()


def configure_logging(service: str, level: str = "info") -> None:
    """Send JSON lines to standard error; `service` is on each of them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    BUILD_INFO.labels(service=service, version=gosight_version()).set(1)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The process's logger; `event` is a short snake_case name, the rest are keyword values."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
