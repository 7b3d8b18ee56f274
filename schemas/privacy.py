"""What a project's privacy policy does to addresses, pages and texts.

In: addresses, paths and events, and a `PrivacyPolicy`. Out: what may be kept of them. Pure.
Texts are masked by `Scrubber` (schemas.scrubber), which is offered here as well.
Source: privacy.md, sections 4 to 6.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from schemas.records import PrivacyPolicy
from schemas.scrubber import SCRUBBER_VERSION, Scrubber, scrubber_of

__all__ = [
    "IP_METHODS",
    "SCRUBBER_VERSION",
    "Scrubber",
    "is_blocked",
    "mask_ip",
    "path_matches",
    "scrubber_of",
]

IP_METHODS = ("full", "truncate", "hash", "remove")
IPV4_KEPT_BITS = 24
IPV6_KEPT_BITS = 48  # A household has a /56 or /64 of its own.
IP_TEXT_CHARS_MAX = 64  # The longest address with a zone is shorter.


@lru_cache(maxsize=16_384)
def mask_ip(text: str, method: str, secret: bytes, day: str) -> str:
    """An address in the form that the project allows; empty for what is no address.

    `method` is one of `IP_METHODS`. For `hash`, `secret` is the deployment's and `day` the UTC
    date: the same address gives another result on the next day. An IPv4 address written as IPv6
    (`::ffff:a.b.c.d`) counts as IPv4.

    Raises:
        ValueError: an unknown method.
    """
    if method not in IP_METHODS:
        raise ValueError("unknown method")
    address = _address_of(text.strip())
    if address is None or method == "remove":
        return ""
    if method == "full":
        return text.strip()
    if method == "hash":
        message = day.encode() + b"|" + address.packed
        return "anon_" + hmac.new(secret, message, hashlib.sha256).hexdigest()[:16]
    if isinstance(address, IPv4Address):
        dropped = 32 - IPV4_KEPT_BITS
        return str(IPv4Address(int(address) >> dropped << dropped))
    dropped = 128 - IPV6_KEPT_BITS
    return str(IPv6Address(int(address) >> dropped << dropped))


def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    if len(text) > IP_TEXT_CHARS_MAX:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def path_matches(glob: str, path: str) -> bool:
    """True if the whole path matches: `*` is any run of characters, `?` one, all else itself."""
    return _compile_glob(glob).fullmatch(path) is not None


@lru_cache(maxsize=1_024)
def _compile_glob(glob: str) -> re.Pattern[str]:
    # To take the first place where each piece fits is always right, except for the last piece,
    # which must stand at the end. Atomic groups say so: no glob makes the search explode.
    first, *rest = (
        "".join("." if letter == "?" else re.escape(letter) for letter in piece)
        for piece in re.split(r"\*+", glob)
    )
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def is_blocked(path: str, policy: PrivacyPolicy) -> bool:
    """True if the project wants nothing from this page.

    If there is an allow list, it alone decides; else the block list does.
    """
    if not policy.allow_urls and not policy.block_urls:
        return False
    return _is_listed_as_blocked(path, policy.allow_urls, policy.block_urls)


@lru_cache(maxsize=16_384)
def _is_listed_as_blocked(path: str, allow: tuple[str, ...], block: tuple[str, ...]) -> bool:
    if allow:
        return not any(path_matches(glob, path) for glob in allow)
    return any(path_matches(glob, path) for glob in block)
