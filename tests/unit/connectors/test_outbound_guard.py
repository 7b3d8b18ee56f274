"""Targets that must not be connected to, at registration and at the moment of connecting."""

from __future__ import annotations

import asyncio
import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import ClientError

from connectors import outbound_guard
from connectors.outbound_guard import (
    NoAddressError,
    OutboundGuard,
    RefusedAddressError,
    RefusedTargetError,
    is_refused,
    literal_address,
)
from connectors.sending import Verdict
from connectors.settings import read_networks
from connectors.webhooks import WebhookSender
from flows.alert_sender import AT_ONCE_MAX
from tests.alert_receivers import OK, Answer, receiver

GUARD = OutboundGuard()
LOOPBACK = OutboundGuard(read_networks("127.0.0.0/8"))
BAD_ADDRESSES = (
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.1.2.3", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2001:db8::1", "2001::1", "2002:7f00:1::", "64:ff9b:1::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1", "::ffff:0:127.0.0.1",
)  # fmt: skip
GOOD_ADDRESSES = ("8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111",
                  "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::808:808")  # fmt: skip


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_addresses_that_are_not_public_are_refused(text: str) -> None:
    """As addresses, and as hosts of URLs."""
    assert is_refused(ip_address(text))
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(RefusedTargetError):
        GUARD.check_url(f"https://{host}/hook")


@pytest.mark.parametrize("text", GOOD_ADDRESSES)
def test_public_addresses_are_taken(text: str) -> None:
    """The guard is not a wall."""
    assert not is_refused(ip_address(text))
    host = f"[{text}]" if ":" in text else text
    assert GUARD.check_url(f"https://{host}/hook").port == 443


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "017700000001",
     "0x7f.0x0.0x0.0x1", "10.1", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]",
     "[fe80::1%25eth0]",
     "localhost", "LOCALHOST.", "a.localhost", "printer.local", "metadata.google.internal",
     "router.home.arpa"],
)  # fmt: skip
def test_other_spellings_are_refused(host: str) -> None:
    """Addresses as numbers of any base, short, mapped or with a zone; names of the machine."""
    with pytest.raises(RefusedTargetError):
        GUARD.check_url(f"https://{host}/hook")


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
     "https://", "https:///x", "//example.com/x", "example.com/x", "", "https://example.com:22/",
     "https://example.com:6379/", "https://example.com:99999/", "https://a:b@example.com/",
     "https://user@example.com/", "https://example.com/\r\nHost: evil", "https://exa mple.com/",
     "https://" + "a" * 3000, "https://" + "a." * 200 + "com/", "https://[]]@",
     "https://[::1]]@/"],
)  # fmt: skip
def test_bad_urls_are_refused(url: str) -> None:
    """Other schemes and ports, users in URLs, control characters, what is too long."""
    with pytest.raises(RefusedTargetError):
        GUARD.check_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/a?b=c#d", "https://example.com:8443/", "https://xn--bcher-kva.ch/"]
)
def test_usual_urls_are_taken(url: str) -> None:
    """Receivers as people have them."""
    assert GUARD.check_url(url).scheme == "https"


def test_names_are_not_numbers() -> None:
    """What only looks like a number is a name."""
    assert literal_address("abc") is None
    assert literal_address("1.2.3.4.5") is None
    assert literal_address("dead.beef") is None
    assert literal_address("face.example.com") is None
    assert literal_address("127.1") == ip_address("127.0.0.1")


def test_networks_are_read() -> None:
    """An empty list allows nothing, a wrong one is told."""
    assert read_networks("") == ()
    assert len(read_networks("10.0.0.0/8, ::1")) == 2
    with pytest.raises(ValueError, match="99"):
        read_networks("10.0.0.0/99")


def test_allowed_networks_are_taken() -> None:
    """With http and any port, mapped or not; others stay refused."""
    assert LOOPBACK.check_url("http://127.0.0.1:9/").port == 9
    assert LOOPBACK.is_allowed(ip_address("::ffff:127.0.0.1"))
    with pytest.raises(RefusedTargetError):
        LOOPBACK.check_url("http://10.0.0.1/")
    with pytest.raises(RefusedTargetError):
        LOOPBACK.check_url("http://8.8.8.8/")


class Names:
    """A resolver that answers each question from a list, the last answer for ever."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        """As `socket.getaddrinfo`."""
        if not host.endswith(".test"):
            return real_getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "",
             (text, port, 0, 0) if ":" in text else (text, port))
            for text in addresses
        ]  # fmt: skip


real_getaddrinfo = socket.getaddrinfo


async def test_names_are_refused_for_one_bad_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """At registration: a good address beside a bad one does not save the name."""
    monkeypatch.setattr(socket, "getaddrinfo", Names(("8.8.8.8", "10.0.0.1")))
    with pytest.raises(RefusedTargetError, match=r"10\.0\.0\.1"):
        await GUARD.check_names("https://two.test/")
    monkeypatch.setattr(socket, "getaddrinfo", Names(("8.8.8.8", "2606:4700::1111")))
    assert (await GUARD.check_names("https://two.test/")).host == "two.test"


async def test_a_name_without_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At registration a typing error is told."""

    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(RefusedTargetError, match="no address"):
        await GUARD.check_names("https://nobody.test/")


async def test_names_that_nobody_answers_for_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many of them as there are messages under way; they themselves are given up in time."""
    is_over = threading.Event()

    def answer(host: str, port: int, **_: Any) -> list[Any]:
        if host.startswith("hangs"):
            is_over.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(outbound_guard, "LOOKUP_TIMEOUT_S", 1.0)
    hanging = [
        asyncio.create_task(GUARD.check_names(f"https://hangs-{number}.test/"))
        for number in range(AT_ONCE_MAX)
    ]
    try:
        await asyncio.sleep(0.1)
        assert (await GUARD.check_names("https://good.test/")).host == "good.test"
        found = await asyncio.gather(*hanging, return_exceptions=True)
        assert {type(one) for one in found} == {NoAddressError}
    finally:
        is_over.set()


async def test_a_name_that_has_no_address_now_may_have_one_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver in a network of the operator's own that is being started again."""

    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for url in ("http://receiver.test:8080/hook", "https://receiver.test/hook"):
        attempt = await post(LOOPBACK, url)
        assert (attempt.verdict, attempt.error[:13]) == (Verdict.RETRY, "no connection")


async def post(guard: OutboundGuard, url: str) -> Any:
    """One webhook through a guard."""
    sender = WebhookSender(guard, timeout_s=2.0)
    try:
        return await sender.send(url, (), "id", "alert.test", {})
    finally:
        await sender.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_dialling_checks_again(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A name that was good when it was saved and is not any more is not connected to."""
    monkeypatch.setattr(socket, "getaddrinfo", Names((address,)))
    attempt = await post(GUARD, "https://moved.test/")
    assert attempt.verdict is Verdict.FAILED
    assert "not a public address" in attempt.error


async def test_rebinding_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked once a connection, and what is dialled is what was checked."""
    names = Names(("8.8.8.8",), ("127.0.0.1",))
    monkeypatch.setattr(socket, "getaddrinfo", names)
    await GUARD.check_names("https://rebinding.test/")
    attempt = await post(GUARD, "https://rebinding.test/")
    assert attempt.verdict is Verdict.FAILED
    assert "127.0.0.1" in attempt.error


async def test_the_socket_is_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the check of the name is passed by, no socket is made for a refused address."""
    monkeypatch.setattr(OutboundGuard, "check_addresses", lambda *_: None)
    monkeypatch.setattr(socket, "getaddrinfo", Names(("127.0.0.1",)))
    async with receiver(OK) as target:
        attempt = await post(GUARD, f"https://passed-by.test:{target.url.rpartition(':')[2]}/")
        assert attempt.verdict is Verdict.FAILED
        monkeypatch.setattr(outbound_guard, "PORTS", frozenset({int(target.url.split(":")[2])}))
        attempt = await post(GUARD, f"https://passed-by.test:{target.url.rpartition(':')[2]}/")
        assert attempt.verdict is Verdict.FAILED
        assert "127.0.0.1 is not a public address" in attempt.error
        assert target.received == []
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 22))
    with pytest.raises(RefusedAddressError, match="port 22"):
        GUARD._checked_socket(info)


async def test_a_literal_cannot_be_dialled() -> None:
    """The client's own way with literals, which asks no resolver, is closed as well."""
    async with receiver(OK) as target:
        session = GUARD.session(2.0, 2.0)
        try:
            with pytest.raises((ClientError, OSError)):
                await session.post(target.url)
        finally:
            await session.close()
        assert target.received == []


async def test_redirects_are_not_followed() -> None:
    """A target that sends us elsewhere has failed; the elsewhere hears nothing."""
    async with receiver(OK) as inner:
        there = Answer(307, {"Location": f"{inner.url}/secret"})
        async with receiver(there) as outer:
            attempt = await post(LOOPBACK, outer.url)
    assert attempt.verdict is Verdict.FAILED
    assert attempt.status == 307
    assert inner.received == []


async def test_plain_http_stays_within_allowed_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may be plain only if all its addresses are allowed."""
    monkeypatch.setattr(socket, "getaddrinfo", Names(("8.8.8.8",)))
    attempt = await post(LOOPBACK, "http://public.test/")
    assert attempt.verdict is Verdict.FAILED
    async with receiver(OK) as target:
        monkeypatch.setattr(socket, "getaddrinfo", Names(("127.0.0.1",)))
        port = target.url.rpartition(":")[2]
        attempt = await post(LOOPBACK, f"http://inner.test:{port}/")
        assert attempt.verdict is Verdict.SENT
