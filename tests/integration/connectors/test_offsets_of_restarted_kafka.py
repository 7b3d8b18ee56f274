"""Asking where partitions end, through the death of the only broker."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from connectors.kafka_admin import ensure_topics
from connectors.kafka_offsets import LATEST, KafkaOffsets
from schemas.topics import EVENTS_RAW
from standalone.stack import Stack

pytestmark = pytest.mark.integration

PARTS = [(EVENTS_RAW.name, number) for number in range(EVENTS_RAW.partitions)]
BACK_S = 15.0


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Servers of their own, since one is killed."""
    folder = Path(tempfile.mkdtemp(prefix="gosight-test-"))
    made = Stack(folder, ports={})
    try:
        ensure_topics(made.start()["KAFKA_BROKERS"])
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_answers_come_again_after_a_restart(stack: Stack) -> None:
    """Who asked while the broker was away gets an answer soon after it is back, not minutes later.

    The leaders have a new epoch then, of which the client that asked before does not hear.
    """
    offsets = KafkaOffsets(stack.urls["KAFKA_BROKERS"])
    _answer(offsets)
    for _ in range(2):
        os.kill(stack.process_ids["kafka"], signal.SIGKILL)
        while "kafka" in stack.process_ids:
            time.sleep(0.05)
        with pytest.raises(KafkaException):
            offsets.ask(PARTS, LATEST, 2.0)
        stack.restart("kafka")
        _answer(offsets)


def _answer(offsets: KafkaOffsets) -> None:
    deadline = time.monotonic() + BACK_S
    while True:
        try:
            assert offsets.ask(PARTS, LATEST, 2.0) == dict.fromkeys(PARTS, 0)
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return
