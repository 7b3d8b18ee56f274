"""What the stack takes from the environment: where caches and data usually live."""

from __future__ import annotations

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
