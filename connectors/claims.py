"""Which partitions this process may read and write: shared out among the processes that live.

In: a group and its partitions. Out: `Claims`: the partitions held now, each with a number of the
holding (an epoch), and those that are asked back because another process has fewer. PostgreSQL
keeps them: a held partition is an advisory lock, and each process is a session that holds a shared
one. So a process that ends, however it ends, gives its partitions back, and every process sees the
same picture and computes the same shares from it.

Guarantees: a partition has one holder. A process that is frozen loses its session after
`SESSION_IDLE_S`, one whose connection breaks loses it at once, and may not know for a while: what
must not be done by two asks by `confirm`. While PostgreSQL is away nobody can take a partition
over: a process that was alone goes on, several wait.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import psycopg
from prometheus_client import Gauge

from connectors.errors import RetryableError
from connectors.kafka_log import Part
from connectors.telemetry import get_logger

BEAT_S = 1.0
SURE_S = 10.0
CONFIRM_S = 2.0
SESSION_IDLE_S = 20
CONNECT_TIMEOUT_S = 5
TICK_S = 0.5
HANGING_TICKS = 10  # Without an answer PostgreSQL is away, frozen or not.
# The server ends a session whose process is frozen or whose machine is gone.
SESSION_OPTIONS = (
    f"-c idle_session_timeout={SESSION_IDLE_S}s -c tcp_keepalives_idle=5 "
    "-c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
)
LOCKS = """
SELECT (classid::bigint << 32) | objid::bigint, pid, pid = pg_backend_pid() FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

LEASE_HELD = Gauge(
    "gosight_flow_lease_held", "1 while the partitions of this process are confirmed.", ["group"]
)
SHARE = Gauge(
    "gosight_flow_share_partitions", "Partitions that are this process's fair share.", ["group"]
)


class Claims(Protocol):
    """The partitions of this process, as the source and the writer of a flow see them."""

    def held(self) -> Mapping[Part, int]:
        """Partitions held now, each with the number of its holding."""

    def asked_back(self) -> Collection[Part]:
        """Held partitions that another process waits for."""

    def give_back(self, parts: Collection[Part]) -> None:
        """Let go; nothing of these partitions may be written from now on."""

    def is_sure(self) -> bool:
        """Whether nobody else can hold these partitions, unless the session broke just now."""

    def confirm(self) -> bool:
        """Ask, and wait: whether what `held` says now was held without a gap up to this call."""


def fair_shares(sizes: Mapping[str, int], rank: int, members: int) -> dict[str, int]:
    """Partitions of each topic that are due to the process of this rank among `members`.

    What does not divide goes to the next ranks in turn, topic after topic.
    """
    due: dict[str, int] = {}
    turn = 0
    for topic, size in sorted(sizes.items()):
        base, rest = divmod(size, members)
        due[topic] = base + ((rank - turn) % members < rest)
        turn += rest
    return due


def lock_key(group: str, name: str) -> int:
    """The number PostgreSQL knows a lock by: 63 bits of a hash."""
    digest = hashlib.sha256(f"gosight lease {group} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class PostgresClaims:
    """Claims kept by PostgreSQL; a thread of its own keeps them up to date."""

    def __init__(self, database_url: str, group: str, parts: Sequence[Part]) -> None:
        self._database_url = database_url
        self.group = group
        self._sizes = Counter(topic for topic, _ in parts)
        self._key_of = {part: lock_key(group, f"{part[0]}:{part[1]}") for part in parts}
        self._members_key = lock_key(group, "members")
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self._held: dict[Part, int] = {}
        self._asked_back: set[Part] = set()
        self._given_back: set[Part] = set()
        self._epoch = 0
        self._was_alone = False
        self._confirmed_at = self._failed_at = float("-inf")
        self._beats = 0
        self._beaten = threading.Condition()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Join the processes of the group.

        Raises:
            RetryableError: PostgreSQL does not answer.
        """
        try:
            self._beat()
        except psycopg.Error as error:
            self._disconnect()
            raise RetryableError(f"no claims: PostgreSQL does not answer: {error}") from error
        LEASE_HELD.labels(self.group).set_function(lambda: float(self._is_confirmed()))
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="claims watch", daemon=True).start()

    def held(self) -> Mapping[Part, int]:
        """See `Claims.held`."""
        with self._lock:
            return dict(self._held)

    def asked_back(self) -> Collection[Part]:
        """See `Claims.asked_back`."""
        with self._lock:
            return set(self._asked_back)

    def give_back(self, parts: Collection[Part]) -> None:
        """See `Claims.give_back`."""
        with self._lock:
            for part in parts:
                if self._held.pop(part, None) is not None:
                    self._given_back.add(part)
            self._asked_back.difference_update(parts)
        self._wake.set()

    def is_sure(self) -> bool:
        """See `Claims.is_sure`."""
        return self._is_confirmed() or self._is_alone_without_server()

    def confirm(self) -> bool:
        """See `Claims.confirm`; waits for `CONFIRM_S` at most.

        The session is asked, not the clock: if it lives, it has had its locks all the time. If it
        is another one by now, all that it holds has new numbers.
        """
        asked_at = time.monotonic()
        self._wake.set()
        with self._beaten:
            self._beaten.wait_for(
                lambda: self._confirmed_at >= asked_at or self._is_alone_without_server(),
                CONFIRM_S,
            )
        return self._confirmed_at >= asked_at or self._is_alone_without_server()

    def _is_alone_without_server(self) -> bool:
        """Whether nobody else was there when PostgreSQL went away, which it still is."""
        return self._was_alone and self._failed_at > time.monotonic() - SURE_S

    def _is_confirmed(self) -> bool:
        return self._confirmed_at > time.monotonic() - SURE_S

    def close(self) -> None:
        """Leave the group; all partitions are free at once."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._disconnect()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(BEAT_S)
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                self._beat()
                with self._beaten:
                    self._beaten.notify_all()
            except psycopg.Error as error:
                if self._connection is not None:
                    get_logger().warning("claims_unconfirmed", reason=type(error).__name__)
                was_connected = self._connection is not None
                self._disconnect()
                if was_connected:
                    self._wake.set()  # The session may have ended alone: connect again at once.
                else:
                    self._failed_at = time.monotonic()
                    self._closing.wait(BEAT_S)

    def _watch(self) -> None:
        """Tell a PostgreSQL that hangs from a process of ours that was frozen itself."""
        beats, ticks, ticked_at = 0, 0, time.monotonic()
        while not self._closing.wait(TICK_S):
            now = time.monotonic()
            was_frozen = now - ticked_at > 4 * TICK_S
            ticks = 0 if was_frozen or beats != self._beats else ticks + 1
            beats, ticked_at = self._beats, now
            if ticks >= HANGING_TICKS:
                self._failed_at = now

    def _beat(self) -> None:
        """Look at all locks, which confirms ours; then let go and take."""
        asked_at = time.monotonic()
        self._beats += 1
        connection = self._connection or self._connect()
        self._unlock(connection)
        holders: set[Part] = set()
        members: set[int] = set()
        own_pid = 0
        part_of = {key: part for part, key in self._key_of.items()}
        for key, pid, is_own in connection.execute(LOCKS).fetchall():
            if key == self._members_key:
                members.add(pid)
                own_pid = pid if is_own else own_pid
            elif key in part_of:
                holders.add(part_of[key])
        rank = sorted(members).index(own_pid)
        due = fair_shares(self._sizes, rank, len(members))
        self._was_alone = len(members) == 1
        self._confirmed_at = asked_at
        SHARE.labels(self.group).set(sum(due.values()))
        self._settle(connection, due, holders)

    def _settle(
        self, connection: psycopg.Connection[Any], due: Mapping[str, int], holders: set[Part]
    ) -> None:
        for topic, share in due.items():
            with self._lock:
                own = sorted(part for part in self._held if part[0] == topic)
                self._asked_back -= set(own)
                self._asked_back |= set(own[share:])
            missing = share - len(own)
            for part in [p for p in self._key_of if p[0] == topic and p not in holders]:
                if missing <= 0:
                    break
                row = connection.execute(
                    "SELECT pg_try_advisory_lock(%s)", (self._key_of[part],)
                ).fetchone()
                if row is not None and row[0] is True:
                    missing -= 1
                    with self._lock:
                        self._epoch += 1
                        self._held[part] = self._epoch
                    get_logger().info("partition_taken", topic=part[0], partition=part[1])

    def _unlock(self, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            given_back = set(self._given_back)
        for part in sorted(given_back):
            connection.execute("SELECT pg_advisory_unlock(%s)", (self._key_of[part],))
            get_logger().info("partition_given_back", topic=part[0], partition=part[1])
            with self._lock:
                self._given_back.discard(part)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=SESSION_OPTIONS,
            application_name=f"gosight lease {self.group}",
        )
        with self._lock:
            # Somebody else may have held them meanwhile: all is claimed anew.
            self._held.clear()
            self._asked_back.clear()
            self._given_back.clear()
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (self._members_key,))
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
