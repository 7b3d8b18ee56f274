"""The demonstration's work: send the samples, wait until all is stored, read the reports.

In: the addresses of a running machine. Out: a `DemoResult` for this run alone: the ledger is read
before and after, so that earlier runs in the same data folder do not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from cli.bad_events import bad_deliveries
from cli.machine import Addresses
from cli.recording import Delivery, read_recording, read_recordings
from cli.sending import Answered, SendingError, send_all
from samples import TRAFFIC, scene_files

# Every so many-th request is sent a second time, as a browser does that heard no answer.
REPEATED_EVERY = 25
SCENES_APART_MS = 7 * 60_000
STORED_TIMEOUT_S = 120.0
POLL_S = 0.25
_REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent: visits first, then what was repeated and what is bad."""

    visits: list[Delivery]
    repeated: list[Delivery]
    bad: list[Delivery]

    @property
    def event_count(self) -> int:
        """Events in all requests."""
        return sum(item.event_count for item in (*self.visits, *self.repeated, *self.bad))


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What became of the run's events, and the project's reports after it."""

    accepted: int
    stored: int
    duplicates: int
    rejected_by_reason: Mapping[str, int]
    is_balanced: bool
    overview: Mapping[str, Any]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Every event is accounted for, and what was accepted is stored once."""
        return self.is_balanced and self.accepted == self.stored + self.duplicates

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        charts = self.overview["charts"]
        lag_ms = self.overview["freshness"]["lag_ms_p99"]
        return {
            "accepted": self.accepted,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "rejected": sum(self.rejected_by_reason.values()),
            "rejected_by_reason": dict(self.rejected_by_reason),
            "ledger_balanced": self.is_balanced,
            "top_pages": charts["top_pages"],
            "browsers": charts["top_browsers"],
            "countries": charts["countries"],
            "hourly": charts["hourly"],
            "freshness_seconds": None if lag_ms is None else round(lag_ms / 1000, 3),
            "seconds": round(self.seconds, 1),
        }


def load_traffic(now_ms: int, namespace: UUID) -> Traffic:
    """The samples, moved so that they end now, under ids of this run."""
    visits = read_recordings(
        scene_files(), ends_at_ms=now_ms, apart_ms=SCENES_APART_MS, namespace=namespace
    )
    visits += read_recording(TRAFFIC, ends_at_ms=now_ms, namespace=namespace)
    bad = [delivery for _, delivery in bad_deliveries(now_ms, namespace)]
    return Traffic(visits, visits[::REPEATED_EVERY], bad)


class StillMissingError(Exception):
    """Not everything was stored in time; the text says how much is missing."""


async def run_demo(
    addresses: Addresses, traffic: Traffic, on_sent: Callable[[int], None]
) -> DemoResult:
    """Send, wait, read.

    Raises:
        SendingError: the gateway refuses a whole request or does not answer.
        StillMissingError: events are not stored in time.
    """
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S)
    headers = {"X-GoSight-Key": addresses.read_key}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        before = await _ledger(session, addresses)
        answers = [
            await send_all(addresses.gateway, addresses.write_key, part, on_sent)
            for part in (traffic.visits, traffic.repeated, traffic.bad)
        ]
        after = await _wait_until_stored(session, addresses, before, answers)
        overview = await _get(session, addresses, "overview")
    old = before["rejected_by_reason"]
    reasons = {
        name: count - old.get(name, 0)
        for name, count in after["rejected_by_reason"].items()
        if count > old.get(name, 0)
    }
    return DemoResult(
        accepted=sum(answer.accepted for answer in answers),
        stored=after["stored"] - before["stored"],
        duplicates=after["duplicate"] - before["duplicate"],
        rejected_by_reason=reasons,
        is_balanced=after["balanced"] and after["matches_rows"],
        overview=overview,
        seconds=time.monotonic() - began,
    )


async def _wait_until_stored(
    session: aiohttp.ClientSession,
    addresses: Addresses,
    before: Mapping[str, Any],
    answers: list[Answered],
) -> Mapping[str, Any]:
    """The ledger once it has booked everything that was answered, or when time is up."""
    expected = sum(answer.accepted + answer.rejected for answer in answers)
    deadline = time.monotonic() + STORED_TIMEOUT_S
    while True:
        after = await _ledger(session, addresses)
        missing = expected - (after["received"] - before["received"])
        if missing <= 0 and after["balanced"] and after["matches_rows"]:
            return after
        if time.monotonic() > deadline:
            if missing > 0:
                raise StillMissingError(
                    f"{missing:,} of {expected:,} events are not stored after "
                    f"{STORED_TIMEOUT_S:.0f} s; see logs/storage.log in {addresses.data}"
                )
            return after
        await asyncio.sleep(POLL_S)


async def _ledger(session: aiohttp.ClientSession, addresses: Addresses) -> Mapping[str, Any]:
    ledger = await _get(session, addresses, "ledger")
    totals: Mapping[str, Any] = ledger["totals"]
    return totals


async def _get(
    session: aiohttp.ClientSession, addresses: Addresses, name: str
) -> Mapping[str, Any]:
    url = f"{addresses.api}/api/v1/projects/{addresses.project_id}/{name}"
    try:
        async with session.get(url, headers={"Cache-Control": "no-cache"}) as answer:
            document = await answer.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SendingError(f"the API does not answer ({type(error).__name__})") from error
    if not document["success"]:
        raise SendingError(f"the API answers {document['error']['code']} to {name}")
    data: Mapping[str, Any] = document["data"]
    return data
