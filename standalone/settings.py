"""What the stack takes from the environment: where caches live, and the mapping itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The directory of what can be fetched again: `GOSIGHT_CACHE_DIR`, else under XDG's."""
    own = environ.get("GOSIGHT_CACHE_DIR", "")
    if own:
        return Path(own).expanduser()
    shared = environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if shared else Path(environ.get("HOME", "") or "~").expanduser() / ".cache"
    return base / "gosight"


def process_environ() -> dict[str, str]:
    """A copy of this process's environment, which the servers inherit."""
    return dict(os.environ)
