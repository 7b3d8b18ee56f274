"""Each event of a batch gets in or is refused with a reason; what gets in is cut and scrubbed.

In: a `Decoded` batch and its project. Out: a `Judged` batch: what goes on, what was refused and
why. Pure, but that it changes the batch in place. Whether an event is good is decided in
`schemas.validate`, shared with the flows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ingest_gateway.decode import Decoded, Faulty
from ingest_gateway.screen import Screen, screen_of
from schemas.clip import clip_sdk_version
from schemas.event_types import ERROR_TYPES
from schemas.privacy import Scrubber, scrubber_of
from schemas.reasons import RejectReason
from schemas.records import ProjectKey, ProjectSettings
from schemas.v1.events_pb2 import Event, EventType
from schemas.validate import clip_event, is_blocked_page, payloads_taken, validate_event

FAULTY_TEXT_BYTES_MAX = 8 * 1024  # privacy.md, section 5: as much as is scrubbed of one text.
REPLAY = int(EventType.EVENT_TYPE_REPLAY)


@dataclass(frozen=True, slots=True)
class Project:
    """What the gateway keeps ready for one key: its row and what judges by its settings."""

    key: ProjectKey
    settings: ProjectSettings
    scrubber: Scrubber
    screen: Screen
    payloads: Mapping[int, str | None]  # By type of event: the payload that it may carry.

    @classmethod
    def of(cls, key: ProjectKey, *, is_replay_enabled: bool = True) -> Project:
        """Prepare a key's project; compiling its patterns is worth keeping the result."""
        settings = key.settings
        if not is_replay_enabled and "replay" not in settings.disabled_categories:
            settings = ProjectSettings(
                disabled_categories=settings.disabled_categories | {"replay"},
                privacy=settings.privacy,
                retain_days=settings.retain_days,
                document=settings.document,
            )
        policy = settings.privacy
        return cls(key, settings, scrubber_of(policy), screen_of(policy), payloads_taken(settings))


class Refusal(NamedTuple):
    """One refused event. `original` is what arrived, scrubbed where it could be read."""

    place: int
    event_id: str
    session_id: str
    reason: RejectReason
    detail: str
    original: bytes
    kind: str  # event: protobuf bytes, json: JSON text


@dataclass(slots=True)
class Judged:
    """What became of a batch. The lists keep the order of the batch.

    `is_whole`: every event of the batch goes to the raw topic and they share one session, so that
    the batch can be passed on as one piece. `is_changed`: something was cut or scrubbed in it.
    """

    accepted: Sequence[Event]
    replay: list[tuple[int, Event]] = field(default_factory=list)  # (index, event)
    errors: list[Event] = field(default_factory=list)  # Also among `accepted`.
    refusals: list[Refusal] = field(default_factory=list)
    is_whole: bool = False
    is_changed: bool = False


def judge(decoded: Decoded, project: Project, received_at_ms: int, *, opted_out: bool) -> Judged:
    """Judge every event of a batch. `opted_out` refuses all of them, whatever they are."""
    judged = Judged(accepted := [])
    settings = project.settings
    scrub, clean = project.scrubber.scrub_event, project.scrubber.scrub_field
    sent_at_ms = decoded.sent_at_ms
    project.scrubber.begin_batch()
    is_changed = _clip_version(decoded, project.scrubber)
    for place, (item, size) in enumerate(zip(decoded.items, decoded.event_bytes, strict=False)):
        if isinstance(item, Faulty):
            judged.refusals.append(_refuse_faulty(place, item, project, opted_out))
            continue
        reason = (
            RejectReason.OPTED_OUT
            if opted_out
            else validate_event(item, settings, sent_at_ms, received_at_ms, size)
        )
        if reason is not None:
            judged.refusals.append(_refuse(place, item, project, reason))
            continue
        if clip_event(item, clean):
            is_changed = True
        if scrub(item):
            is_changed = True
        event_type = item.event_type
        if event_type == REPLAY:
            judged.replay.append((place, item))
            continue
        accepted.append(item)
        if event_type in ERROR_TYPES:
            judged.errors.append(item)
    judged.is_whole = (
        decoded.batch is not None and len(accepted) == len(decoded.items) and _one_session(accepted)
    )
    judged.is_changed = is_changed
    return judged


def _clip_version(decoded: Decoded, scrubber: Scrubber) -> bool:
    version = clip_sdk_version(decoded.sdk_version, scrubber.scrub_field)
    if version == decoded.sdk_version:
        return False
    decoded.sdk_version = version
    if decoded.batch is not None:
        decoded.batch.sdk_version = version
    return True


def _refuse(place: int, event: Event, project: Project, reason: RejectReason) -> Refusal:
    # A dead letter lies around for days: card numbers must not lie there with it.
    project.scrubber.scrub_event(event)
    original = event.SerializeToString()
    return Refusal(place, event.event_id, event.session_id, reason, "", original, "event")


def _refuse_faulty(place: int, item: Faulty, project: Project, opted_out: bool) -> Refusal:
    reason = item.reason
    if opted_out:
        reason = RejectReason.OPTED_OUT
    elif item.page is not None and is_blocked_page(item.page, project.settings.privacy):
        reason = RejectReason.BLOCKED_URL
    kept = _scrubbed(item, project)
    return Refusal(place, item.event_id, item.session_id, reason, item.detail, kept, item.kind)


def _scrubbed(item: Faulty, project: Project) -> bytes:
    """The bytes of an event that could not be read, JSON text without card numbers and the like.

    What is no text, or longer than the scrubber reads, is kept as it came: the promise that a
    refused event can be brought in after a fix needs its bytes, and a part of it could not be.
    """
    if item.kind != "json" or len(item.original) > FAULTY_TEXT_BYTES_MAX:
        return item.original
    return project.scrubber.scrub_text(item.original.decode("utf-8", "replace")).encode()


def _one_session(events: Sequence[Event]) -> bool:
    first = events[0].session_id
    for event in events:  # noqa: SIM110 - twice as fast as all() of a generator, for each batch.
        if event.session_id != first:
            return False
    return True
