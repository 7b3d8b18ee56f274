"""One installation for all fault tests: it is started once, and anew after a fault that failed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.faults.harness import SessionAudit
from tests.faults.site import Site, running_site


class Sites:
    """One set of servers for all faults that go well, a new one after a fault that does not."""

    def __init__(self) -> None:
        # By kind of fault; none of faults whose servers are gone.
        self.later: dict[str, list[SessionAudit]] = {}
        self._stack = ExitStack()
        self._site: Site | None = None

    def get(self) -> Site:
        """The servers, running."""
        if self._site is None:
            self._site = self._stack.enter_context(running_site())
        return self._site

    def give_up(self) -> None:
        """End the servers; the next `get` starts others."""
        for audits in self.later.values():
            audits.clear()
        self._site = None
        self._stack.close()


_SITES = Sites()


@pytest.fixture
def sites() -> Sites:
    """Servers that may be broken."""
    return _SITES


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End them with the last test here: the tests elsewhere have servers of their own."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        _SITES.give_up()
