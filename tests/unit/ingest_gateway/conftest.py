"""One gateway on in-memory twins per test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway_world import World, gateway_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A running gateway with default limits."""
    async with gateway_world() as running:
        yield running
