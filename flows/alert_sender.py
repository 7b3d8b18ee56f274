"""Sending what waits in the outbox: a thread with an event loop of its own.

    outbox --> claim what is due --> is it still to be sent? --> Telegram or webhook --> settle
                     ^                                                                     |
                     +---- when it is due again, or when there is room for more -----------+

Many attempts run at once, a few a host, one a chat. Nothing is in memory that is not in PostgreSQL:
whenever this process dies, another, or the next, goes on. A message whose attempt was cut off by
that is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from connectors.alert_queue import AlertQueue
from connectors.errors import RetryableError
from connectors.outbound_guard import OutboundGuard
from connectors.sending import Attempt, Verdict
from connectors.settings import DeliverySettings
from connectors.telegram import CHAT_INTERVAL_S, TelegramSender
from connectors.telemetry import get_logger
from connectors.webhooks import TIMEOUT_S, WebhookSender
from flows.core.alert_decisions import channels_by_key
from flows.core.alert_sending import after_failure, after_success, reason_not_to_send
from schemas.alert_delivery import Claimed, Settlement
from schemas.alert_rules import Channel, TelegramChannel, WebhookChannel

AT_ONCE_MAX = 64
# Messages of this process are told at once; those of others, and attempts that are due again, wait.
POLL_S = 0.5
AWAY_PAUSE_S = 2.0
SETTLE_TRIES = 10
WAITING_EVERY_S = 5.0

SENT = Counter(
    "gosight_alerts_deliveries_total", "Attempts to deliver, by channel and outcome.",
    ["channel", "outcome"],
)  # fmt: skip
ATTEMPT_SECONDS = Histogram(
    "gosight_alerts_attempt_duration_seconds", "Time of an attempt, with its turn.", ["channel"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
)  # fmt: skip
DISABLED = Counter("gosight_alerts_channels_disabled_total", "Channels that were switched off.")
WAITING = Gauge("gosight_alerts_deliveries_waiting", "Messages that are not sent or given up.")
OVERDUE = Gauge("gosight_alerts_overdue_seconds", "How long the first of them is due.")


class ChannelSenders:
    """One sender a kind of channel; made and used on one event loop."""

    def __init__(
        self,
        settings: DeliverySettings,
        *,
        chat_interval_s: float = CHAT_INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._telegram = TelegramSender(
            settings.telegram_bot_token,
            settings.telegram_api_url,
            timeout_s=timeout_s,
            chat_interval_s=chat_interval_s,
        )
        guard = OutboundGuard(settings.allowed_networks())
        self._webhooks = WebhookSender(guard, timeout_s=timeout_s)

    async def send(
        self, channel: Channel, delivery_id: str, message: dict[str, Any], now_ms: int
    ) -> Attempt:
        """One attempt, whatever the channel."""
        match channel:
            case TelegramChannel():
                return await self._telegram.send(
                    channel.chat_id, channel.thread_id, message["text"]
                )
            case WebhookChannel():
                return await self._webhooks.send(
                    channel.url,
                    channel.secrets_at(now_ms),
                    delivery_id,
                    message["event"],
                    message["content"],
                )

    async def close(self) -> None:
        """Drop what is open."""
        await self._telegram.close()
        await self._webhooks.close()


Decide = Callable[[Claimed], Settlement]  # Given how its channel is when it is noted.
Ask = Callable[[Callable[[], Any]], Awaitable[Any]]  # Runs what blocks, elsewhere.


class Deliverer:
    """Delivers claimed messages, each on its own."""

    def __init__(
        self,
        queue: AlertQueue,
        senders: ChannelSenders,
        ask: Ask,
        clock_ms: Callable[[], int],
    ) -> None:
        self._queue = queue
        self._senders = senders
        self._ask = ask
        self._clock_ms = clock_ms

    async def deliver(self, claimed: Claimed) -> None:
        """One attempt, if it is still to be sent, and what comes of it."""
        settlement = reason_not_to_send(claimed, self._clock_ms())
        decide = _always(settlement) if settlement is not None else await self._attempt(claimed)
        settlement = await self._settle(claimed, decide)
        SENT.labels(claimed.channel_type, settlement.status.value).inc()
        if settlement.disables:
            DISABLED.inc()
            get_logger().warning(
                "alert_channel_disabled",
                rule_id=claimed.rule_id,
                channel=claimed.channel_type,
                detail=settlement.error,
            )

    async def _settle(self, claimed: Claimed, decide: Decide) -> Settlement:
        """Note it; what cannot be noted within the lease goes again, under the same id."""
        for _ in range(SETTLE_TRIES):
            try:
                noted: Settlement | None = await self._ask(
                    lambda: self._queue.settle(claimed, decide, self._clock_ms())
                )
            except RetryableError as error:
                get_logger().warning("alert_not_settled", detail=str(error)[:300])
                await asyncio.sleep(AWAY_PAUSE_S)
            else:
                return noted or decide(claimed)
        return decide(claimed)

    async def _attempt(self, claimed: Claimed) -> Decide:
        rule = claimed.rule
        assert rule is not None, "a rule that is gone is a reason not to send"
        with ATTEMPT_SECONDS.labels(claimed.channel_type).time():
            channel = channels_by_key(rule)[claimed.channel_key]
            attempt = await self._senders.send(
                channel, claimed.delivery_id, claimed.message, self._clock_ms()
            )
        now_ms = self._clock_ms()
        if attempt.verdict is Verdict.SENT:
            return lambda now: after_success(now, rule, attempt.status, now_ms)
        return lambda now: after_failure(
            now,
            attempt.status,
            attempt.error,
            now_ms,
            may_retry=attempt.verdict is Verdict.RETRY,
            is_gone=attempt.verdict is Verdict.GONE,
            wait_ms=attempt.wait_ms,
        )


def _always(settlement: Settlement) -> Decide:
    return lambda _: settlement


class AlertSender:
    """Sends until it is closed; `start` once. `wake` says that there may be something new."""

    def __init__(
        self,
        queue: AlertQueue,
        make_senders: Callable[[], ChannelSenders],
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._queue = queue
        self._make_senders = make_senders
        self._clock_ms = clock_ms
        self._database = ThreadPoolExecutor(1, thread_name_prefix="alert queue")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._is_closing = False
        self._waiting_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="alert sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to send; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def close(self, timeout_s: float = 5.0) -> None:
        """Begin nothing new; what is being sent gets this long."""
        self._is_closing = True
        self.wake()
        self._thread.join(timeout_s)
        self._database.shutdown(wait=False)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._serve())
        except BaseException as error:
            if self._is_closing:
                return  # It was cut off while it still sent; the next process goes on.
            # A process that reads and never sends would look healthy: it must end.
            get_logger().error("flow_failed", kind=type(error).__name__, exc_info=error)
            os._exit(1)

    async def _serve(self) -> None:
        senders = self._make_senders()
        try:
            # What an attempt raises beyond what it is meant to is a bug, and ends all.
            async with asyncio.TaskGroup() as group:
                deliverer = Deliverer(self._queue, senders, self._ask, self._clock_ms)
                await self._send_all(deliverer, group)
        finally:
            await senders.close()
            await self._ask(self._queue.close)

    async def _send_all(self, deliverer: Deliverer, group: asyncio.TaskGroup) -> None:
        running: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            self._woken.set()  # Its lane is free, and there is room for another.

        while not self._is_closing:
            try:
                await self._tell_waiting()
                claimed = await self._claim(AT_ONCE_MAX - len(running))
            except RetryableError as error:
                get_logger().warning("alert_queue_away", detail=str(error)[:300])
                await self._pause(AWAY_PAUSE_S)
                continue
            for delivery in claimed:
                task = group.create_task(deliverer.deliver(delivery))
                running.add(task)
                task.add_done_callback(ended)
            if not claimed:
                await self._pause(POLL_S)

    async def _pause(self, seconds: float) -> None:
        """Until something is said to be new, at most that long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    async def _claim(self, room: int) -> list[Claimed]:
        if room <= 0:
            return []
        found: list[Claimed] = await self._ask(lambda: self._queue.claim(self._clock_ms(), room))
        return found

    async def _tell_waiting(self) -> None:
        now_s = time.monotonic()
        if now_s - self._waiting_at_s < WAITING_EVERY_S:
            return
        self._waiting_at_s = now_s
        waiting, due_ms = await self._ask(self._queue.waiting)
        WAITING.set(waiting)
        OVERDUE.set(max(0.0, (self._clock_ms() - due_ms) / 1000) if waiting else 0.0)

    def _ask(self, call: Callable[[], Any]) -> Awaitable[Any]:
        """A call to the database, in order with all others."""
        assert self._loop is not None
        return self._loop.run_in_executor(self._database, call)


def sender_on(settings: DeliverySettings) -> AlertSender:
    """A sender on the outbox and the channels of these settings."""
    return AlertSender(AlertQueue(settings.database_url), lambda: ChannelSenders(settings))
