"""Groups of sessions that a repair compares together."""

from __future__ import annotations

import pytest

from cli import repairing
from flows.core.given_events import given_events
from flows.core.session_event import SessionBatch
from flows.history import StoredSession


def session(name: str, event_count: int) -> StoredSession:
    """A session of so many events."""
    events = given_events([f"{second}s click /a" for second in range(event_count)])
    return StoredSession((SessionBatch("p", name, 0, events),), 0, False)


def test_groups_are_bounded_by_sessions_and_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds one group; none is empty, and none is lost."""
    monkeypatch.setattr(repairing, "GROUP_SESSIONS", 3)
    monkeypatch.setattr(repairing, "GROUP_EVENTS", 10)
    sessions = [session(str(n), count) for n, count in enumerate((1, 1, 1, 4, 12, 2, 7, 1, 1))]
    groups = list(repairing._groups(iter(sessions)))
    assert [len(group) for group in groups] == [3, 2, 3, 1]
    assert [one for group in groups for one in group] == sessions
    assert list(repairing._groups(iter(()))) == []
