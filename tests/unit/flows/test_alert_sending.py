"""Attempts: whether a message is still to be sent, when it is tried again, what ends it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.core.alert_attempts import (
    AGE_MS_MAX,
    ATTEMPTS_MAX,
    FAILING_MS_MIN,
    FAILURES_MAX,
    HOUR_MS,
    PAUSES_MS,
    is_to_be_disabled,
    next_attempt_ms,
)
from flows.core.alert_sending import after_failure, after_success, reason_not_to_send
from schemas.alert_channels import channel_key
from schemas.alert_delivery import Claimed, Kind, Settlement, Status
from tests.alert_transitions import CHAT, HOOK, at, make_rule

NOW = at("10:00")


def make_claimed(**changes: Any) -> Claimed:
    """A firing that is sent to the webhook now."""
    values: dict[str, Any] = {
        "delivery_id": "d",
        "history_id": "h",
        "alert_id": "a",
        "rule_id": "r",
        "scope": "{}",
        "channel_key": channel_key(HOOK),
        "channel_type": "webhook",
        "lane": "webhook:x",
        "kind": Kind.FIRED,
        "message": {},
        "attempts": 0,
        "created_at_ms": NOW,
        "rule": make_rule(),
        "is_told": False,
        "cooldown_until_ms": 0,
        "cooldown_row": "",
        "failures": 0,
        "failing_since_ms": 0,
        "disabled_at_ms": 0,
    }
    return Claimed(**{**values, **changes})


def failure(claimed: Claimed, now_ms: int = NOW, **changes: Any) -> Settlement:
    """After a 500."""
    values: dict[str, Any] = {"may_retry": True, "is_gone": False, "wait_ms": None}
    status = changes.pop("status", 500)
    return after_failure(claimed, status, "answered", now_ms, **{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, None),
        ({"rule": None}, Status.CANCELLED),
        ({"rule": make_rule(is_active=False)}, Status.CANCELLED),
        ({"rule": make_rule(is_active=False), "kind": Kind.RESOLVED, "is_told": True}, None),
        ({"rule": make_rule(channels=(CHAT,))}, Status.CANCELLED),
        ({"disabled_at_ms": NOW - 1}, Status.CANCELLED),
        ({"disabled_at_ms": 1}, None),  # The rule was saved after that.
        ({"rule": make_rule(muted_until_ms=NOW + 1)}, Status.SUPPRESSED),
        ({"rule": make_rule(muted_until_ms=NOW)}, None),
        ({"cooldown_until_ms": NOW + 1, "cooldown_row": "another"}, Status.SUPPRESSED),
        ({"cooldown_until_ms": NOW + 1, "cooldown_row": "h"}, None),  # Of this very firing.
        ({"cooldown_until_ms": NOW, "cooldown_row": "another"}, None),
        ({"kind": Kind.RESOLVED}, Status.CANCELLED),
        ({"kind": Kind.RESOLVED, "is_told": True}, None),
        (
            {"kind": Kind.RESOLVED, "is_told": True, "cooldown_until_ms": NOW + 1},
            None,  # An end is not held back by the cooldown of its beginning.
        ),
        (
            {"kind": Kind.CHANNEL_DISABLED, "rule": make_rule(muted_until_ms=NOW + 1)},
            None,  # That a channel is off concerns whoever muted the rule, too.
        ),
    ],
)
def test_what_speaks_against_a_message(changes: dict[str, Any], status: Status | None) -> None:
    """Looked at right before it is sent."""
    found = reason_not_to_send(make_claimed(**changes), NOW)
    assert (found.status if found else None) == status
    if found is not None:
        assert found.failures is None, "it says nothing of the channel"


def test_the_first_arrival_of_a_firing_cools() -> None:
    """Of a firing or its repetition; not of an end."""
    rule = make_rule(cooldown_mins=15)
    told = after_success(make_claimed(failures=7), rule, 200, NOW)
    assert (told.status, told.attempts, told.failures) == (Status.SENT, 1, 0)
    assert told.cooldown_until_ms == NOW + 15 * 60_000
    ended = after_success(make_claimed(kind=Kind.RESOLVED), rule, 200, NOW)
    assert ended.cooldown_until_ms == 0


def test_failures_are_tried_again_six_times_in_all() -> None:
    """Then it is given up; what can never go is given up at once."""
    for attempts in range(ATTEMPTS_MAX - 1):
        found = failure(make_claimed(attempts=attempts))
        assert (found.status, found.attempts) == (Status.PENDING, attempts + 1)
        pause_ms = found.next_attempt_ms - NOW
        assert 0.8 * PAUSES_MS[attempts] <= pause_ms <= 1.2 * PAUSES_MS[attempts]
    assert failure(make_claimed(attempts=ATTEMPTS_MAX - 1)).status is Status.FAILED
    assert failure(make_claimed(), may_retry=False).status is Status.FAILED


def test_a_longer_pause_that_was_asked_for_is_kept() -> None:
    """`Retry-After` of a 503 stretches the pause and never shortens it."""
    assert failure(make_claimed(), wait_ms=HOUR_MS).next_attempt_ms == NOW + HOUR_MS
    assert failure(make_claimed(), wait_ms=1).next_attempt_ms >= NOW + 8_000


def test_too_many_requests_are_not_a_failure() -> None:
    """The chat's lane waits, nothing is counted; but not for ever."""
    chat = {"channel_type": "telegram", "channel_key": channel_key(CHAT), "lane": "telegram:-1001"}
    found = failure(make_claimed(attempts=5, **chat), status=429, wait_ms=35_000)
    assert (found.status, found.attempts, found.failures) == (Status.PENDING, 5, None)
    assert found.hold_lane_until_ms == found.next_attempt_ms == NOW + 35_000
    late = failure(make_claimed(**chat), NOW + AGE_MS_MAX + 1, status=429, wait_ms=35_000)
    assert late.status is Status.FAILED
    # Without a time it is a failure as any other.
    assert failure(make_claimed(**chat), status=429).attempts == 1


@pytest.mark.parametrize("wait_ms", [0, 35_000, HOUR_MS])
def test_a_webhook_that_asks_for_a_pause_has_failed(wait_ms: int) -> None:
    """`Retry-After: 0` is no reason to call it again and again, nor one to make others wait."""
    found = failure(make_claimed(), status=429, wait_ms=wait_ms)
    assert (found.status, found.attempts, found.failures) == (Status.PENDING, 1, 1)
    assert found.next_attempt_ms >= NOW + max(8_000, wait_ms)
    assert found.hold_lane_until_ms == 0


def test_a_channel_that_is_on_again_begins_to_count_anew() -> None:
    """Its first failure does not switch it off, and the next time is told under other names."""
    since = NOW - 2 * FAILING_MS_MIN
    off = {"failures": FAILURES_MAX, "failing_since_ms": since}
    found = failure(make_claimed(**off, disabled_at_ms=since + FAILING_MS_MIN))
    assert (found.disables, found.failures, found.failing_since_ms) == (False, 1, NOW)


def test_channels_are_switched_off_after_failures_over_time() -> None:
    """Both the count and the time have to be reached; the others are told without secrets."""
    since = NOW - FAILING_MS_MIN
    found = failure(make_claimed(failures=FAILURES_MAX - 1, failing_since_ms=since))
    assert found.disables
    assert found.status is Status.FAILED
    (notice,) = found.notices
    assert notice.channel_key == channel_key(CHAT)
    assert "hooks.example.com" in notice.message["text"]
    assert "/gosight" not in notice.message["text"]
    assert not failure(make_claimed(failures=FAILURES_MAX - 1, failing_since_ms=since + 1)).disables
    assert not failure(make_claimed(failures=FAILURES_MAX - 2, failing_since_ms=since)).disables
    assert failure(make_claimed(), is_gone=True, may_retry=False).disables
    assert not is_to_be_disabled(FAILURES_MAX, NOW, NOW)
    # The same switching-off has the same notices, however often it is written.
    again = failure(make_claimed(failures=FAILURES_MAX - 1, failing_since_ms=since))
    assert again.notices[0].delivery_id == notice.delivery_id


@given(st.text(max_size=40), st.integers(0, HOUR_MS))
def test_a_message_always_waits_the_same_and_ends(message_id: str, wait_ms: int) -> None:
    """Times grow, are the same for the same message, and there is a last one."""
    moments = [NOW]
    for attempts in range(1, 20):
        at_ms = next_attempt_ms(message_id, attempts, moments[-1], wait_ms=wait_ms, created_ms=NOW)
        again = next_attempt_ms(message_id, attempts, moments[-1], wait_ms=wait_ms, created_ms=NOW)
        assert at_ms == again
        if at_ms is None:
            break
        moments.append(at_ms)
    assert len(moments) == ATTEMPTS_MAX
    assert all(later > earlier for earlier, later in pairwise(moments))
    assert moments[-1] - NOW <= 8 * HOUR_MS
