"""Late events of erased visitors and deleted projects: dropped, counted, never stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import psycopg
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from api.erasures.worker import Worker
from api.ledger import LedgerEntry, build_ledger
from connectors.clickhouse import connect
from connectors.event_store import ClickHouseEventStore
from connectors.event_store import LedgerEntry as LedgerRow
from connectors.kafka_log import Span
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySpanReader,
)
from connectors.memory_store import MemoryLiveCounters
from connectors.write_gate import PostgresWriteGate
from flows.block_writer import BlockWriter
from flows.core.blocks import Block
from flows.core.event_blocks import BlockBuilder
from flows.part_starts import PartStarts
from flows.storage import chunk_maker
from schemas.erasure import Erased
from schemas.lookups import ParsedAgent, Place
from schemas.topics import EVENTS_RAW
from tests.factories import make_event, make_raw, raw_record
from tests.stack import RunningStack

ROOM = UUID("6f0f7f5e-5d1c-4b57-9a3e-7d8a4d1c2f98")
TO_CHUNKS = chunk_maker(
    BlockBuilder(lambda text: ParsedAgent(text=text), lambda _address: Place(), records_min=1)
)
# One for all tests: the stores are theirs together, and a block of an offset is stored once.
LOG = MemoryLog()


class Gate(PostgresWriteGate):
    """The real one, in a process that may stand still when it has entered."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url, "late")
        self.stand_still: Callable[[], None] = lambda: None

    def enter(self) -> Erased:
        """See `WriteGate.enter`."""
        erased = super().enter()
        stand_still, self.stand_still = self.stand_still, lambda: None
        stand_still()
        return erased


class KilledError(BaseException):
    """The process is gone."""


class Events(ClickHouseEventStore):
    """The real ones, in a process that may stand still just before it inserts, and die after it."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.stand_still: Callable[[], None] = lambda: None
        self.dies_after = ""

    def insert_events(self, rows: pa.Table, token: str) -> None:
        """See `EventStore.insert_events`."""
        stand_still, self.stand_still = self.stand_still, lambda: None
        stand_still()
        super().insert_events(rows, token)
        self.end_of("events")

    def insert_ledger(self, entries: Sequence[LedgerRow], token: str) -> None:
        """See `EventStore.insert_ledger`."""
        super().insert_ledger(entries, token)
        self.end_of("ledger")

    def end_of(self, step: str) -> None:
        """Die if this is the step."""
        if step == self.dies_after:
            self.dies_after = ""
            raise KilledError


class Storage:
    """The writer of the storage flow on the real ClickHouse and gate."""

    def __init__(self, databases: RunningStack) -> None:
        self.databases = databases
        self.client: Client = connect(databases.clickhouse_url)
        self.gate = Gate(databases.database_url)
        self.events = Events(self.client)
        self.positions = MemoryPositionStore()
        self.log = LOG
        self.now_ms = int(datetime.now(UTC).timestamp() * 1000)

    def write(
        self, project_id: str, session: str, user: str, browser: str, after_ms: int = -3_600_000
    ) -> None:
        """One event, as a block of its own; it happened so long after now."""
        session_id = str(uuid5(ROOM, session))
        event = make_event(str(uuid4()), session_id, at_ms=self.now_ms + after_ms)
        event.user_id, event.anonymous_id = user, browser
        raw = make_raw(
            [event],
            session_id,
            project_id=project_id,
            received_at_ms=self.now_ms + max(after_ms, 0) + 1_000,
        )
        topic = EVENTS_RAW.name
        partition, offset = self.log.append(raw_record(raw))
        (polled,) = MemorySpanReader(self.log).read([Span(topic, partition, offset, offset)])
        claims = MemoryClaims([(topic, partition)])
        epoch = claims.held()[topic, partition]
        self.writer(claims).write(Block((replace(polled, epoch=epoch),)))

    def writer(self, claims: MemoryClaims) -> BlockWriter:
        """That of a new process."""
        return BlockWriter(
            self.events,
            self.positions,
            MemoryRecordProducer(self.log),
            MemoryLiveCounters(),
            claims,
            TO_CHUNKS,
            gate=self.gate,
        )

    def take_over(self) -> None:
        """What the next holder of all partitions does first."""
        parts = [part for part in self.log.partitions if part[0] == EVENTS_RAW.name]
        writer = self.writer(MemoryClaims(parts))
        PartStarts(self.positions, self.events, MemorySpanReader(self.log), writer).begin_parts(
            parts
        )

    def work(self) -> None:
        """What a worker does next."""
        assert self.is_busy()

    def is_busy(self) -> bool:
        """Whether there is an order left."""
        found = self.databases
        return Worker(found.database_url, found.clickhouse_url, found.redis_url).run_once()

    def be_passed(self) -> None:
        """Stand still for so long that an erasure passes."""
        self.end_session()
        self.work()

    def order(self, project_id: str, user: str) -> None:
        """Somebody asks for the erasure of a user."""
        self.run(
            "INSERT INTO visitor_requests (project_id, kind, subject, subject_hash) "
            "VALUES (%s, 'erasure', %s, %s)",
            project_id,
            user,
            "0" * 64,
        )

    def end_session(self) -> None:
        """The server ends the gate's session: it was quiet for a minute."""
        self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'gosight gate late'"
        )

    def run(self, query: str, *values: object) -> None:
        """Change rows of PostgreSQL."""
        with psycopg.connect(self.databases.database_url) as connection:
            connection.execute(query.encode(), values)

    def stored(self, project_id: str) -> Counter[tuple[str, str]]:
        """Events that are there, by user and browser."""
        rows = self.client.query(
            "SELECT user_id, anonymous_id FROM events FINAL WHERE project_id = {p:String}",
            parameters={"p": project_id},
        ).result_rows
        return Counter((user, browser) for user, browser in rows)

    def ledger(self, project_id: str) -> LedgerEntry:
        """All of it, with the rows counted again."""
        of_project = {"p": project_id}
        booked = self.client.query(
            "SELECT 0, outcome, reason, sum(events) FROM ledger_minutes "
            "WHERE project_id = {p:String} GROUP BY outcome, reason",
            parameters=of_project,
        ).result_rows
        names = ("minute_ms", "outcome", "reason", "events")
        _, total = build_ledger(
            [dict(zip(names, row, strict=True)) for row in booked],
            [{"minute_ms": 0, "stored": sum(self.stored(project_id).values())}],
        )
        return total


@pytest.fixture
def storage(databases: RunningStack) -> Iterator[Storage]:
    """A writer on empty stores."""
    made = Storage(databases)
    yield made
    made.gate.close()
    made.client.close()


def test_late_events_of_an_erased_visitor_are_dropped_and_counted(storage: Storage) -> None:
    """What happened before is left out, and the rest of the session; a new visit is stored."""
    project_id = str(uuid4())
    storage.write(project_id, "first", "ann", "phone")
    storage.write(project_id, "first", "", "phone")
    storage.write(project_id, "other", "bob", "desk")
    storage.order(project_id, "ann")
    storage.work()
    left = Counter({("bob", "desk"): 1})
    assert storage.stored(project_id) == left
    for session, user, browser, after_ms in (
        ("first", "ann", "phone", -60_000),  # Late, of a session that was erased.
        ("second", "ann", "tablet", -60_000),  # Late, of one that nobody had seen.
        ("third", "", "phone", -60_000),  # Late, of her browser.
        ("first", "", "phone", 60_000),  # What goes on of an erased session.
        ("first", "ann", "phone", 60_000),
    ):
        storage.write(project_id, session, user, browser, after_ms)
        assert storage.stored(project_id) == left, (session, user)
    storage.write(project_id, "fourth", "ann", "phone", 60_000)  # She comes again.
    storage.write(project_id, "other", "bob", "desk", -1_000)
    storage.write(project_id, "first", "bob", "phone", 60_000)  # He takes her phone.
    assert storage.stored(project_id) == Counter(
        {("bob", "desk"): 2, ("ann", "phone"): 1, ("bob", "phone"): 1}
    )
    total = storage.ledger(project_id)
    assert (total.received, total.stored, total.erased) == (11, 6, 2)
    assert total.dropped == {"suppressed": 5}
    assert total.is_sound


def test_events_of_a_deleted_project_are_dropped(storage: Storage) -> None:
    """Whatever gateways still let in; another project's are stored."""
    project_id, other = str(uuid4()), str(uuid4())
    storage.write(project_id, "one", "ann", "phone")
    storage.write(other, "one", "ann", "phone")
    storage.run("INSERT INTO project_erasures (project_id, name) VALUES (%s, 'gone')", project_id)
    storage.work()
    assert not storage.stored(project_id)
    storage.write(project_id, "two", "ann", "phone", 60_000)
    storage.write(other, "two", "ann", "phone", 60_000)
    assert not storage.stored(project_id)
    assert sum(storage.stored(other).values()) == 2
    total = storage.ledger(project_id)
    assert (total.received, total.dropped) == (1, {"suppressed": 1})
    assert total.is_sound


def test_a_writer_that_was_quiet_for_a_minute_reads_the_list(storage: Storage) -> None:
    """The server has ended its session meanwhile: that does not mean that it is away."""
    project_id = str(uuid4())
    storage.write(project_id, "first", "ann", "phone")
    storage.end_session()
    storage.order(project_id, "ann")
    storage.work()
    storage.write(project_id, "second", "ann", "phone", -60_000)
    assert not storage.stored(project_id)
    assert storage.ledger(project_id).dropped == {"suppressed": 1}


def test_a_writer_that_stood_still_inside_of_the_gate_begins_anew(storage: Storage) -> None:
    """An erasure passed meanwhile: what it made before of the erased visitor is not inserted."""
    project_id = str(uuid4())
    storage.write(project_id, "first", "ann", "phone")
    storage.order(project_id, "ann")

    storage.gate.stand_still = storage.be_passed
    storage.write(project_id, "second", "ann", "phone", -60_000)
    assert not storage.stored(project_id)
    total = storage.ledger(project_id)
    assert (total.received, total.erased, total.dropped) == (2, 1, {"suppressed": 1})
    assert total.is_sound


def test_what_a_writer_inserts_after_it_stood_still_is_erased(storage: Storage) -> None:
    """It finds out when it leaves the gate, and has those rows erased; newer ones stay."""
    project_id = str(uuid4())
    storage.write(project_id, "first", "ann", "phone")
    storage.write(project_id, "other", "bob", "desk")
    storage.order(project_id, "ann")

    storage.events.stand_still = storage.be_passed
    storage.write(project_id, "second", "ann", "phone", -60_000)
    storage.write(project_id, "third", "ann", "phone", 60_000)
    assert storage.stored(project_id) == Counter({("ann", "phone"): 2, ("bob", "desk"): 1})
    storage.work()
    assert storage.stored(project_id) == Counter({("ann", "phone"): 1, ("bob", "desk"): 1})
    total = storage.ledger(project_id)
    assert (total.received, total.stored, total.erased) == (4, 4, 2)
    assert total.is_sound
    hours = storage.client.query(
        "SELECT sum(event_count) FROM events_hourly WHERE project_id = {p:String}",
        parameters={"p": project_id},
    ).result_rows
    assert hours == [(2,)]
    with psycopg.connect(storage.databases.database_url) as connection:
        rows = connection.execute(
            "SELECT receipt, work, subject FROM visitor_requests "
            "WHERE project_id = %s ORDER BY sequence",
            (project_id,),
        ).fetchall()
    assert [receipt["rows"]["events"] for receipt, _, _ in rows] == [1, 1]
    assert "visitor" not in rows[1][0]
    assert all((work, subject) == ({}, None) for _, work, subject in rows)


@pytest.mark.parametrize("step", ["events", "ledger"])
def test_what_a_writer_inserts_and_dies_before_it_can_know_is_erased(
    storage: Storage, step: str
) -> None:
    """The next holder of its partitions finds it, whether the block was complete or not."""
    project_id = str(uuid4())
    storage.write(project_id, "first", "ann", "phone")
    storage.order(project_id, "ann")

    storage.events.stand_still = storage.be_passed
    storage.events.dies_after = step
    with pytest.raises(KilledError):
        storage.write(project_id, "second", "ann", "phone", -60_000)
    assert storage.stored(project_id) == Counter({("ann", "phone"): 1})
    storage.take_over()
    storage.take_over()  # Once is enough: there is one order, and the next process has none.
    storage.write(project_id, "other", "bob", "desk")
    storage.work()
    assert storage.stored(project_id) == Counter({("bob", "desk"): 1})
    total = storage.ledger(project_id)
    assert (total.received, total.stored, total.erased, total.dropped) == (3, 3, 2, {})
    assert total.is_sound
    assert not storage.is_busy()
