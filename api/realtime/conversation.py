"""One client: who it is, what it wants, and when it has to go.

In: its messages and the clock. Out: rooms joined and left, answers, and at most one end with a
close code. Source: api.md, section 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import ClientConnectionError, WSMessage, WSMsgType, web

from api.access import Access
from api.auth import Identified, identify, take_for_address
from api.errors import STATUS, ApiError, ErrorCode
from api.rate_limits import PER_ADDRESS
from api.realtime.client import Client
from api.realtime.hub import Hub, gap_message
from api.realtime.limits import RealtimeLimits
from api.realtime.messages import (
    Auth,
    Channel,
    CloseCode,
    MessageError,
    MessageId,
    Subscribe,
    Unsubscribe,
    error_message,
    message,
    read_message,
)
from api.realtime.metrics import CLOSED
from api.realtime.seats import Seats
from api.services import SERVICES
from connectors.errors import RetryableError

RESUME_COST = 5  # In messages: what was missed has to be read and made again.


class Conversation:
    """The talk with one client about one project; `now_s` is monotonic."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        project_id: str,
        hub: Hub,
        seats: Seats,
        limits: RealtimeLimits,
        now_s: Callable[[], float],
    ) -> None:
        self._request = request
        self._socket = socket
        self._project_id = project_id
        self._owner = project_id.encode()
        self._hub = hub
        self._seats = seats
        self._limits = limits
        self._now_s = now_s
        self.client = Client(socket, now_s)
        self._channels: set[Channel] = set()
        self._token = ""
        self._who: Identified | None = None
        began_s = now_s()
        self._began_s = self._heard_s = self._pinged_s = began_s
        self._checked_s = self._check_due_s = began_s
        self._check: asyncio.Task[None] | None = None
        self._budget, self._budget_s = float(limits.messages_burst), began_s
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it has said who it is."""
        return self._who is not None

    async def run(self) -> None:
        """Listen until one side ends it."""
        writer = asyncio.create_task(self.client.write())
        try:
            while self._ending is None:
                received = await self._socket.receive()
                if received.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                    break
                if received.type is WSMsgType.ERROR:
                    if self._socket.close_code == CloseCode.TOO_BIG:
                        CLOSED.labels(str(CloseCode.TOO_BIG.value)).inc()
                    break
                self._heard_s = self._now_s()
                await self._hear(received)
        finally:
            self._leave_all()
            if self._check is not None:
                self._check.cancel()
            writer.cancel()
            if self._who is not None:
                self._seats.leave(self._who.subject, self._project_id)
            if self._ending is not None:
                await asyncio.shield(self._ending)

    def end(self, code: CloseCode, reason: str) -> asyncio.Task[None]:
        """Close the connection; the first reason counts."""
        if self._ending is None:
            CLOSED.labels(str(code.value)).inc()
            self._leave_all()
            self._ending = asyncio.create_task(self._close(code, reason))
        return self._ending

    def look(self) -> None:
        """Once a second: whether something is due."""
        now_s, limits = self._now_s(), self._limits
        if self._ending is not None:
            return
        if self._who is None:
            if now_s - self._began_s >= limits.auth_s:
                self.end(CloseCode.NO_AUTH, "no auth message came in time")
        elif now_s - self._heard_s >= limits.silence_s:
            self.end(CloseCode.IDLE, "nothing was heard of you")
        elif self.client.stuck_s >= limits.stuck_s or self.client.is_overfull:
            self.end(CloseCode.IDLE, "you do not read")
        elif self._is_expired(self._who):
            self.end(CloseCode.NO_AUTH, "the credential is too old")
        else:
            if now_s - max(self._pinged_s, self._heard_s) >= limits.ping_s:
                self._pinged_s = now_s
                self.client.ping()
            self.client.tell_dropped()
            if now_s >= self._check_due_s and (self._check is None or self._check.done()):
                self._check = asyncio.create_task(self._check_access())

    async def _close(self, code: CloseCode, reason: str) -> None:
        """Say so, and wait a little for the answer; who does not read is cut off."""
        transport = self._request.transport
        if self.client.stuck_s > 0.0 and transport is not None:
            transport.abort()
        with suppress(TimeoutError, ClientConnectionError, ConnectionError, RuntimeError):
            async with asyncio.timeout(self._limits.close_s + 1.0):
                await self._socket.close(code=code, message=reason.encode())
        if transport is not None and not transport.is_closing():
            transport.close()

    async def _hear(self, received: WSMessage) -> None:
        if received.type is WSMsgType.PONG:
            return
        if not self._may_speak():
            self.end(CloseCode.LIMIT, "too many messages")
        elif received.type is WSMsgType.PING:
            await self._socket.pong(received.data)
        elif received.type is not WSMsgType.TEXT:
            self.end(CloseCode.BAD_MESSAGE, "send text")
        else:
            try:
                said = read_message(received.data)
            except MessageError as error:
                # A reason may have 123 bytes. RFC 6455, section 5.5.
                text = str(error).encode()[:120].decode(errors="ignore")
                self.end(CloseCode.BAD_MESSAGE, text)
                return
            if isinstance(said, Auth):
                await self._authenticate(said.token)
            elif self._who is None:
                self.end(CloseCode.NO_AUTH, "say who you are first")
            elif isinstance(said, Subscribe):
                await self._subscribe(said)
            elif isinstance(said, Unsubscribe):
                self._unsubscribe(said.channels)
                self._tell_channels("unsubscribed")
            else:
                self.client.tell(message("pong"))

    def _may_speak(self) -> bool:
        now_s, limits = self._now_s(), self._limits
        gained = (now_s - self._budget_s) * limits.messages_per_s
        self._budget_s = now_s
        self._budget = min(float(limits.messages_burst), self._budget + gained) - 1
        return self._budget >= 0

    async def _authenticate(self, token: str) -> None:
        try:
            who = await identify(self._request.app, token, self._project_id)
        except ApiError as error:
            await self._refuse(error)
            return
        except RetryableError:
            self.end(CloseCode.TRY_LATER, "it cannot be told who you are; try again later")
            return
        if self._ending is not None or not self._is_let_in(who):
            return
        if self._who is None:
            if not self._seats.take(who.subject, self._project_id):
                self.end(CloseCode.LIMIT, f"you have {self._limits.per_subject} connections")
                return
        elif who.subject != self._who.subject:
            self.end(CloseCode.NO_AUTH, "renew with a credential of the same account")
            return
        is_new = self._who is None
        self._token = token
        self._note(who)
        self.client.tell(message("auth.ok", {"role": (who.role or Access.PUBLIC).name.lower()}))
        if is_new:
            self._join(Channel.METRICS)

    async def _refuse(self, error: ApiError) -> None:
        """A failed credential counts against its address, as everywhere."""
        try:
            await take_for_address(self._request, PER_ADDRESS)
        except ApiError:
            self.end(CloseCode.LIMIT, "too many failed credentials")
            return
        assert STATUS[error.code] == 401
        is_old = error.code is ErrorCode.TOKEN_EXPIRED
        self.end(CloseCode.NO_AUTH, "the credential is " + ("too old" if is_old else "unknown"))

    def _is_let_in(self, who: Identified) -> bool:
        """Whether they may read here; what is no project and what is not theirs look the same."""
        if who.role is None or who.role < Access.VIEWER or "read" not in who.scopes:
            self.end(CloseCode.NO_ACCESS, "you may not read this project")
            return False
        if self._is_expired(who):
            self.end(CloseCode.NO_AUTH, "the credential is too old")
            return False
        return True

    def _is_expired(self, who: Identified) -> bool:
        now_ms = self._request.app[SERVICES].now_ms()
        return who.expires_at_ms is not None and who.expires_at_ms <= now_ms

    def _note(self, who: Identified) -> None:
        self._who = who
        self._checked_s = self._now_s()
        self._check_due_s = self._checked_s + self._limits.recheck_s
        if Channel.ALERTS in self._channels and not self._may_have(Channel.ALERTS):
            self._unsubscribe([Channel.ALERTS])
            self._tell_forbidden()

    async def _check_access(self) -> None:
        """Whether the credential is still good and the role still there."""
        token = self._token
        try:
            async with self._seats.checking:
                who = await identify(self._request.app, token, self._project_id)
        except ApiError:
            if token == self._token:
                self.end(CloseCode.NO_AUTH, "the credential is no longer good")
        except RetryableError:
            now_s = self._now_s()
            self._check_due_s = now_s + self._limits.recheck_retry_s
            if now_s - self._checked_s >= self._limits.recheck_grace_s:
                self.end(CloseCode.TRY_LATER, "it cannot be told who you are; try again later")
        else:
            if token == self._token and self._ending is None and self._is_let_in(who):
                self._note(who)

    async def _subscribe(self, said: Subscribe) -> None:
        wanted = list(dict.fromkeys(said.channels))
        if Channel.ALERTS in wanted and not self._may_have(Channel.ALERTS):
            wanted.remove(Channel.ALERTS)
            self._tell_forbidden()
        # Events are read only while somebody is there, so who wants them comes in first.
        is_begun = Channel.EVENTS in wanted and not self._hub.is_current(Channel.EVENTS)
        if is_begun:
            self._join(Channel.EVENTS)
        is_current = await self._hub.wait_until_current(wanted)
        if self._ending is not None:
            return
        last: MessageId | None = None
        missed: dict[Channel, list[bytes] | None] = {}
        late = [channel for channel in wanted if not self._hub.is_current(channel)]
        if said.last_id is not None:
            self._budget -= RESUME_COST - 1
            last = MessageId.read(said.last_id)
            missed = {
                channel: self._hub.missed(self._owner, channel, last)
                for channel in wanted
                if channel not in late
            }
        for channel in wanted:
            self._join(channel)
        for channel in late:
            self._hub.send_later(self.client, self._owner, channel, last)
        self._tell_channels("subscribed")
        gaps = [channel for channel, bodies in missed.items() if bodies is None]
        if gaps:
            self.client.tell(gap_message(gaps))
        for channel, bodies in missed.items():
            self.client.replay(channel, bodies or ())
        if not is_current or not self._hub.is_up:
            self.client.tell(self._hub.unavailable())

    def _tell_channels(self, kind: str) -> None:
        """What is sent now, and where that begins for who has got nothing yet."""
        names = [channel for channel in Channel if channel in self._channels]
        self.client.tell(message(kind, {"channels": names}, position=self._hub.position()))

    def _tell_forbidden(self) -> None:
        text = "alerts are for members of the project and above"
        self.client.tell(error_message(ErrorCode.FORBIDDEN, text))

    def _may_have(self, channel: Channel) -> bool:
        least = Access.MEMBER if channel is Channel.ALERTS else Access.VIEWER
        return self._who is not None and (self._who.role or Access.PUBLIC) >= least

    def _join(self, channel: Channel) -> None:
        if channel not in self._channels:
            self._channels.add(channel)
            self._hub.join(self.client, self._owner, channel)

    def _unsubscribe(self, channels: list[Channel]) -> None:
        for channel in self._channels.intersection(channels):
            self._channels.remove(channel)
            self._hub.leave(self.client, self._owner, channel)

    def _leave_all(self) -> None:
        self._unsubscribe(list(self._channels))
