"""How messages reach people, as the environment says."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from connectors.settings import DeliverySettings, SettingsError


def test_nothing_set_allows_nothing() -> None:
    """Public targets alone, Telegram without a token, no links."""
    settings = DeliverySettings.from_env({})
    assert settings.allowed_networks() == ()
    assert settings.telegram_bot_token == ""
    assert settings.dashboard_url == ""


def test_networks_are_a_list() -> None:
    """With commas, of either family."""
    settings = DeliverySettings.from_env({"WEBHOOK_ALLOWED_NETWORKS": "10.2.0.0/16, fd00::/8"})
    assert settings.allowed_networks() == (ip_network("10.2.0.0/16"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_ALLOWED_NETWORKS", "everywhere"),
        ("WEBHOOK_ALLOWED_NETWORKS", "10.2.0.1/16"),
        ("DASHBOARD_URL", "gosight.example.com"),
        ("DASHBOARD_URL", "javascript:alert(1)"),
    ],
)
def test_bad_values_are_told_at_the_start(name: str, value: str) -> None:
    """Rather than with the first message."""
    with pytest.raises(SettingsError, match=name):
        DeliverySettings.from_env({name: value})
