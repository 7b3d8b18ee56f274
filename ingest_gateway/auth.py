"""Who sends: a presented key to the project that it writes to.

In: the key from the header, the body or the query. Out: the `ProjectKey`, or a refusal. Unknown
and malformed keys look the same to the caller; an outage of the key store is never told as
"invalid key". Source: events.md, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from connectors.errors import RetryableError
from connectors.keys import KeyStore, hash_key
from ingest_gateway.errors import ErrorKind, RefusedError
from schemas.records import ProjectKey

# Anything else was never given out, so that nobody needs to be asked.
_KEY_SHAPE = re.compile(r"gs_(?:live|api|test)_[0-9A-Za-z]{32}")
RETRY_AFTER_S = 2.0
HASHES_MAX = 1_024


class Authenticator:
    """Finds and checks keys. `now_ms` is the wall clock, for expiry."""

    def __init__(self, keys: KeyStore, now_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._now_ms = now_ms

    async def find(self, presented: str) -> ProjectKey:
        """The valid key with this text, whatever it permits.

        Raises:
            RefusedError: INVALID_KEY, or UNAVAILABLE if the key store cannot be asked.
        """
        key_hash = _hash_of(presented)
        if key_hash is None:
            raise RefusedError(ErrorKind.INVALID_KEY)
        key = self._keys.find_cached(key_hash)
        if key is None:
            try:
                key = await self._keys.find(key_hash)
            except RetryableError:
                raise RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_S) from None
        return self._check(key)

    def _check(self, key: ProjectKey | None) -> ProjectKey:
        if key is None or not key.is_active:
            raise RefusedError(ErrorKind.INVALID_KEY)
        if key.expires_at_ms is not None and key.expires_at_ms <= self._now_ms():
            raise RefusedError(ErrorKind.INVALID_KEY)
        return key

    async def find_writer(self, presented: str) -> ProjectKey:
        """The valid key with this text, if it may write.

        Raises:
            RefusedError: as `find`, and FORBIDDEN for a key without the permission to write.
        """
        return _check_writer(await self.find(presented))

    def find_writer_now(self, presented: str) -> ProjectKey | None:
        """As `find_writer`, without waiting; None if the key has to be looked up first.

        Raises:
            RefusedError: INVALID_KEY or FORBIDDEN.
        """
        key_hash = _hash_of(presented)
        key = None if key_hash is None else self._keys.find_cached(key_hash)
        return None if key is None else _check_writer(self._check(key))


@lru_cache(maxsize=HASHES_MAX)
def _hash_of(presented: str) -> str | None:
    """The hash of what may be a key; None for anything else."""
    return hash_key(presented) if _KEY_SHAPE.fullmatch(presented) is not None else None


def _check_writer(key: ProjectKey) -> ProjectKey:
    if "write" not in key.permissions:
        raise RefusedError(ErrorKind.FORBIDDEN)
    return key
