"""Whether a claimed message is still to be sent, and what an attempt leads to. Pure.

Between deciding and sending hours may pass: the rule may be muted, changed, gone or told of
otherwise meanwhile. So all that speaks against a message is looked at once more, right before it.
"""

from __future__ import annotations

from flows.core.alert_attempts import AGE_MS_MAX, is_to_be_disabled, next_attempt_ms
from flows.core.alert_decisions import MINUTE_MS, channels_by_key, kept_back_by
from flows.core.alert_outgoing import disabled_notices
from schemas.alert_delivery import Claimed, Kind, Settlement, Status
from schemas.alert_rules import AlertRule

_ALARMS = frozenset({Kind.FIRED, Kind.STILL_FIRING})


def reason_not_to_send(claimed: Claimed, now_ms: int) -> Settlement | None:
    """What becomes of a message that must not go any more; None if it is to be sent."""
    rule = claimed.rule
    if rule is None:
        return _given_up(claimed, Status.CANCELLED, "the rule is gone, or cannot be read")
    # Who was told that it began is told that it is over, also when somebody switched the rule off.
    if not rule.is_active and claimed.kind is not Kind.RESOLVED:
        return _given_up(claimed, Status.CANCELLED, "the rule is switched off")
    if claimed.channel_key not in channels_by_key(rule):
        return _given_up(claimed, Status.CANCELLED, "the channel is not in the rule any more")
    if claimed.disabled_at_ms and claimed.disabled_at_ms >= rule.updated_at_ms:
        return _given_up(claimed, Status.CANCELLED, "the channel is switched off: it kept failing")
    if claimed.kind is Kind.CHANNEL_DISABLED:
        return None
    if claimed.kind is Kind.RESOLVED and not claimed.is_told:
        return _given_up(claimed, Status.CANCELLED, "this channel was never told of the alert")
    is_another = claimed.cooldown_row != claimed.history_id
    cooldown_ms = claimed.cooldown_until_ms if claimed.kind in _ALARMS and is_another else 0
    reason = kept_back_by(rule, cooldown_ms, now_ms)
    if reason:
        return Settlement(status=Status.SUPPRESSED, attempts=claimed.attempts, suppressed_by=reason)
    return None


def after_success(
    claimed: Claimed, rule: AlertRule, http_status: int | None, now_ms: int
) -> Settlement:
    """It arrived. The first arrival of a firing begins the cooldown."""
    is_alarm = claimed.kind in _ALARMS
    return Settlement(
        status=Status.SENT,
        attempts=claimed.attempts + 1,
        http_status=http_status,
        cooldown_until_ms=now_ms + rule.cooldown_mins * MINUTE_MS if is_alarm else 0,
        failures=0,
    )


def after_failure(
    claimed: Claimed,
    http_status: int | None,
    error: str,
    now_ms: int,
    *,
    may_retry: bool,
    is_gone: bool,
    wait_ms: int | None,
) -> Settlement:
    """It did not arrive: later again, or never, and perhaps nothing goes there any more.

    A chat that asks for a pause (429) has not failed: its whole lane waits, and nothing is counted.
    A webhook that does so has: its lane is a host, which others have receivers at, too.
    """
    is_chat = claimed.channel_type == "telegram"
    is_asked = is_chat and http_status == 429 and wait_ms is not None
    if is_asked and now_ms - claimed.created_at_ms <= AGE_MS_MAX:
        assert wait_ms is not None
        until_ms = now_ms + wait_ms
        return Settlement(
            status=Status.PENDING,
            attempts=claimed.attempts,
            next_attempt_ms=until_ms,
            http_status=http_status,
            error=error,
            hold_lane_until_ms=until_ms,
        )
    attempts = claimed.attempts + 1
    at_ms = None
    if may_retry:
        at_ms = next_attempt_ms(
            claimed.delivery_id,
            attempts,
            now_ms,
            wait_ms=wait_ms,
            created_ms=claimed.created_at_ms,
        )
    # What failed before it was switched off, and on again, is over.
    before = 0 if claimed.disabled_at_ms else claimed.failures
    failures = before + 1
    since_ms = claimed.failing_since_ms if before else now_ms
    disables = is_gone or is_to_be_disabled(failures, since_ms, now_ms)
    notices = disabled_notices(claimed, failures, since_ms, error, now_ms) if disables else ()
    return Settlement(
        status=Status.FAILED if at_ms is None or disables else Status.PENDING,
        attempts=attempts,
        next_attempt_ms=at_ms or 0,
        http_status=http_status,
        error=error,
        failures=failures,
        failing_since_ms=since_ms,
        disables=disables,
        notices=notices,
    )


def _given_up(claimed: Claimed, status: Status, error: str) -> Settlement:
    return Settlement(status=status, attempts=claimed.attempts, error=error)
