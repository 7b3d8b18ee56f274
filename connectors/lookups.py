"""Data for enrichment: user-agent rules (ua-parser) and places (a MaxMind City database).

Both packages fall back to pure Python without a word when their compiled part is missing, and are
then 65 and 13 times slower; loading fails loudly instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from connectors.errors import FatalError
from schemas.lookups import UNKNOWN_PLACE, ParsedAgent, Place

CACHE_ENTRIES = 100_000  # Distinct addresses or agents remembered; about 50 MB when full.

LOOKUPS = Counter(
    "gosight_lookup_reads_total",
    "Look-ups that no cache could answer, by what was found.",
    ["lookup", "result"],
)


def load_agent_parser() -> Callable[[str], ParsedAgent]:
    """A cached user-agent parser on ua-parser's Rust resolver.

    Raises:
        FatalError: only the slow pure-Python resolver is installed.
    """
    if find_spec("ua_parser_rs") is None:
        raise FatalError(
            "ua-parser has no Rust resolver and would be 65 times slower; "
            "install it with `pip install 'ua-parser[regex]'`"
        )
    from ua_parser import Parser
    from ua_parser.loaders import load_builtins
    from ua_parser.regex import Resolver

    parser = Parser(Resolver(load_builtins()))

    @lru_cache(maxsize=CACHE_ENTRIES)
    def parse(text: str) -> ParsedAgent:
        result = parser.parse(text[:1024])
        LOOKUPS.labels("agent", "found" if result.user_agent else "unknown").inc()
        browser, system, device = result.user_agent, result.os, result.device
        return ParsedAgent(
            text=text,
            browser=browser.family if browser else "",
            browser_version=_version(browser),
            system=system.family if system else "",
            system_version=_version(system),
            device_family=device.family if device else "",
            device_model=(device.model or "") if device else "",
            device_brand=(device.brand or "") if device else "",
        )

    return parse


def _version(found: Any) -> str:
    if found is None:
        return ""
    parts = (found.major, found.minor, found.patch, getattr(found, "patch_minor", None))
    known = []
    for part in parts:
        if part is None:
            break
        known.append(part)
    return ".".join(known)


def load_place_reader(path: str | None) -> Callable[[str], Place]:
    """A cached look-up of addresses in a City database; without a path nothing is known.

    Raises:
        FatalError: the file cannot be read, is no City database, or the C extension is missing.
    """
    if not path:
        return lambda _address: UNKNOWN_PLACE
    import maxminddb

    if not Path(path).is_file():
        raise FatalError(f"GEOIP_DATABASE: there is no file {path}")
    try:
        reader = maxminddb.open_database(path, maxminddb.MODE_MMAP_EXT)
    except ValueError as error:
        raise FatalError(
            "maxminddb has no C extension and would be 13 times slower; "
            "install a wheel of maxminddb for this platform"
        ) from error
    except maxminddb.InvalidDatabaseError as error:
        raise FatalError(f"GEOIP_DATABASE: {path} is no MaxMind database: {error}") from error
    kind = reader.metadata().database_type
    if "City" not in kind:
        raise FatalError(f"GEOIP_DATABASE: {path} is a {kind} database, a City one is needed")

    @lru_cache(maxsize=CACHE_ENTRIES)
    def find(address: str) -> Place:
        try:
            found = reader.get(address)
        except ValueError:  # Not an address: masked to nothing, or hashed.
            return UNKNOWN_PLACE
        if not isinstance(found, dict):
            LOOKUPS.labels("place", "unknown").inc()
            return UNKNOWN_PLACE
        LOOKUPS.labels("place", "found").inc()
        return _place(found)

    return find


def _place(found: dict[str, Any]) -> Place:
    country = found.get("country") or found.get("registered_country") or {}
    regions = found.get("subdivisions") or [{}]
    return Place(
        country=_name(country),
        country_code=country.get("iso_code", ""),
        region=_name(regions[0]),
        city=_name(found.get("city") or {}),
    )


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("names", {}).get("en", "")
    return name if isinstance(name, str) else ""
