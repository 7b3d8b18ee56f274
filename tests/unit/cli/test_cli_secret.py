"""The secret that signs logins on one machine."""

from __future__ import annotations

from pathlib import Path

from api.settings import SECRET_CHARS_MIN
from cli.machine import ensure_secret


def test_the_secret_is_drawn_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """It is the same over restarts, long enough, and nobody else may read it."""
    secret = ensure_secret(tmp_path)
    assert len(secret) >= SECRET_CHARS_MIN
    assert ensure_secret(tmp_path) == secret
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_secret_is_drawn_anew(tmp_path: Path) -> None:
    """An empty or short file is no secret."""
    secret = ensure_secret(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text("short\n")
    assert ensure_secret(tmp_path) not in {"short", secret}
