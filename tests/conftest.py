"""What all tests share: the real servers, started once for the whole run and only if asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from connectors.kafka_admin import ensure_topics
from tests.stack import RunningStack
from tests.stack import running_stack as start_stack

# How long an example takes says more about the machine than about the code.
settings.register_profile("without deadline", parent=settings(), deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def running_stack() -> Iterator[RunningStack]:
    """Kafka with the registry's topics, ClickHouse, PostgreSQL and Valkey, ready."""
    with start_stack() as stack:
        ensure_topics(stack.kafka_brokers)
        yield stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below integration/ and e2e/ carries its marker, whether it says so or not."""
    for item in items:
        for name in ("integration", "e2e"):
            if f"tests/{name}/" in item.path.as_posix():
                item.add_marker(name)
