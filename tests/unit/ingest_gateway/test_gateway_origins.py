"""Origins and client addresses: pure rules over header texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_gateway.origins import is_origin_allowed
from schemas.client_address import client_address, network_of
from schemas.domains import read_domain


@pytest.mark.parametrize(
    ("origin", "domains", "is_allowed"),
    [
        ("https://a.example", [], True),
        (None, ["a.example"], True),
        ("https://a.example", ["a.example"], True),
        ("https://A.Example", ["a.example"], True),
        ("https://a.example", ["A.EXAMPLE"], True),
        ("http://a.example:8080", ["a.example"], True),
        ("https://www.a.example", ["a.example"], False),
        ("https://www.a.example", ["*.a.example"], True),
        ("https://x.www.a.example", ["*.a.example"], True),
        ("https://a.example", ["*.a.example"], False),
        ("https://evil-a.example", ["*.a.example"], False),
        ("https://evil-a.example", ["a.example"], False),
        ("https://a.example.evil.example", ["a.example"], False),
        ("https://a.example@evil.example", ["a.example"], False),
        ("null", ["a.example"], False),
        ("", ["a.example"], False),
        ("https://[bad", ["a.example"], False),
        ("https://a.example:8443", ["https://a.example:8443"], True),
        ("https://a.example", ["https://a.example:8443"], False),
        ("https://b.example", ["a.example", "b.example"], True),
        ("https://a.example", ["*"], False),
    ],
)
def test_origin(origin: str | None, domains: list[str], is_allowed: bool) -> None:
    """A list allows its hosts, `*.` their sub-domains, and nothing that only looks like them."""
    assert is_origin_allowed(origin, domains) is is_allowed


@pytest.mark.parametrize(
    ("origin", "domain"),
    [
        ("https://a.example", "https://A.example:443/"),
        ("http://a.example", "http://a.example:80"),
        ("http://[::1]", "http://[::1]:80"),
        ("http://localhost:3000", "http://localhost:3000/"),
        ("http://localhost:3000", " localhost "),
        ("https://a.example:80", "https://a.example:80"),
        ("https://www.a.example", "*.A.Example."),
    ],
)
def test_a_domain_that_is_taken_allows_its_pages(origin: str, domain: str) -> None:
    """Browsers leave the usual port of a scheme out of an Origin; people do not."""
    assert is_origin_allowed(origin, [read_domain(domain)])


@given(origin=st.text(max_size=40), domain=st.text(max_size=20))
def test_origin_never_raises(origin: str, domain: str) -> None:
    """Whatever a client writes is decided."""
    assert is_origin_allowed(origin, [domain]) in (True, False)


@pytest.mark.parametrize(
    ("forwarded", "real_ip", "proxies", "address"),
    [
        (["8.8.8.8"], "8.8.4.4", 0, "10.0.0.1"),
        (["8.8.8.8, 203.0.113.9"], None, 1, "203.0.113.9"),
        (["8.8.8.8", "203.0.113.9"], None, 1, "203.0.113.9"),
        (["8.8.8.8, 203.0.113.9, 10.1.1.1"], None, 2, "203.0.113.9"),
        (["203.0.113.9"], None, 3, "203.0.113.9"),
        ([], "203.0.113.9", 1, "203.0.113.9"),
        ([], None, 1, "10.0.0.1"),
        (["203.0.113.9:5000"], None, 1, "203.0.113.9"),
        (["[2001:db8::1]:5000"], None, 1, "2001:db8::1"),
        (["2001:db8::1"], None, 1, "2001:db8::1"),
        (["<script>"], None, 1, ""),
        ([" , "], None, 1, "10.0.0.1"),
    ],
)
def test_client_address(
    forwarded: list[str], real_ip: str | None, proxies: int, address: str
) -> None:
    """Only what a trusted proxy wrote is believed."""
    assert client_address("10.0.0.1", forwarded, real_ip, proxies) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_a_network_is_what_one_client_holds(address: str, network: str) -> None:
    """Behind a proxy that listens on IPv6 for both kinds, too: one IPv4 client is not all."""
    assert network_of(address) == network


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(1, 4))
def test_client_address_is_an_address_or_nothing(lines: list[str], proxies: int) -> None:
    """No text of a client gets through as an address."""
    address = client_address("10.0.0.1", lines, None, proxies)
    assert set(address) <= set("0123456789abcdef.:%")
