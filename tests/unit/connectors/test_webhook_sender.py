"""Webhooks on real sockets: signatures that others verify, and what each answer means."""

from __future__ import annotations

import base64
import socket
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from connectors.outbound_guard import OutboundGuard
from connectors.sending import Attempt, Verdict
from connectors.settings import read_networks
from connectors.webhook_signature import (
    new_secret,
    own_signature,
    signature_headers,
    signing_key,
)
from connectors.webhooks import WAIT_MS_MAX, WebhookSender, retry_after_ms
from tests.alert_receivers import HANG, OK, Answer, receiver

LOOPBACK = OutboundGuard(read_networks("127.0.0.0/8"))
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


async def post(url: str, secrets: tuple[str, ...] = (SECRET,), **settings: Any) -> Attempt:
    """One attempt."""
    sender = WebhookSender(LOOPBACK, **{"timeout_s": 2.0, **settings})
    try:
        return await sender.send(url, secrets, "5f0c", "alert.triggered", {"alert": {"id": "a<ü"}})
    finally:
        await sender.close()


def test_the_documented_vector_holds() -> None:
    """Secret, time and body of the document give the signature of the document."""
    assert own_signature("whsec_test", 1705761135, b'{"version":"1.0"}') == (
        "v1=3bb610085c12a96a21846249013fdcfcb43e25ea582459686c3040e2c05eb532"
    )


def test_the_vector_of_the_specification_holds() -> None:
    """The example of the Standard Webhooks repository."""
    headers = signature_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        "x",
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_official_library_verifies_what_arrives() -> None:
    """Over a real socket, with one secret and with two; a wrong secret or body is refused."""
    async with receiver(OK) as target:
        assert (await post(target.url, (SECRET, OTHER))).verdict is Verdict.SENT
    got = target.received[0]
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(got.body, got.headers)["event"] == "alert.triggered"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"triggered", b"resolved"), got.headers)
    assert got.headers["x-gosight-signature"] == ",".join(
        own_signature(secret, int(got.headers["x-gosight-timestamp"]), got.body)
        for secret in (SECRET, OTHER)
    )
    assert got.headers["webhook-id"] == got.headers["x-gosight-delivery"] == "5f0c"
    assert got.headers["x-gosight-event"] == "alert.triggered"
    assert got.headers["user-agent"] == "GoSight-Webhook/1.0"
    assert got.headers["content-type"] == "application/json"
    assert got.document["version"] == "1.0"
    assert abs(got.document["timestamp"] - time.time()) < 60
    assert got.document["alert"] == {"id": "a<ü"}


async def test_the_id_stays_and_the_time_moves() -> None:
    """Attempts of one message differ in time and signature only."""
    now_s = [1_700_000_000.0]
    async with receiver(OK) as target:
        for at_s in (1_700_000_000.0, 1_700_000_500.0):
            now_s[0] = at_s
            await post(target.url, clock_s=lambda: now_s[0])
    first, second = (got.headers for got in target.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 500
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_without_a_secret_nothing_is_signed() -> None:
    """No signature, rather than one with an empty key."""
    async with receiver(OK) as target:
        await post(target.url, ())
    assert "webhook-signature" not in target.received[0].headers
    assert "x-gosight-signature" not in target.received[0].headers


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=200), st.integers(0, 2**40))
def test_any_key_and_body_is_verified(key: bytes, body: bytes, offset: int) -> None:
    """The official library agrees about every key and every text."""
    text = body.decode("utf-8", "replace").encode()
    at_s = int(time.time()) - offset % 200
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = signature_headers([secret], "id", at_s, "x", text)
    Webhook(secret).verify(text, headers, json_parse=False)


def test_secrets_are_keys() -> None:
    """With prefix, without, without padding; what is not base64 stands for itself."""
    key = bytes(range(32))
    bare = base64.b64encode(key).decode()
    assert signing_key("whsec_" + bare) == signing_key(bare) == signing_key(bare.rstrip("=")) == key
    assert signing_key("not base64!") == b"not base64!"
    assert signing_key("whsec_") == b"whsec_"
    assert len(signing_key(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, Verdict.SENT), (204, Verdict.SENT), (202, Verdict.SENT), (301, Verdict.FAILED),
     (400, Verdict.FAILED), (401, Verdict.FAILED), (404, Verdict.FAILED), (408, Verdict.RETRY),
     (410, Verdict.GONE), (422, Verdict.FAILED), (425, Verdict.RETRY), (429, Verdict.RETRY),
     (500, Verdict.RETRY), (502, Verdict.RETRY), (503, Verdict.RETRY), (504, Verdict.RETRY)],
)  # fmt: skip
async def test_answers_mean_what_the_document_says(status: int, verdict: Verdict) -> None:
    """Each class of answers."""
    async with receiver(Answer(status)) as target:
        attempt = await post(target.url)
    assert attempt.verdict is verdict
    assert attempt.status == status


async def test_a_target_that_asks_for_time_gets_it() -> None:
    """Seconds or a date, an hour at most; nonsense is left alone."""
    async with receiver(Answer(503, {"Retry-After": "120"})) as target:
        attempt = await post(target.url)
    assert attempt.wait_ms == 120_000
    assert retry_after_ms("Wed, 21 Oct 2026 07:28:00 GMT", 1_792_567_620.0) == 60_000
    assert retry_after_ms("Wed, 21 Oct 1999 07:28:00 GMT", 1_792_567_620.0) == 0
    assert retry_after_ms("9" * 30, 0.0) == WAIT_MS_MAX
    for text in ("", "soon", "-5", "1.5", "٣"):
        assert retry_after_ms(text, 0.0) is None


async def test_hanging_targets_are_left() -> None:
    """One that says nothing costs the timeout and no more."""
    async with receiver(HANG) as target:
        began = time.monotonic()
        attempt = await post(target.url, timeout_s=0.3)
    assert attempt.verdict is Verdict.RETRY
    assert attempt.error == "no answer in time"
    assert time.monotonic() - began < 2


async def test_a_name_that_takes_long_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is asked for before anything is connected to."""
    ends = threading.Event()

    def look_up(*_: Any, **__: Any) -> list[Any]:
        ends.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    try:
        for url in ("http://slow.example/", "https://slow.example/"):
            attempt = await post(url, timeout_s=0.2)
            assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "no answer in time")
    finally:
        ends.set()
    assert time.monotonic() - began < 5


async def test_an_endless_body_is_not_read() -> None:
    """The status is enough; a body that never ends holds nobody up."""
    async with receiver(Answer(200, drips=True)) as target:
        began = time.monotonic()
        attempt = await post(target.url, timeout_s=5.0)
    assert attempt.verdict is Verdict.SENT
    assert time.monotonic() - began < 2


async def test_broken_connections_are_tried_again() -> None:
    """Refused, and closed in the middle."""
    async with receiver(Answer(closes=True)) as target:
        attempt = await post(target.url)
        url = target.url
    assert attempt.verdict is Verdict.RETRY
    gone = await post(url)
    assert gone.verdict is Verdict.RETRY
    assert gone.status is None


async def test_large_headers_are_refused() -> None:
    """A target cannot make us hold megabytes of header."""
    async with receiver(Answer(200, {"X-Large": "a" * 100_000})) as target:
        attempt = await post(target.url)
    assert attempt.verdict is Verdict.RETRY
