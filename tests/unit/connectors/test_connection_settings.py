"""Where the servers are: addresses that cannot be right are told at the start, by their names."""

from __future__ import annotations

import pytest

from connectors.settings import ConnectionSettings, SettingsError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://gosight:secret@db/gosight"),
        ("DATABASE_URL", "postgresql://gosight:secret@db-1:5432,db-2/gosight?sslmode=require"),
        ("DATABASE_URL", "postgresql:///gosight"),
        ("DATABASE_URL", "host=db port=5433 user=gosight"),
        ("CLICKHOUSE_URL", "https://gosight:se%2Fcret@[fd00::1]:8443/gosight?compress=lz4"),
        ("CLICKHOUSE_URL", "http://clickhouse/gosight"),
        ("REDIS_URL", "rediss://:secret@cache"),
        ("REDIS_URL", "unix:///run/valkey.sock?db=1"),
        ("LOG_LEVEL", "WARNING"),
    ],
)
def test_what_the_clients_take_is_taken(name: str, value: str) -> None:
    """Every form of address, and levels in any case."""
    settings = ConnectionSettings.from_env({name: value})
    assert settings.model_dump(by_alias=True)[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://gosight:secret@db/gosight"),
        ("DATABASE_URL", "postgresql://gosight:secret@db:port/gosight"),
        ("DATABASE_URL", "postgresql://gosight:my secret@db/gosight"),
        ("DATABASE_URL", "postgresql://gosight:secret%zz@db/gosight"),
        ("DATABASE_URL", "secret"),
        ("CLICKHOUSE_URL", "http://gosight:secret:c/d"),
        ("CLICKHOUSE_URL", "http://gosight:secret/@clickhouse:8123/d"),
        ("CLICKHOUSE_URL", "clickhouse:8123/secret"),
        ("CLICKHOUSE_URL", "http://[secret/d"),
        ("REDIS_URL", "secret"),
        ("REDIS_URL", "redis:///secret"),
        ("REDIS_URL", "http://:secret@cache:6379"),
        ("REDIS_URL", "redis://:secret@cache:99999"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(name: str, value: str) -> None:
    """The text names the variable and what it should look like, and repeats nothing of it."""
    with pytest.raises(SettingsError, match=f"^invalid settings: {name}: .*must look like") as told:
        ConnectionSettings.from_env({name: value})
    assert "secret" not in str(told.value)


def test_a_level_that_is_none_is_refused() -> None:
    """With those that there are."""
    levels = "must be one of debug, info, warning, error, critical"
    with pytest.raises(SettingsError, match=f"LOG_LEVEL: {levels}"):
        ConnectionSettings.from_env({"LOG_LEVEL": "loud"})
