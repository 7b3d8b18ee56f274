"""One process a directory: a file lock that the kernel lets go when its holders end."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_POLL_S = 0.05


class LockedError(Exception):
    """Another process has the directory; the text says which one."""


class DirectoryLock:
    """An exclusive lock file holding its owner's process id.

    Processes that inherit `descriptor` keep the lock until they end, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file that carries the lock."""
        assert self._descriptor is not None, "the lock is not held"
        return self._descriptor

    def acquire(self, wait_dead_owner_s: float = 0.0) -> None:
        """Take the lock.

        Where the owner that the file names is gone, what it started may still be on its way out:
        that is waited for, up to `wait_dead_owner_s`.

        Raises:
            LockedError: another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_dead_owner_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                if time.monotonic() > deadline or _is_running(owner):
                    os.close(descriptor)
                    raise LockedError(
                        f"{self._path.parent} is in use by process {owner or 'unknown'}; "
                        "stop that one first, or choose another data directory"
                    ) from None
                time.sleep(_POLL_S)
                continue
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._descriptor = descriptor
            return

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_running(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
