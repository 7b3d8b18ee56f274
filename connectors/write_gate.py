"""The gate between what writes rows and what erases them.

In: PostgreSQL's list of erased ids and deleted projects. Out: `enter` gives the list as it is now,
and until `leave` nobody who erases is in the middle of it. So a row is either there when an erasure
looks for it, or was made by a writer that knew of the erasure; and nobody adds to an aggregate
while it is counted anew.

The gate is an advisory lock: writers share it, erasures have it for themselves. A writer asks twice
a block; the list is read again only when its version has changed. While PostgreSQL is away writers
go on with what they know: nobody can erase then either.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from prometheus_client import Counter
from psycopg.types.json import Jsonb

from connectors.claims import lock_key
from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from schemas.erasure import NOBODY, Erased, ErasedOfProject, LateRows

GATE_KEY = lock_key("erasure", "gate")
ANSWER_S = 2.0
AWAY_PAUSE_S = 5.0
CLOSE_S = 60  # How long an erasure waits for writers to be through.
CONNECT_TIMEOUT_S = 3
# The server ends the session of a process that is frozen: it must not keep an erasure waiting.
_OPTIONS = "-c statement_timeout=3000 -c idle_session_timeout=60s"

_ENTER = "SELECT pg_try_advisory_lock_shared(%s), (SELECT version FROM erasure_version)"
_VERSION = "SELECT true, (SELECT version FROM erasure_version)"
_LEAVE = "SELECT pg_advisory_unlock_shared(%s)"
_PROJECTS = "SELECT project_id::text FROM project_erasures"
_VISITORS = """
SELECT i.project_id::text, s.salt, i.kind, i.id_hash,
       (extract(epoch FROM i.erased_before) * 1000)::bigint
FROM erased_ids i JOIN erasure_salts s ON s.project_id = i.project_id
"""

# No subject, and nobody who asks for this visitor again is to find it.
_ERASE_LATE = """
INSERT INTO visitor_requests (project_id, kind, subject_hash, work)
VALUES (%(project)s, 'erasure', %(name)s, %(work)s)
"""

WAITS = Counter(
    "gosight_flow_gate_waits_total", "Blocks that had to wait until an erasure was through."
)


class WriteGate(Protocol):
    """Asked before rows are made, and left when they are written."""

    def enter(self) -> Erased:
        """What must not be written from now on until `leave`.

        Raises:
            RetryableError: an erasure is at work; ask again soon.
        """

    def is_held(self) -> bool:
        """Whether nobody can have erased since `enter`; asks, and never raises."""

    def leave(self) -> bool:
        """The rows are written, or will not be; whether nobody can have erased up to now.

        Never raises.
        """

    def erase_late(self, late: Sequence[LateRows]) -> None:
        """Have rows erased that were written after the gate was lost.

        Raises:
            RetryableError: nobody was told.
        """

    def known(self) -> Erased:
        """What must not be shown, as known a second ago at most; nothing is held."""


class OpenGate:
    """A gate at which nothing was ever erased, or what a test says."""

    def __init__(self, erased: Erased = NOBODY) -> None:
        self.erased = erased
        self.late: list[LateRows] = []

    def enter(self) -> Erased:
        """See `WriteGate.enter`."""
        return self.erased

    def is_held(self) -> bool:
        """See `WriteGate.is_held`."""
        return True

    def leave(self) -> bool:
        """See `WriteGate.leave`."""
        return True

    def erase_late(self, late: Sequence[LateRows]) -> None:
        """See `WriteGate.erase_late`."""
        self.late += late

    def known(self) -> Erased:
        """See `WriteGate.known`."""
        return self.erased


class PostgresWriteGate:
    """`WriteGate` in PostgreSQL, on a connection and a thread of its own."""

    def __init__(self, database_url: str, name: str) -> None:
        self._database_url = database_url
        self._name = name
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gate")
        self._turn = threading.Lock()
        self._erased = NOBODY
        self._version = 0
        self._asked_at = self._away_at = float("-inf")
        self._entered: psycopg.Connection[Any] | None = None  # The session that has the lock.

    def enter(self) -> Erased:
        """See `WriteGate.enter`."""
        is_free = self._ask(_ENTER, (GATE_KEY,))
        if is_free is False:
            WAITS.inc()
            raise RetryableError("an erasure is at work")
        self._entered = self._connection if is_free else None
        return self._erased

    def is_held(self) -> bool:
        """See `WriteGate.is_held`.

        The session is asked, not the clock: if it lives, it has had the lock all the time.
        """
        if self._ask(_VERSION, ()) is None:
            return True  # PostgreSQL is away.
        return self._entered is not None and self._entered is self._connection

    def leave(self) -> bool:
        """See `WriteGate.leave`."""
        entered, self._entered = self._entered, None
        return entered is not None and self._do(lambda: self._unlock(entered)) is True

    def erase_late(self, late: Sequence[LateRows]) -> None:
        """See `WriteGate.erase_late`: an order for who erases, with ids instead of a visitor."""
        rows = [
            {
                "project": one.project_id,
                "name": secrets.token_hex(32),
                "work": Jsonb({"late": {"events": [*one.events], "sessions": [*one.sessions]}}),
            }
            for one in late
        ]
        try:
            with psycopg.connect(
                self._database_url,
                connect_timeout=CONNECT_TIMEOUT_S,
                options="-c statement_timeout=10000",
                application_name=f"gosight gate {self._name} late",
            ) as connection:
                connection.cursor().executemany(_ERASE_LATE, rows)
        except psycopg.Error as error:
            raise RetryableError(f"late rows: {type(error).__name__}") from error

    def known(self) -> Erased:
        """See `WriteGate.known`."""
        if time.monotonic() - self._asked_at > 1.0:
            self._ask(_VERSION, ())
        return self._erased

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._disconnect()

    def _ask(self, query: str, values: tuple[int, ...]) -> bool | None:
        """What the query says, and the list made fresh; None while PostgreSQL is away."""
        if time.monotonic() - self._away_at < AWAY_PAUSE_S:
            return None
        return self._do(lambda: self._read(query, values))

    def _do(self, work: Callable[[], bool | None]) -> bool | None:
        with self._turn:
            future = self._thread.submit(work)
            try:
                return future.result(ANSWER_S)
            except (NotYetError, psycopg.Error, OSError) as error:
                get_logger().warning("gate_unknown", reason=type(error).__name__)
                self._away_at = time.monotonic()
                if isinstance(error, NotYetError):  # It hangs: leave that thread to itself.
                    self._connection = None
                    self._thread.shutdown(wait=False)
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="gate")
                else:
                    self._disconnect()
                return None

    def _read(self, query: str, values: tuple[int, ...]) -> bool | None:
        connection = self._connection or self._connect()
        try:
            row = connection.execute(query.encode(), values).fetchone()
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            # It may have ended alone, after a quiet minute: that is no sign of the server.
            connection = self._connect()
            row = connection.execute(query.encode(), values).fetchone()
        assert row is not None
        is_free, version = row
        if is_free and version != self._version:
            self._erased = read_erased(connection)
            self._version = version
        self._asked_at = time.monotonic()
        return bool(is_free)

    def _unlock(self, connection: psycopg.Connection[Any]) -> bool:
        try:
            row = connection.execute(_LEAVE, (GATE_KEY,)).fetchone()
        except psycopg.OperationalError:
            return False  # The next question finds out whether the server is away.
        return row is not None and row[0] is True

    def _connect(self) -> psycopg.Connection[Any]:
        self._connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=_OPTIONS,
            application_name=f"gosight gate {self._name}",
        )
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@contextmanager
def closed_gate(database_url: str) -> Iterator[None]:
    """Nobody writes rows inside; entered when all who were at it are through.

    Raises:
        RetryableError: writers do not leave, or the session broke off meanwhile: what was done
            inside has to be done again.
    """
    try:
        with psycopg.connect(
            database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={CLOSE_S}s -c tcp_keepalives_idle=5",
            application_name="gosight erasures",
        ) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (GATE_KEY,))
            yield
            row = connection.execute("SELECT pg_advisory_unlock(%s)", (GATE_KEY,)).fetchone()
    except psycopg.Error as error:
        raise RetryableError(f"the gate cannot be closed: {type(error).__name__}") from error
    if row is None or row[0] is not True:
        raise RetryableError("the gate was opened meanwhile")


def read_erased(connection: psycopg.Connection[Any]) -> Erased:
    """The whole list.

    Raises:
        psycopg.Error: PostgreSQL does not answer.
    """
    projects = frozenset(row[0] for row in connection.execute(_PROJECTS).fetchall())
    salts: dict[str, bytes] = {}
    before: dict[str, dict[str, int]] = {}
    sessions: dict[str, set[str]] = {}
    for project_id, salt, kind, id_hash, before_ms in connection.execute(_VISITORS).fetchall():
        salts[project_id] = bytes(salt)
        if kind == "session":
            sessions.setdefault(project_id, set()).add(id_hash)
        else:
            before.setdefault(project_id, {})[id_hash] = before_ms
    return Erased(
        projects,
        {
            project_id: ErasedOfProject(
                salt, before.get(project_id, {}), frozenset(sessions.get(project_id, ()))
            )
            for project_id, salt in salts.items()
        },
    )
