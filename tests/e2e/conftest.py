"""One whole machine for all end-to-end tests: servers, gateway, storage flow and API."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from cli.machine import Addresses, OneMachine
from cli.project_store import connect as connect_postgres
from cli.project_store import create_key, create_project
from connectors.clickhouse import connect
from schemas.records import CATEGORY_DEFAULTS


@dataclass(frozen=True)
class OwnProject:
    """A fresh project with a key of each kind; every category of events is on."""

    project_id: str
    write_key: str
    read_key: str


@dataclass(frozen=True)
class RunningMachine:
    """Where everything is."""

    addresses: Addresses
    client: Client

    def project(self, name: str, **settings: object) -> OwnProject:
        """Create a project; `settings` are sections of its settings document."""
        document = {"events": dict.fromkeys(CATEGORY_DEFAULTS, True), **settings}
        with connect_postgres(self.addresses.database) as connection:
            project = create_project(connection, name, settings=document)
            write_key, _row = create_key(
                connection, project.id, name="w", permission="write", rate_limit=10_000
            )
            read_key, _row = create_key(connection, project.id, name="r", permission="read")
        return OwnProject(str(project.id), write_key, read_key)


@contextmanager
def running_machine() -> Iterator[RunningMachine]:
    """Everything, running, behind one proxy; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gosight-e2e-"))
    one = OneMachine(folder, any_ports=True, extra_environ={"TRUSTED_PROXY_COUNT": "1"})
    addresses = one.start()
    runner = threading.Thread(target=one.run, name="machine")
    runner.start()
    client = connect(addresses.clickhouse)
    try:
        yield RunningMachine(addresses, client)
    finally:
        client.close()
        one.request_stop()
        runner.join(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


_STARTED = ExitStack()
_MACHINES: list[RunningMachine] = []


@pytest.fixture(scope="module")
def machine() -> RunningMachine:
    """The one machine of all tests here."""
    if not _MACHINES:
        _MACHINES.append(_STARTED.enter_context(running_machine()))
    return _MACHINES[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop it with the last test here: the tests elsewhere need no machine that idles beside."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        _MACHINES.clear()
        _STARTED.close()
