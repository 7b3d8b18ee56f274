"""What becomes of a transition on its way to people: told, kept back, or over.

In: what the evaluator said, the rule as it is now, what is known of the rule and group, the time.
Out: what to write into history, and which message to send. Pure. The evaluator says what is true;
cooldown and mute are decided here, by the clock on the wall, because they protect people:

- a cooldown is of one rule and group. It begins when the first message of a firing has *arrived*
  somewhere, so that a receiver that is away does not make an alert silent;
- a firing within a cooldown, or while the rule is muted, is kept as `suppressed`. If it still holds
  when the cooldown is over it is told after all;
- a firing that holds on is told again when its cooldown is over (`still_firing`);
- the end is told where the firing was told, and nowhere else.

Source: alerting.md, section 3, with the cooldown's beginning as design.md decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from schemas.alert_channels import channel_key
from schemas.alert_delivery import Kind, KnownAlert
from schemas.alert_rules import AlertRule, Channel
from schemas.v1.alerts_pb2 import AlertTransition

MINUTE_MS = 60_000
# A firing that reached nobody is tried anew with its next heartbeat, at most this often.
UNHEARD_PAUSE_MS = 5 * MINUTE_MS
HELD_SCOPE = "held"
# PostgreSQL indexes a text of up to 2,700 bytes, with what is beside it.
SCOPE_BYTES_MAX = 2_000


NOTHING_KNOWN = KnownAlert()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to write. Fields that do not apply are empty.

    `new_row` is the kind of a new history row with the id `row_id`; `promotes` turns the suppressed
    row `row_id` into a firing one; `closes` sets the end of all rows of the alert. `message` goes
    to `channels`, keys of the rule's.
    """

    is_repeated: bool = False
    row_id: str = ""
    new_row: Kind | None = None
    promotes: bool = False
    closes: bool = False
    suppressed_by: str = ""  # cooldown or mute, of a row that is suppressed.
    message: Kind | None = None
    channels: tuple[str, ...] = ()


REPEATED = Decision(is_repeated=True)


def scope_of(transition: AlertTransition) -> str:
    """The group as one text; a cooldown is of one rule and scope.

    Holding a rule back is about all of its groups, and a scope of its own. A path may be longer
    than what can be indexed: then a hash stands for it.
    """
    if transition.kind in (Kind.HELD, Kind.RELEASED):
        return HELD_SCOPE
    text = msgspec.json.encode(dict(sorted(transition.group.items())))
    if len(text) > SCOPE_BYTES_MAX:
        return f"sha256:{sha256(text).hexdigest()}"
    return text.decode()


def channels_by_key(rule: AlertRule) -> Mapping[str, Channel]:
    """The rule's channels, each target once."""
    return {channel_key(channel): channel for channel in rule.channels}


def decide(
    transition: AlertTransition, rule: AlertRule, known: KnownAlert, now_ms: int
) -> Decision:
    """What to do about a transition; a repetition of what was decided changes nothing."""
    seen = (known.last_at_ms, known.last_kind)
    if transition.at_ms < known.last_at_ms or (transition.at_ms, transition.kind) == seen:
        return REPEATED
    match transition.kind:
        case Kind.FIRED:
            return _fired(transition, rule, known, now_ms)
        case Kind.STILL_FIRING:
            return _still_firing(transition, rule, known, now_ms)
        case Kind.RESOLVED:
            return _resolved(transition, rule, known, now_ms)
        case Kind.HELD:
            return Decision(row_id=transition.alert_id, new_row=Kind.HELD)
        case Kind.RELEASED:
            return Decision(closes=True)
    raise ValueError(f"{transition.kind!r} is not a kind of transition")


def kept_back_by(rule: AlertRule, cooldown_until_ms: int, now_ms: int) -> str:
    """Why nothing is told now: mute, cooldown, or nothing."""
    if rule.muted_until_ms is not None and rule.muted_until_ms > now_ms:
        return "mute"
    return "cooldown" if cooldown_until_ms > now_ms else ""


def _fired(
    transition: AlertTransition, rule: AlertRule, known: KnownAlert, now_ms: int
) -> Decision:
    reason = kept_back_by(rule, known.cooldown_until_ms, now_ms)
    if reason:
        return Decision(row_id=transition.alert_id, new_row=Kind.SUPPRESSED, suppressed_by=reason)
    return Decision(
        row_id=transition.alert_id,
        new_row=Kind.FIRED,
        message=Kind.FIRED,
        channels=tuple(channels_by_key(rule)),
    )


def _still_firing(
    transition: AlertTransition, rule: AlertRule, known: KnownAlert, now_ms: int
) -> Decision:
    if known.alert_id != transition.alert_id:
        return _fired(transition, rule, known, now_ms)  # Its beginning was never seen here.
    if kept_back_by(rule, known.cooldown_until_ms, now_ms) or known.is_waiting:
        return Decision()
    channels = tuple(channels_by_key(rule))
    if known.row_kind == Kind.SUPPRESSED:
        return Decision(row_id=known.row_id, promotes=True, message=Kind.FIRED, channels=channels)
    pause_ms = 0 if known.is_heard else max(rule.cooldown_mins * MINUTE_MS, UNHEARD_PAUSE_MS)
    if now_ms < known.told_at_ms + pause_ms:
        return Decision()
    return Decision(
        row_id=transition.transition_id,
        new_row=Kind.STILL_FIRING,
        message=Kind.STILL_FIRING,
        channels=channels,
    )


def _resolved(
    transition: AlertTransition, rule: AlertRule, known: KnownAlert, now_ms: int
) -> Decision:
    of_rule = channels_by_key(rule)
    told = tuple(key for key in of_rule if key in known.told_channels)
    is_told = (
        known.alert_id == transition.alert_id
        and bool(told)
        and rule.notify_resolved
        and kept_back_by(rule, 0, now_ms) != "mute"
    )
    return Decision(
        row_id=known.row_id if known.alert_id == transition.alert_id else "",
        closes=True,
        message=Kind.RESOLVED if is_told else None,
        channels=told if is_told else (),
    )


def known_after(
    known: KnownAlert, transition: AlertTransition, decision: Decision, now_ms: int
) -> KnownAlert:
    """What is known of the rule and group once a decision that is no repetition is written."""
    changes: dict[str, Any] = {"last_at_ms": transition.at_ms, "last_kind": transition.kind}
    if known.alert_id != transition.alert_id:
        changes |= {"alert_id": transition.alert_id, "told_channels": ()}
        if decision.new_row is None:
            changes |= {"row_id": "", "row_kind": ""}
    if decision.new_row is not None:
        changes |= {"row_id": decision.row_id, "row_kind": decision.new_row, "told_at_ms": 0}
        changes |= {"is_waiting": False, "is_heard": False}
    if decision.promotes:
        changes["row_kind"] = Kind.FIRED
    if decision.message in (Kind.FIRED, Kind.STILL_FIRING):
        changes |= {
            "told_at_ms": now_ms,
            "is_waiting": bool(decision.channels),
            "is_heard": False,
            "told_channels": tuple(
                {*changes.get("told_channels", known.told_channels), *decision.channels}
            ),
        }
    return msgspec.structs.replace(known, **changes)
