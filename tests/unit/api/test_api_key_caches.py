"""The shared cache is told of changed keys, at last also when it was away."""

from __future__ import annotations

import asyncio

import pytest

from api.accounts import key_caches
from api.accounts.key_caches import KeyCaches
from connectors.errors import RetryableError
from connectors.keys import MISSING
from connectors.memory import MemoryKeyCache


async def test_a_revoked_key_is_known_to_be_gone() -> None:
    """Everybody who asks the cache is told that there is no such key."""
    cache = MemoryKeyCache()
    caches = KeyCaches(cache)
    await caches.revoke(["a" * 64, "b" * 64])
    assert await cache.read("a" * 64) is MISSING
    assert await cache.read("b" * 64) is MISSING
    await caches.close()


async def test_a_cache_that_was_away_is_told_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer does not wait for it."""
    monkeypatch.setattr(key_caches, "RETRY_PAUSE_S", 0.001)
    cache = MemoryKeyCache()
    cache.is_away = True
    caches = KeyCaches(cache)
    await caches.revoke(["a" * 64])
    with pytest.raises(RetryableError):
        await cache.read("a" * 64)
    cache.is_away = False
    while await cache.read("a" * 64) is None:
        await asyncio.sleep(0)
    await caches.close()


async def test_a_key_written_back_by_a_late_reader_is_forgotten_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody loaded the key just before its project changed."""
    monkeypatch.setattr(key_caches, "RELOAD_S", 0.001)
    cache = MemoryKeyCache()
    caches = KeyCaches(cache)
    await caches.forget(["a" * 64])
    await cache.write("a" * 64, None)
    while await cache.read("a" * 64) is not None:
        await asyncio.sleep(0)
    await caches.close()


async def test_closing_gives_up_what_waits() -> None:
    """Nothing is left running."""
    cache = MemoryKeyCache()
    cache.is_away = True
    caches = KeyCaches(cache)
    await caches.revoke(["a" * 64])
    await caches.forget(["b" * 64])
    await caches.close()
    assert not [task for task in asyncio.all_tasks() if "KeyCaches" in repr(task)]
