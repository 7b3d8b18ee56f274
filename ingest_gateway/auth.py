"""Who sends: a presented key to the project that it writes to.

In: the key from the header, the body or the query. Out: the `ProjectKey`, or a refusal. Unknown
and malformed keys look the same to the caller; an outage of the key store is never told as
"invalid key". Source: events.md, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from connectors.errors import RetryableError
from connectors.keys import KeyStore, hash_key
from ingest_gateway.errors import ErrorKind, RefusedError
from schemas.records import ProjectKey

# Anything else was never given out, so that nobody needs to be asked.
_KEY_SHAPE = re.compile(r"gs_(?:live|api|test)_[0-9A-Za-z]{32}")
RETRY_AFTER_S = 2.0


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
        if _KEY_SHAPE.fullmatch(presented) is None:
            raise RefusedError(ErrorKind.INVALID_KEY)
        key_hash = hash_key(presented)
        key = self._keys.find_cached(key_hash)
        if key is None:
            try:
                key = await self._keys.find(key_hash)
            except RetryableError:
                raise RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_S) from None
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
        key = await self.find(presented)
        if "write" not in key.permissions:
            raise RefusedError(ErrorKind.FORBIDDEN)
        return key
