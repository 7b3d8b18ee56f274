"""Which loopback ports the servers take: the usual ones where they are free."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"

# Below what Linux and macOS hand out to outgoing connections (32768 and 49152 on), so that between
# choosing and listening, and while a stack is down, no client of this machine takes the port.
_FREE_FIRST = 20_000
_FREE_COUNT = 12_000


def is_free(port: int) -> bool:
    """Can this machine's loopback port be listened on right now?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Does anything accept connections on this loopback port?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose_port(preferred: int, taken: Collection[int] = ()) -> int:
    """The preferred port if it is free and not in `taken`, else any free one; 0 prefers none."""
    port = preferred
    while port == 0 or port in taken or not is_free(port):
        port = _FREE_FIRST + secrets.randbelow(_FREE_COUNT)
    return port
