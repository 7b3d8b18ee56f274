"""The behaviour flow killed, frozen and scaled under load: sessions and insights as in one run."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka_admin import ensure_topics
from connectors.kafka_state import KafkaStateLog
from schemas.topics import BEHAVIOUR_STATE, EVENTS_RAW
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.integration.flows.behaviour_world import (
    DAY_MS,
    HOUR_MS,
    BehaviourProcess,
    Load,
    Results,
    Visits,
)

SESSIONS = 240
ROUNDS = 8


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """Servers of their own: clocks of partitions are in the topics, and only go forward."""
    folder = Path(tempfile.mkdtemp(prefix="gosight-test-"))
    stack = Stack(folder, ports={})
    try:
        found = stack.start()
        migrate_up(found["DATABASE_URL"], found["CLICKHOUSE_URL"])
        ensure_topics(found["KAFKA_BROKERS"])
        yield found
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


class World:
    """Visits on their way, and the processes that take them."""

    _made = 0

    def __init__(self, urls: dict[str, str], folder: Path) -> None:
        World._made += 1
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        self.chance = random.Random(seed)
        first_ms = int(time.time() * 1000) + 5 * DAY_MS + World._made * 6 * HOUR_MS
        self.visits = Visits(str(uuid.uuid4()), SESSIONS, first_ms, self.chance)
        self.brokers = urls["KAFKA_BROKERS"]
        self.load = Load(self.brokers, self.visits.records, ROUNDS)
        self.results = Results(self.brokers, self.visits.project_id)
        self.started: list[BehaviourProcess] = []
        self._urls, self._folder = urls, folder

    def start(self) -> BehaviourProcess:
        """One more process."""
        path = self._folder / f"{len(self.started)}.log"
        self.started.append(BehaviourProcess(self._urls, path))
        return self.started[-1]

    def finish(self) -> None:
        """All visits are sent and over; everything is as the reference says."""
        self.load.go_on.release(ROUNDS)
        self.load.join(60)
        self.visits.close_all(self.brokers)
        self.results.read_until_closed(self.visits.session_ids)
        self.results.check(self.visits)

    def kept(self) -> set[str]:
        """Keys of the states of this world that the topic still holds."""
        log = KafkaStateLog(self.brokers, "audit", EVENTS_RAW.name, "", BEHAVIOUR_STATE.name)
        kept = log._read(range(EVENTS_RAW.partitions))
        log.close()
        found = {key for part in kept.values() for key in part.states}
        return {key for key in found if key.startswith(self.visits.project_id)}


@pytest.fixture
def world(urls: dict[str, str], tmp_path: Path) -> Iterator[World]:
    """A new load; all processes are gone afterwards."""
    made = World(urls, tmp_path)
    made.load.start()
    yield made
    for process in made.started:
        process.kill()
    made.results.close()


def test_three_kills_under_load_change_nothing(world: World) -> None:
    """Rows and insights are those of one run over the same events, and nothing is doubled."""
    flow = world.start()
    for _ in range(3):
        rows = world.results.read()
        world.load.go_on.release(2)
        world.results.read_until_rows(rows + 30)
        time.sleep(world.chance.random() * 0.5)
        flow.kill_and_start_again()
    world.finish()
    assert flow.stop() == 0
    assert len(world.kept()) == EVENTS_RAW.partitions  # Those that closed the others.


@pytest.mark.parametrize("is_killed", [False, True], ids=["sigterm", "sigkill"])
def test_one_to_four_to_two_processes(world: World, is_killed: bool) -> None:
    """Live sessions follow their partitions."""
    running = [world.start()]
    for wanted in (4, 2):
        rows = world.results.read()
        world.load.go_on.release(3)
        world.results.read_until_rows(rows + 30)
        while len(running) < wanted:
            running.append(world.start())
        deadline = time.monotonic() + 60
        while not all("states_restored" in one.log() for one in running):
            assert time.monotonic() < deadline
            world.results.read()
        while len(running) > wanted:
            one = running.pop(world.chance.randrange(len(running)))
            if is_killed:
                one.kill()
            else:
                assert one.stop() == 0
    world.finish()
    for one in running:
        assert one.stop() == 0


def test_a_frozen_process_writes_nothing_when_it_wakes(world: World) -> None:
    """Another has its partitions by then; what it had begun is shut out, and it goes on."""
    frozen = world.start()
    world.load.go_on.release(3)
    world.results.read_until_rows(30)
    frozen.process.send_signal(signal.SIGSTOP)
    other = world.start()
    rows = world.results.read()
    world.load.go_on.release(3)
    try:
        world.results.read_until_rows(rows + 100)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    world.finish()
    assert other.stop() == 0
    assert frozen.stop() in (0, 1)
