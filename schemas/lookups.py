"""What look-ups give back: a parsed user agent and a place. Unknown is empty, never an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParsedAgent:
    """What the public uap-core rules say of one user-agent text."""

    text: str = ""
    browser: str = ""
    browser_version: str = ""
    system: str = ""
    system_version: str = ""
    device_family: str = ""
    device_model: str = ""
    device_brand: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is; names in English, code by ISO 3166-1."""

    country: str = ""
    country_code: str = ""
    region: str = ""
    city: str = ""


UNKNOWN_PLACE = Place()
