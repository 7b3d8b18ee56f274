"""Recorded traffic, moved to the present.

In: files of recorded requests (see samples/README.md) and the moment at which the recording shall
end. Out: `Delivery`s in order of arrival, ready to be posted. Event times are first corrected by
the recorder's own clock error (as the gateway would have done), then shifted by one constant, so
that they are truthful in the clock of this machine; `sent_at` is written at the moment of sending,
as the offline queue of a browser does, and no correction is left to be done.
Each run has a namespace of its own: ids of events, sessions and page views are derived from it and
the recorded id, so that a second run is new traffic and not a repetition of the first.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import msgspec

# Smaller differences are the way through the network. Source: events.md, section 6.
SKEW_MS_MIN = 2_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to the gateway. Those with equal `lane` must be sent one after the other."""

    lane: str
    client_ip: str
    user_agent: str
    batch: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def event_count(self) -> int:
        """Events in the request."""
        return len(self.batch["events"])

    def body(self, project_key: str, sent_at_ms: int) -> bytes:
        """The JSON body as sent at `sent_at_ms`."""
        return msgspec.json.encode(
            {**self.batch, "project_key": project_key, "sent_at": sent_at_ms}
        )


def read_recording(path: Path, *, ends_at_ms: int, namespace: UUID) -> list[Delivery]:
    """Read one file of requests and move it so that its last request arrives at `ends_at_ms`.

    Raises:
        OSError: the file cannot be read.
    """
    lines = list(_lines(path))
    shift_ms = ends_at_ms - max(line["received_at_ms"] for line in lines)
    return [_delivery(line, shift_ms, namespace) for line in lines]


def read_recordings(
    paths: Sequence[Path], *, ends_at_ms: int, apart_ms: int, namespace: UUID
) -> list[Delivery]:
    """Read several files; each ends `apart_ms` before the one before it."""
    deliveries: list[Delivery] = []
    for index, path in enumerate(paths):
        end = ends_at_ms - index * apart_ms
        deliveries += read_recording(path, ends_at_ms=end, namespace=namespace)
    return deliveries


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rb") as file:
        for line in file:
            yield msgspec.json.decode(line)


def _delivery(line: dict[str, Any], shift_ms: int, namespace: UUID) -> Delivery:
    batch = line["batch"]
    skew_ms = line["received_at_ms"] - batch["sent_at"]
    move_ms = shift_ms + (skew_ms if abs(skew_ms) > SKEW_MS_MIN else 0)
    events = [_moved_event(event, move_ms, namespace) for event in batch["events"]]
    return Delivery(
        lane=events[0]["session_id"],
        client_ip=line["client_ip"],
        user_agent=line["user_agent"],
        batch={**batch, "events": events},
    )


def _moved_event(event: dict[str, Any], move_ms: int, namespace: UUID) -> dict[str, Any]:
    moved = {**event, "timestamp": event["timestamp"] + move_ms}
    for field in ("event_id", "session_id", "page_view_id"):
        if moved.get(field):
            moved[field] = str(uuid5(namespace, moved[field]))
    payload = moved.get("payload")
    if payload and payload.get("click_event_id"):
        click = str(uuid5(namespace, payload["click_event_id"]))
        moved["payload"] = {**payload, "click_event_id": click}
    return moved
