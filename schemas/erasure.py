"""What stays known of erased visitors: keyed hashes of their ids, and until when they count.

In: a project's salt and ids. Out: hashes, and whether an event is one of an erased visitor. The
salt is random and the project's own, so that hashes of one project say nothing about another. Pure.
Source: ADR 24.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SALT_BYTES = 32


def user_hash(salt: bytes, user_id: str) -> str:
    """The hash that a user id is known by, 64 hex digits."""
    return _hash(salt, "user", user_id)


def anonymous_hash(salt: bytes, anonymous_id: str) -> str:
    """The hash that a visitor's random id is known by."""
    return _hash(salt, "anonymous", anonymous_id)


def session_hash(salt: bytes, session_id: str) -> str:
    """The hash that a session is known by."""
    return _hash(salt, "session", session_id)


def subject_hash(salt: bytes, subject: str) -> str:
    """The hash that requests about an id are known by, whatever kind of id it is."""
    return _hash(salt, "subject", subject)


def _hash(salt: bytes, kind: str, text: str) -> str:
    return hmac.digest(salt, f"{kind}\0{text}".encode(), hashlib.sha256).hex()


@dataclass(frozen=True, slots=True)
class ErasedOfProject:
    """Erased visitors of one project: until when by hash, and hashes of their sessions."""

    salt: bytes
    before_ms: Mapping[str, int]
    sessions: frozenset[str]

    def has_session(self, session_id: str) -> bool:
        """Whether the session was erased."""
        return session_hash(self.salt, session_id) in self.sessions

    def until_ms(self, user_id: str, anonymous_id: str) -> int | None:
        """Until when events of this visitor are left out; None if nobody erased them.

        Whoever says who they are is that user alone: a device may have several.
        """
        if user_id:
            return self.before_ms.get(user_hash(self.salt, user_id))
        return self.before_ms.get(anonymous_hash(self.salt, anonymous_id)) if anonymous_id else None


@dataclass(frozen=True, slots=True)
class Erased:
    """All that must not be written: projects that are gone, and visitors by project."""

    projects: frozenset[str] = frozenset()
    visitors: Mapping[str, ErasedOfProject] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was ever erased."""
        return bool(self.projects or self.visitors)


NOBODY = Erased()


@dataclass(frozen=True, slots=True)
class LateRows:
    """Ids of rows of one project that were stored although an erasure had passed."""

    project_id: str
    events: Sequence[str] = ()
    sessions: Sequence[str] = ()
