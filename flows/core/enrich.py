"""What the server adds to an event: agent, place, campaign, referrer.

In: texts from the client. Out: small frozen records; unknown is empty, never an error. Pure: the
two look-ups that need data (user agents, addresses) are passed in as functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from schemas.lookups import ParsedAgent, Place


@dataclass(frozen=True, slots=True)
class Agent:
    """What a user-agent text says. `device_type` is desktop, tablet, mobile or empty."""

    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device_type: str = ""
    is_bot: bool = False


class Campaign(NamedTuple):
    """The five utm parameters of a URL; source and medium in lower case."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    term: str = ""
    content: str = ""


NO_CAMPAIGN = Campaign()
AgentParser = Callable[[str], ParsedAgent]
PlaceFinder = Callable[[str], Place]


@lru_cache(maxsize=16_384)
def campaign_of(url: str) -> Campaign:
    """Read the utm parameters of a URL; without any, all fields are empty."""
    if "utm_" not in url:
        return NO_CAMPAIGN
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=200)
    except ValueError:
        return NO_CAMPAIGN
    # The first of a repeated parameter counts: it is the one that the link's author wrote.
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name.lower(), value.strip())
    return Campaign(
        source=query.get("utm_source", "").lower(),
        medium=query.get("utm_medium", "").lower(),
        campaign=query.get("utm_campaign", ""),
        term=query.get("utm_term", ""),
        content=query.get("utm_content", ""),
    )


@lru_cache(maxsize=16_384)
def host_of(url: str) -> str:
    """The host name in lower case without `www.` and port; empty if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")


def referrer_domain_of(referrer: str, url: str) -> str:
    """The foreign site that led here; empty for none and for the site itself."""
    domain = host_of(referrer)
    return "" if domain == host_of(url) else domain


def declared_domain(text: str) -> str:
    """A referring host as a client names it, in the form of `host_of`: one site is one source."""
    return host_of(text if "//" in text else f"//{text}")


@lru_cache(maxsize=16_384)
def path_of(url: str) -> str:
    """The path of a URL, `/` for a bare host, empty if the text is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path or ("/" if parts.netloc else "")
