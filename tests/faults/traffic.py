"""Clients that send made-up events through the real doors, and what they were told.

In: events with the moment each is due, split among clients. Out: a `Told`: for each event whether
it was sent, acknowledged or refused, and how many were in all attempts. A client tries again until
every event is answered: the same ids, in new batches. Nothing here is shared with the platform.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.faults.events import MadeEvent, batch_json, batch_protobuf
from tests.faults.wire import number_at, read_fields, text_at

BATCH_EVENTS_MAX = 20
REQUEST_TIMEOUT_S = 14.0
WAIT_FIRST_S = 0.1
WAIT_MAX_S = 1.5
RPC = "/gosight.IngestService/SendBatch"
# An answer with one of these says that the platform is at fault, or that we are.
NEVER = {400, 401, 403, 404, 413, 415, 429, 500}

EventKey = tuple[str, str]  # (project id, event id)
SessionKey = tuple[str, str]  # (project id, session id)


@dataclass(frozen=True, slots=True)
class ProjectDoor:
    """A project to send for."""

    project_id: str
    write_key: str


@dataclass(frozen=True, slots=True)
class Script:
    """What a visit consists of, and what must be found in it: type and first event of each."""

    event_ids: frozenset[str]
    finds: frozenset[tuple[str, str]]


@dataclass
class Told:
    """What the clients know; the truth that the auditor compares with."""

    sent: dict[EventKey, MadeEvent] = field(default_factory=dict)
    acknowledged: Counter[EventKey] = field(default_factory=Counter)
    rejected: dict[EventKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    attempted: Counter[str] = field(default_factory=Counter)  # Events in all attempts, by project.
    answered: Counter[str] = field(default_factory=Counter)  # Events in answered ones, by project.
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)  # (project, reason)
    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer.
    troubles: list[str] = field(default_factory=list)
    unanswered: int = 0  # Events whose client gave up.
    scripts: dict[SessionKey, Script] = field(default_factory=dict)

    @property
    def failed_attempts(self) -> int:
        """Requests that were not answered 202."""
        return sum(count for status, count in self.statuses.items() if status != 202)


@dataclass
class Plan:
    """What one client sends: events with the second at which each is due."""

    door: ProjectDoor
    events: list[tuple[float, MadeEvent]]
    skew_ms: int = 0
    has_sent_at: bool = True
    is_grpc: bool = False
    is_ordered: bool = False
    scripts: dict[str, Script] = field(default_factory=dict)  # By session id.


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    wait_s: float | None = None
    accepted: int = 0
    rejected: int = 0
    rejections: tuple[tuple[int, str, str], ...] = ()


class Load:
    """Runs the plans in a thread of its own; `join` gives what they were told."""

    def __init__(
        self,
        http_url: str,
        grpc_address: str,
        plans: Sequence[Plan],
        chance: random.Random,
        give_up_s: float,
    ) -> None:
        self.told = Told(
            scripts={
                (plan.door.project_id, session_id): script
                for plan in plans
                for session_id, script in plan.scripts.items()
            }
        )
        self._http_url = http_url
        self._grpc_address = grpc_address
        self._plans = plans
        self._seeds = [chance.getrandbits(64) for _ in plans]
        self._give_up_s = give_up_s
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.total = sum(len(plan.events) for plan in plans)

    def start(self) -> Load:
        """Begin to send."""
        self._thread.start()
        return self

    @property
    def share(self) -> float:
        """Which part of all deliveries has been answered."""
        return sum(self.told.answered.values()) / max(1, self.total)

    @property
    def is_running(self) -> bool:
        """Whether a client still has something to send."""
        return self._thread.is_alive()

    def wait_for_share(self, share: float, timeout_s: float = 60.0) -> None:
        """Until this part of the deliveries is answered, or the load has ended."""
        deadline = time.monotonic() + timeout_s
        while self.share < share and self.is_running and time.monotonic() < deadline:
            time.sleep(0.01)

    def join(self) -> Told:
        """Wait for the end; a client gives up after its time, so this ends."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.told

    def _run(self) -> None:
        try:
            asyncio.run(self._run_clients())
        except BaseException as error:
            self._failure = error

    async def _run_clients(self) -> None:
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for plan, seed in zip(self._plans, self._seeds, strict=True):
                group.create_task(self._run_client(plan, random.Random(seed), began_s))

    async def _run_client(self, plan: Plan, chance: random.Random, began_s: float) -> None:
        sender = (
            GrpcSender(self._grpc_address, plan.door)
            if plan.is_grpc
            else HttpSender(self._http_url, plan.door, chance)
        )
        async with sender:
            await _Client(plan, chance, sender, self.told, began_s + self._give_up_s).run(began_s)


class _Client:
    def __init__(
        self,
        plan: Plan,
        chance: random.Random,
        sender: HttpSender | GrpcSender,
        told: Told,
        deadline_s: float,
    ) -> None:
        self._plan = plan
        self._chance = chance
        self._sender = sender
        self._told = told
        self._deadline_s = deadline_s
        self._project_id = plan.door.project_id

    async def run(self, began_s: float) -> None:
        coming = sorted(self._plan.events, key=lambda entry: entry[0], reverse=True)
        waiting: list[MadeEvent] = []
        wait_s = WAIT_FIRST_S
        while coming or waiting:
            now_s = time.monotonic()
            if now_s > self._deadline_s:
                self._told.unanswered += len(coming) + len(waiting)
                return
            while coming and coming[-1][0] <= now_s - began_s:
                waiting.append(coming.pop()[1])
            if not waiting:
                await asyncio.sleep(min(0.05, max(0.0, began_s + coming[-1][0] - now_s)))
                continue
            if not self._plan.is_ordered:
                self._chance.shuffle(waiting)
            size = self._chance.randint(1, BATCH_EVENTS_MAX)
            batch, waiting = waiting[:size], waiting[size:]
            answer = await self._send(batch)
            if answer.status == 202:
                wait_s = WAIT_FIRST_S
                self._note(batch, answer)
                continue
            waiting = batch + waiting
            pause_s = max(wait_s, min(answer.wait_s or 0.0, WAIT_MAX_S))
            await asyncio.sleep(pause_s * self._chance.uniform(0.8, 1.2))
            wait_s = min(WAIT_MAX_S, wait_s * 2)

    async def _send(self, batch: Sequence[MadeEvent]) -> _Answer:
        told = self._told
        for event in batch:
            told.sent[self._project_id, event.event_id] = event
        told.attempted[self._project_id] += len(batch)
        now_ms = time.time_ns() // 1_000_000
        sent_at_ms = now_ms + self._plan.skew_ms if self._plan.has_sent_at else 0
        answer = await self._sender.send(batch, sent_at_ms, self._plan.skew_ms)
        told.statuses[answer.status] += 1
        if answer.status in NEVER:
            told.troubles.append(f"a good request was answered {answer.status}")
        elif answer.status == 503 and answer.wait_s is None:
            told.troubles.append("a 503 without Retry-After")
        return answer

    def _note(self, batch: Sequence[MadeEvent], answer: _Answer) -> None:
        told = self._told
        told.answered[self._project_id] += len(batch)
        refused = {index: reason for index, _, reason in answer.rejections}
        if answer.rejected != len(refused) or answer.accepted + answer.rejected != len(batch):
            told.troubles.append(f"an answer that does not add up: {answer} of {len(batch)}")
        for index, event in enumerate(batch):
            key = (self._project_id, event.event_id)
            reason = refused.get(index, "")
            if reason:
                told.rejected[key].add(reason)
                told.refusals[self._project_id, reason] += 1
            else:
                told.acknowledged[key] += 1
            if reason != event.bad_reason:
                told.troubles.append(f"{event.bad_reason or 'good'} event answered {reason!r}")


class HttpSender:
    """POST /v1/events, as JSON or protobuf, sometimes gzipped."""

    def __init__(self, url: str, door: ProjectDoor, chance: random.Random) -> None:
        self._url = f"{url}/v1/events"
        self._door = door
        self._chance = chance

    async def __aenter__(self) -> HttpSender:
        self._session = ClientSession(timeout=ClientTimeout(total=REQUEST_TIMEOUT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, batch: Sequence[MadeEvent], sent_at_ms: int, skew_ms: int) -> _Answer:
        """One request; status 0 if there is no answer."""
        is_json = self._chance.random() < 0.4
        body = (batch_json if is_json else batch_protobuf)(batch, sent_at_ms, skew_ms)
        headers = {
            "X-GoSight-Key": self._door.write_key,
            "Content-Type": "application/json" if is_json else "application/x-protobuf",
        }
        if self._chance.random() < 0.2:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                content = await response.read()
                after = response.headers.get("Retry-After")
                if response.status != 202:
                    return _Answer(response.status, float(after) if after else None)
                return read_answer(content, is_json=is_json)
        except (ClientError, TimeoutError, OSError):
            return _Answer(0)


class GrpcSender:
    """gosight.IngestService/SendBatch."""

    def __init__(self, address: str, door: ProjectDoor) -> None:
        self._address = address
        self._door = door

    async def __aenter__(self) -> GrpcSender:
        self._channel = grpc.aio.insecure_channel(
            self._address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._call = self._channel.unary_unary(RPC)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def send(self, batch: Sequence[MadeEvent], sent_at_ms: int, skew_ms: int) -> _Answer:
        """One call; UNAVAILABLE from the gateway counts as 503, from the network as no answer."""
        body = batch_protobuf(batch, sent_at_ms, skew_ms)
        metadata = (("x-gosight-key", self._door.write_key),)
        try:
            content = await self._call(body, metadata=metadata, timeout=REQUEST_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            after = dict(error.trailing_metadata() or ()).get("retry-after")
            if error.code() is grpc.StatusCode.UNAVAILABLE and after is not None:
                return _Answer(503, float(after))
            is_ours = error.code() in {
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.PERMISSION_DENIED,
            }
            return _Answer(401 if is_ours else 0)
        return read_answer(content, is_json=False)


def read_answer(content: bytes, *, is_json: bool) -> _Answer:
    """An IngestResponse in either form."""
    if is_json:
        document = json.loads(content)
        found = [(r["index"], r["event_id"], r["reason"]) for r in document.get("rejections", ())]
        return _Answer(
            202, None, document["events_accepted"], document["events_rejected"], tuple(found)
        )
    fields = read_fields(content)
    rejections = []
    for value in fields.get(5, ()):
        assert isinstance(value, bytes)
        one = read_fields(value)
        rejections.append((number_at(one, 1), text_at(one, 2), text_at(one, 3)))
    return _Answer(202, None, number_at(fields, 3), number_at(fields, 4), tuple(rejections))
