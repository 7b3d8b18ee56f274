"""The one handler behind HTTP, gRPC-Web and gRPC: a batch in, an answer after Kafka's ack.

    decode -> who -> origin -> rate -> judge -> records -> acknowledged -> answer

Guarantees: an answer without `error` means that every accepted event and every dead letter of the
request is acknowledged by all in-sync replicas. With `error`, the client may send again; some of
it may have been written all the same. No address, key or body leaves this module but as said in
`outgoing`. Source: events.md, sections 6 to 8.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from connectors.kafka_log import OutRecord
from connectors.telemetry import get_logger
from ingest_gateway.auth import Authenticator
from ingest_gateway.decode import Decoded, DecodeLimits, decode, open_body, split_key
from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.judge import Project, judge
from ingest_gateway.limits import RateGuard, SharedRates
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.origins import is_origin_allowed
from ingest_gateway.outgoing import (
    Facts,
    error_records,
    raw_records,
    rejected_chunk_record,
    rejected_record,
    whole_record,
)
from ingest_gateway.producer import RecordSink, SinkFailedError, SinkFullError
from ingest_gateway.replay_chunk import (
    ReplayLimits,
    check_chunk,
    chunk_record,
    count_claimed,
    decode_chunk,
)
from ingest_gateway.replay_events import replay_records
from ingest_gateway.request import BodyForm, IngestRequest, IngestResult, Refused, Sender
from ingest_gateway.screen import Screened
from schemas.privacy import mask_ip
from schemas.records import PrivacyPolicy, ProjectKey

RETRY_AFTER_FULL_S = 1.0
RETRY_AFTER_FAILED_S = 3.0
PROJECTS_MAX = 10_000
USER_AGENT_CHARACTERS_MAX = 1024
DAY_MS = 86_400_000

OnResult = Callable[[IngestResult], None]


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Limits and switches of the handler. `ip_hash_secret` is the base of the daily secret."""

    decode: DecodeLimits = field(default_factory=DecodeLimits)
    replay: ReplayLimits = field(default_factory=ReplayLimits)
    is_replay_enabled: bool = True
    ip_hash_secret: bytes = b""


@dataclass(slots=True)
class Plan:
    """What one request comes to: records to be acknowledged, then the answer."""

    records: Sequence[OutRecord]
    result: IngestResult
    events: dict[tuple[str, str], int]  # (outcome, reason): count


class Ingestor:
    """Takes batches and replay chunks; shared by all transports of a process."""

    def __init__(
        self,
        authenticator: Authenticator,
        rates: RateGuard,
        sink: RecordSink,
        metrics: GatewayMetrics,
        options: IngestOptions,
        *,
        count_request: Callable[[ProjectKey], None] = lambda _key: None,
        shared_rates: SharedRates | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._rates = rates
        self._shared_rates = shared_rates
        self._sink = sink
        self._metrics = metrics
        self._options = options
        self._count_request = count_request
        self._projects: dict[str, Project] = {}
        self._ip_secret = options.ip_hash_secret or secrets.token_bytes(32)
        # One id a request without asking the system for randomness each time.
        self._batch_prefix = secrets.token_hex(8)
        self._batch_numbers = itertools.count()

    async def ingest(self, request: IngestRequest) -> IngestResult:
        """Take one batch of events. Never raises for what a client or an outage can cause."""
        return await self._answer(request, self._plan_batch)

    async def ingest_replay(self, request: IngestRequest) -> IngestResult:
        """Take one replay chunk; the counts of the answer are rrweb events."""
        return await self._answer(request, self._plan_replay)

    def ingest_now(self, request: IngestRequest, on_result: OnResult) -> bool:
        """Take one batch of events if nothing has to be waited for but the acknowledgement.

        False: the key has to be looked up or a token to be fetched; nothing was done, and `ingest`
        is to be asked. Else `on_result` is called once, maybe before this returns.
        """
        if self._shared_rates is not None:
            return False
        sender = request.sender
        try:
            key = self._authenticator.find_writer_now(sender.presented_key)
            if key is None or not self._rates.take_now(key.key_hash):
                return False
            project = self._project_of(sender, key)
            self._count_request(key)
            self._metrics.bytes[request.encoding] += len(request.body)
            _key, plain, form = self._open(request)
            self._send(request, self._plan_plain(request, plain, form, project), on_result)
        except RefusedError as error:
            on_result(self._refused(request, error))
        return True

    async def find_project(self, sender: Sender) -> ProjectKey:
        """The project of a sender that wants to read its configuration.

        Raises:
            RefusedError: as the ingestion endpoints do, but for the key's own rate.
        """
        if self._shared_rates is not None:
            await self._shared_rates.take_for_address(sender.address)
        key = await self._authenticator.find(sender.presented_key)
        if not is_origin_allowed(sender.origin, key.allowed_domains):
            raise RefusedError(ErrorKind.ORIGIN_NOT_ALLOWED)
        return key

    async def _answer(
        self, request: IngestRequest, plan: Callable[[IngestRequest], Awaitable[Plan]]
    ) -> IngestResult:
        self._metrics.bytes[request.encoding] += len(request.body)
        answered: asyncio.Future[IngestResult] = asyncio.get_running_loop().create_future()

        def on_result(result: IngestResult) -> None:
            if not answered.done():  # Done before: the caller was cancelled.
                answered.set_result(result)

        try:
            self._send(request, await plan(request), on_result)
        except RefusedError as error:
            return self._refused(request, error)
        return await answered

    def _send(self, request: IngestRequest, plan: Plan, on_result: OnResult) -> None:
        """Send the records of a plan; the answer comes with the last acknowledgement.

        Raises:
            RefusedError: UNAVAILABLE, nothing was sent.
        """
        if not plan.records:
            on_result(self._taken(plan))
            return

        def on_settled(failure: str | None) -> None:
            if failure is None:
                on_result(self._taken(plan))
                return
            get_logger().warning("kafka_write_failed", records=len(plan.records), reason=failure)
            error = RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_FAILED_S)
            on_result(self._refused(request, error))

        try:
            self._sink.submit(plan.records, on_settled)
        except SinkFullError:
            raise RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_FULL_S) from None
        except SinkFailedError as error:
            get_logger().warning("kafka_write_failed", records=0, reason=str(error))
            raise RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_FAILED_S) from None

    def _taken(self, plan: Plan) -> IngestResult:
        metrics = self._metrics
        for name, count in plan.events.items():
            metrics.events[name] += count
        metrics.batches["accepted" if not plan.result.refused else "partly_refused"] += 1
        return plan.result

    def _refused(self, request: IngestRequest, error: RefusedError) -> IngestResult:
        if error.kind is ErrorKind.RATE_LIMITED:
            self._metrics.rate_limited += 1
        self._metrics.batches[error.kind.value.lower()] += 1
        return IngestResult(request.form, error.kind, error.retry_after_s)

    async def _admit(self, sender: Sender, key_in_body: str) -> Project:
        """The project of a sender that may write now."""
        shared_rates = self._shared_rates
        if shared_rates is not None:  # Before the key is looked at: guessing must not be free.
            await shared_rates.take_for_address(sender.address)
        key = await self._authenticator.find_writer(sender.presented_key or key_in_body)
        project = self._project_of(sender, key)
        if not self._rates.take_now(key.key_hash):
            await self._rates.take(key)
        if shared_rates is not None:
            await shared_rates.take_for_project(key.project_id)
        self._count_request(key)
        return project

    def _project_of(self, sender: Sender, key: ProjectKey) -> Project:
        if sender.origin is not None and not is_origin_allowed(sender.origin, key.allowed_domains):
            raise RefusedError(ErrorKind.ORIGIN_NOT_ALLOWED)
        project = self._projects.get(key.key_hash)
        if project is None or project.key is not key:
            if len(self._projects) >= PROJECTS_MAX:
                self._projects.clear()
            project = Project.of(key, is_replay_enabled=self._options.is_replay_enabled)
            self._projects[key.key_hash] = project
        return project

    def _facts(self, request: IngestRequest, project: Project) -> Facts:
        sender = request.sender
        day = _day_text(request.received_at_ms // DAY_MS)
        agent = sender.user_agent[:USER_AGENT_CHARACTERS_MAX]
        if not agent.isascii():
            agent = agent.encode("utf-8", "replace").decode()
        return Facts(
            request.received_at_ms,
            mask_ip(sender.address, project.settings.privacy.ip_method, self._ip_secret, day),
            agent,
            f"{self._batch_prefix}-{next(self._batch_numbers):x}",
        )

    async def _plan_batch(self, request: IngestRequest) -> Plan:
        if request.sender.presented_key:
            # Nothing is unpacked for somebody who may not send.
            project = await self._admit(request.sender, "")
            _key, plain, form = self._open(request)
            return self._plan_plain(request, plain, form, project)
        key, plain, form = self._open(request)
        if key:
            return self._plan_plain(request, plain, form, await self._admit(request.sender, key))
        decoded = decode(plain, form, self._options.decode)
        project = await self._admit(request.sender, decoded.project_key)
        return self._plan_decoded(request, decoded, project)

    def _open(self, request: IngestRequest) -> tuple[str, bytes, BodyForm]:
        """The key that stands in front, the batch without it, and its form."""
        limits = self._options.decode
        plain, form = open_body(request.body, request.encoding, request.form, limits)
        return *split_key(plain, form), form

    def _plan_plain(
        self, request: IngestRequest, plain: bytes, form: BodyForm, project: Project
    ) -> Plan:
        limits = self._options.decode
        if form is BodyForm.PROTOBUF:
            now_ms = request.received_at_ms
            if not _has_opted_out(request.sender, project.settings.privacy):
                seen = project.screen.look(plain, project.payloads, now_ms, limits.batch_events_max)
                if seen is not None:
                    return self._plan_screened(request, plain, seen, project)
        return self._plan_decoded(request, decode(plain, form, limits), project)

    def _plan_screened(
        self, request: IngestRequest, plain: bytes, seen: Screened, project: Project
    ) -> Plan:
        facts = self._facts(request, project)
        count = seen.event_count
        records = [whole_record(plain, seen.session_id, count, project, facts)]
        if seen.errors:
            records += error_records(seen.errors, project, facts)
        result = IngestResult(BodyForm.PROTOBUF, accepted=count)
        return Plan(records, result, {("accepted", ""): count})

    def _plan_decoded(self, request: IngestRequest, decoded: Decoded, project: Project) -> Plan:
        """Everything that needs no waiting, so that the parsed batch is gone before the ack."""
        opted_out = _has_opted_out(request.sender, project.settings.privacy)
        facts = self._facts(request, project)
        judged = judge(decoded, project, facts.received_at_ms, opted_out=opted_out)
        self._metrics.texts_unread += project.scrubber.masked_unread
        records = raw_records(decoded, judged, project, facts) if judged.accepted else []
        if judged.errors:
            records += error_records(judged.errors, project, facts)
        accepted = len(judged.accepted)
        if judged.replay:
            chunks, refusals = replay_records(judged.replay, decoded.sent_at_ms, project, facts)
            records += chunks
            accepted += len(judged.replay) - len(refusals)
            judged.refusals = sorted(judged.refusals + refusals)
        result = IngestResult(decoded.form, accepted=accepted, ignored=decoded.ignored)
        events = {("accepted", ""): accepted}
        for refusal in judged.refusals:
            records.append(rejected_record(refusal, decoded, project, facts))
            result.refused.append(Refused(refusal.place, refusal.event_id[:128], refusal.reason))
            name = ("rejected", refusal.reason.value)
            events[name] = events.get(name, 0) + 1
        result.refused_count = len(result.refused)
        return Plan(records, result, events)

    async def _plan_replay(self, request: IngestRequest) -> Plan:
        sender = request.sender
        limits = self._options.replay
        if sender.presented_key:
            project = await self._admit(sender, "")
            chunk, form = decode_chunk(request.body, request.encoding, request.form, limits)
        else:
            chunk, form = decode_chunk(request.body, request.encoding, request.form, limits)
            project = await self._admit(sender, chunk.project_key)
        reason = check_chunk(
            chunk, project, limits, opted_out=_has_opted_out(sender, project.settings.privacy)
        )
        if reason is None:
            record = chunk_record(chunk, project, request.received_at_ms)
            events = {("accepted", ""): chunk.event_count}
            return Plan([record], IngestResult(form, accepted=chunk.event_count), events)
        count = count_claimed(chunk, limits)
        facts = self._facts(request, project)
        record = rejected_chunk_record(chunk, reason, count, project, facts)
        result = IngestResult(form, refused=[Refused(0, "", reason)], refused_count=count)
        return Plan([record], result, {("rejected", reason.value): count})


@lru_cache(maxsize=4)
def _day_text(day: int) -> str:
    """The UTC date of a day counted from 1970."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _has_opted_out(sender: Sender, policy: PrivacyPolicy) -> bool:
    return (policy.respect_gpc and sender.gpc == "1") or (policy.respect_dnt and sender.dnt == "1")
