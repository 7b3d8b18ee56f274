"""Restart budget, directory lock, private files and cache directory."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from standalone.files import write_private
from standalone.kafka_jars import COORDINATES, KAFKA_VERSION, class_path
from standalone.locks import DirectoryLock, LockedError
from standalone.settings import cache_dir
from standalone.supervisor import RestartBudget, RestartPolicy

POLICY = RestartPolicy(restarts_max=3, window_s=60.0, delay_first_s=1.0, delay_max_s=3.0)


def test_pauses_double_up_to_the_bound_and_then_the_budget_is_spent() -> None:
    """1, 2, 3 (not 4) seconds; the fourth death in the window is one too many."""
    budget = RestartBudget(POLICY)
    assert [budget.pause_after_death(float(now)) for now in range(4)] == [1.0, 2.0, 3.0, None]


def test_deaths_outside_the_window_are_forgotten() -> None:
    """A process that dies once an hour is restarted for ever, soon each time."""
    budget = RestartBudget(POLICY)
    assert [budget.pause_after_death(hour * 3_600.0) for hour in range(10)] == [1.0] * 10


def test_no_restarts_allowed() -> None:
    """A budget of zero gives up at the first death."""
    assert RestartBudget(RestartPolicy(restarts_max=0)).pause_after_death(0.0) is None


def test_lock_is_exclusive_and_names_its_owner(tmp_path: Path) -> None:
    """The second one is told the process id of the first; after release it gets the lock."""
    first, second = (DirectoryLock(tmp_path / "lock") for _ in range(2))
    first.acquire()
    owner = (tmp_path / "lock").read_text().strip()
    with pytest.raises(LockedError, match=f"in use by process {owner}"):
        second.acquire(wait_dead_owner_s=60.0)
    first.release()
    second.acquire()
    second.release()


def test_private_file_is_replaced_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Whatever mode an earlier file had."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_later_starts_take_the_class_path_from_the_cache(tmp_path: Path) -> None:
    """With the list and the jars there, nothing is fetched, and the order is kept."""
    jars = [tmp_path / "maven" / name for name in ("b.jar", "a.jar")]
    (tmp_path / "maven").mkdir()
    for jar in jars:
        jar.write_bytes(b"")
    listing = {"coordinates": COORDINATES, "jars": [str(j.relative_to(tmp_path)) for j in jars]}
    (tmp_path / f"kafka-{KAFKA_VERSION}.json").write_text(json.dumps(listing))
    fetched: list[str] = []
    assert class_path(tmp_path, fetched.append) == jars
    assert fetched == []


def test_cache_directory_follows_the_environment() -> None:
    """GOSIGHT_CACHE_DIR, then XDG_CACHE_HOME, then HOME."""
    assert cache_dir({"GOSIGHT_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_dir({"XDG_CACHE_HOME": "/b", "HOME": "/c"}) == Path("/b/gosight")
    assert cache_dir({"HOME": "/c"}) == Path("/c/.cache/gosight")
