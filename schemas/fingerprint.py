"""One name for the same error wherever and whenever it happens.

In: kind, message and stack of an error. Out: 16 hex digits. Numbers, ids and addresses that differ
from time to time are taken out first; of the stack only the place where it happened counts, without
the line and column, which move with every release of the site.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"\b(?:0x)?[0-9a-fA-F]{8,}\b")
_NUMBER = re.compile(r"\d+")
_QUERY = re.compile(r"[?#][^\s)'\"]*")
_FRAME = re.compile(r"(?:\bat\b|@|https?://)")
_POSITION = re.compile(r"(?::\d+){1,2}\)?$")


# The cache keeps whole stacks: 1,024 of the longest take 10 MB.
@lru_cache(maxsize=1_024)
def error_fingerprint(kind: str, message: str, stack: str) -> str:
    """The fingerprint of an error; `stack` may be empty."""
    text = f"{kind}\n{_generalise(message[:1024])}\n{_top_frame(stack[:8192])}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _generalise(text: str) -> str:
    text = _QUERY.sub("?", _UUID.sub("<id>", text))
    return _NUMBER.sub("<n>", _HEX.sub("<id>", text)).strip()


def _top_frame(stack: str) -> str:
    for line in stack.splitlines():
        frame = line.strip()
        if _FRAME.search(frame):
            return _generalise(_POSITION.sub("", frame))
    return ""
