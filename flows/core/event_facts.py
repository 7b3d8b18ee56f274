"""What stored rows and sessions alike read from the pages and devices of events.

In: open messages of one event. Out: plain values. Pure; `AgentParser` is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flows.core.agents import agent_of, merge_client_agent
from flows.core.enrich import (
    Agent,
    AgentParser,
    campaign_of,
    declared_domain,
    path_of,
    referrer_domain_of,
)
from schemas.codec import CodecError, event_identity
from schemas.identifiers import are_canonical_uuids, is_canonical_uuid
from schemas.records import RETENTION_DAYS_MAX
from schemas.v1.closed_pb2 import ClosedEvent, ClosedRawBatch
from schemas.v1.common_pb2 import DeviceInfo, DeviceType, PageContext
from schemas.v1.events_pb2 import Event, SessionStartPayload

CACHE_ENTRIES = 50_000
TIME_MS_END = 4_102_444_800_000  # The year 2100.

UNKNOWN_DEVICE_TYPE = "desktop"  # What events say of which nothing is known.
# Values of `event_columns.PAGE_TYPES`, in its order.
PageFacts = tuple[str, ...]

_DEVICE_NAMES = {
    DeviceType.DEVICE_TYPE_UNSPECIFIED: "",
    DeviceType.DEVICE_TYPE_DESKTOP: "desktop",
    DeviceType.DEVICE_TYPE_TABLET: "tablet",
    DeviceType.DEVICE_TYPE_MOBILE: "mobile",
}


def check_facts(raw: ClosedRawBatch) -> None:
    """See that a record has what the gateway stamps into it.

    Raises:
        CodecError: it has not, or out of bounds.
    """
    if not raw.project_id or not 0 < raw.received_at_ms < TIME_MS_END:
        raise CodecError("the record lacks the gateway's facts")
    if not 0 <= raw.retain_days <= RETENTION_DAYS_MAX or raw.event_count < 0:
        raise CodecError("the record's facts are out of their bounds")


def identities(raw: ClosedRawBatch, events: Sequence[ClosedEvent]) -> list[str]:
    """The id to store for each of a record's events."""
    event_ids = [event.event_id for event in events]
    if not are_canonical_uuids(event_ids):
        for place, event in enumerate(events):
            if not is_canonical_uuid(event_ids[place]):
                opened = Event.FromString(event.SerializeToString())
                event_ids[place] = event_identity(raw, opened)
    return event_ids


def page_facts(page: PageContext) -> PageFacts:
    """URL, path, title, referrer, its domain and the five utm fields of the URL."""
    url, referrer = page.url, page.referrer
    return (
        url,
        page.path or path_of(url),
        page.title,
        referrer,
        referrer_domain_of(referrer, url),
        *campaign_of(url),
    )


class Campaigned(Protocol):
    """What declares a campaign: a session_start payload, open or as stored."""

    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_term: str
    utm_content: str


def declared_campaign(payload: Campaigned) -> tuple[str, str, str, str, str]:
    """The five utm fields that a session_start declares; empty where it does not."""
    return (
        payload.utm_source.strip().lower(),
        payload.utm_medium.strip().lower(),
        payload.utm_campaign.strip(),
        payload.utm_term.strip(),
        payload.utm_content.strip(),
    )


def with_declared(page: PageFacts, payload: SessionStartPayload) -> PageFacts:
    """The page with what session_start declares; field by field the URL's where it does not."""
    url, path, title, referrer, domain, *from_url = page
    if payload.entry_url and not any(from_url):
        from_url = list(campaign_of(payload.entry_url))
    declared = declared_campaign(payload)
    if any(declared):
        from_url = [mine or theirs for mine, theirs in zip(declared, from_url, strict=True)]
    referrer_domain = declared_domain(payload.referrer_domain) or domain
    return (url, path, title, referrer, referrer_domain, *from_url)


def device_agent(device: DeviceInfo, request_agent: str, parse_agent: AgentParser) -> Agent:
    """Browser, system and class of a device; the request's agent stands in for its own."""
    parsed = agent_of(parse_agent(device.user_agent or request_agent))
    client = Agent(
        device.browser,
        device.browser_version,
        device.os,
        device.os_version,
        _DEVICE_NAMES.get(device.device_type, ""),
    )
    return merge_client_agent(parsed, client)


def remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep a pure result in a cache of at most `CACHE_ENTRIES`."""
    if len(cache) >= CACHE_ENTRIES:
        cache.clear()
    cache[key] = value
