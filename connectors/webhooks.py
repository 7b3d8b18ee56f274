"""Sending webhooks: one signed POST, its answer understood, nothing else followed.

In: a URL that a user wrote, the secrets it was given, a message. Out: an `Attempt`. Guarantees: the
target is checked when the connection is made (`connectors.outbound_guard`); an answer is waited for
`TIMEOUT_S` in all, name, connection and headers included; redirects are not followed; of the answer
only status and `Retry-After` are looked at, its body is never read, so that nobody can read through
us or fill our memory. Source: alerting.md, sections 6 and 7.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import ClientConnectorError, ClientError, ClientSession

from connectors.outbound_guard import (
    NoAddressError,
    OutboundGuard,
    RefusedAddressError,
    RefusedTargetError,
)
from connectors.sending import SENT, Attempt, Verdict, failed, retry
from connectors.webhook_signature import signature_headers

TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
USER_AGENT = "GoSight-Webhook/1.0"
# 408 and 425 ask for it; 429 and 5xx say that it is not about this message.
RETRY_STATUS = frozenset({408, 425, 429})
WAIT_MS_MAX = 3_600_000


class WebhookSender:
    """Sends; for one event loop, on which it must be made. Close it."""

    def __init__(
        self,
        guard: OutboundGuard,
        *,
        timeout_s: float = TIMEOUT_S,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._clock_s = clock_s
        self._timeout_s = timeout_s
        self._session: ClientSession = guard.session(timeout_s, min(timeout_s, CONNECT_TIMEOUT_S))

    async def close(self) -> None:
        """Drop what is open."""
        await self._session.close()

    async def send(
        self,
        url: str,
        secrets: Sequence[str],
        message_id: str,
        event: str,
        content: Mapping[str, Any],
    ) -> Attempt:
        """One attempt; `content` gets the body's `version`, `timestamp` and `event` in front.

        `message_id` is the same for every attempt of one message.
        """
        at_s = int(self._clock_s())
        body = msgspec.json.encode({"version": "1.0", "timestamp": at_s, "event": event, **content})
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **signature_headers(secrets, message_id, at_s, event, body),
        }
        try:
            target = self._guard.check_url(url)
            if target.scheme != "https":
                async with asyncio.timeout(self._timeout_s):
                    await self._guard.check_names(url)  # Only allowed networks may have it plain.
            async with self._session.post(
                target, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return attempt_of(answer.status, answer.headers, self._clock_s())
        except NoAddressError as error:
            return retry(f"no connection: {error}")
        except (RefusedTargetError, RefusedAddressError) as error:
            return failed(f"refused: {error}")
        except ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddressError):
                return failed(f"refused: {error.os_error}")
            return retry(f"no connection: {type(error).__name__}")
        except TimeoutError:
            return retry("no answer in time")
        except (ClientError, OSError, asyncio.IncompleteReadError) as error:
            return retry(f"no answer: {type(error).__name__}")


def attempt_of(status: int, headers: Mapping[str, str], now_s: float) -> Attempt:
    """What an answer means."""
    if 200 <= status < 300:
        return SENT if status == SENT.status else Attempt(Verdict.SENT, status)
    if status in RETRY_STATUS or status >= 500:
        wait_ms = retry_after_ms(headers.get("Retry-After", ""), now_s)
        return retry(f"answered {status}", status, wait_ms)
    if status == 410:
        return Attempt(Verdict.GONE, status, "answered 410: the target is gone")
    if 300 <= status < 400:
        return failed(f"answered {status}: redirects are not followed", status)
    return failed(f"answered {status}", status)


def retry_after_ms(text: str, now_s: float) -> int | None:
    """How long `Retry-After` asks to wait, an hour at most; None if it cannot be read.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:12]) * 1000, WAIT_MS_MAX)
    try:
        until_s = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0, round((until_s - now_s) * 1000)), WAIT_MS_MAX)
