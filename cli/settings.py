"""Where the servers are, for one command.

Environment variables win; else the servers that `gosight up` runs in the data folder are used (it
leaves their addresses in `environment.json` while it runs); else the usual local addresses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from cli.folders import DEFAULT_DATA, ENVIRONMENT_FILE
from connectors.settings import ConnectionSettings

_SERVER_VARIABLES = ("KAFKA_BROKERS", "CLICKHOUSE_URL", "DATABASE_URL", "REDIS_URL")


class CliSettings(ConnectionSettings):
    """What the commands need to know."""

    geoip_database: str = Field("", alias="GEOIP_DATABASE")
    detectors_dir: str = Field("", alias="DETECTORS_DIR")
    detection_file: str = Field("", alias="DETECTION_FILE")
    replication: int = Field(1, alias="KAFKA_REPLICATION", ge=1, le=7)
    min_insync_replicas: int = Field(1, alias="KAFKA_MIN_INSYNC_REPLICAS", ge=1, le=7)


def load_settings(data: Path | None = None) -> CliSettings:
    """Settings for a command that talks to running servers; `data` is the folder of `gosight up`.

    Raises:
        SettingsError: naming every bad variable.
    """
    return CliSettings.from_env(load_environment(data or DEFAULT_DATA))


def load_environment(data: Path) -> dict[str, str]:
    """The environment that `load_settings` reads, for settings of other kinds."""
    return merged_environment(os.environ, data)


def merged_environment(environ: Mapping[str, str], data: Path) -> dict[str, str]:
    """The process's environment; without any server in it, completed from the data folder."""
    if any(environ.get(name) for name in _SERVER_VARIABLES):
        return dict(environ)
    return {**read_environment(data), **environ}


def why_no_server(data: Path, variable: str = "") -> str:
    """What keeps a server from being found that does not answer; empty if it was named.

    `variable` is the one that would name it.
    """
    if not any(os.environ.get(name) for name in _SERVER_VARIABLES):
        unset = f"{variable} is not set" if variable else "no address of a server is set"
        return f"`gosight up` is not running on {data.resolve()}, and {unset}"
    if variable and not os.environ.get(variable):
        return f"no server answers where it usually is, and {variable} is not set"
    return ""


def read_environment(data: Path) -> dict[str, str]:
    """Addresses of the servers that run in a data folder; empty if none do."""
    try:
        found = json.loads((data / ENVIRONMENT_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, for child processes."""
    return dict(os.environ)
