"""What is told of a transition, kept back, or over; without any server or clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flows.core.alert_decisions import (
    MINUTE_MS,
    NOTHING_KNOWN,
    UNHEARD_PAUSE_MS,
    Decision,
    channel_key,
    channels_by_key,
    decide,
    known_after,
    scope_of,
)
from flows.core.alert_records import check
from schemas.alert_delivery import Kind, KnownAlert
from schemas.alert_rules import AlertRule, TelegramChannel, WebhookChannel
from schemas.v1.alerts_pb2 import AlertTransition
from tests.alert_transitions import CHAT, HOOK, SECRET, at, make_rule, make_transition

RULE = make_rule()
KEYS = tuple(channels_by_key(RULE))


class Told:
    """A rule and group, with all messages arriving at once where they are sent."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        self.rule = rule
        self.known = NOTHING_KNOWN
        self.messages: list[str] = []
        self.rows: list[str] = []
        self.arrives = True

    def hear(self, transition: AlertTransition, now_ms: int | None = None) -> Decision:
        """Decide, and let what follows happen."""
        check(transition)
        now_ms = transition.at_ms if now_ms is None else now_ms
        decision = decide(transition, self.rule, self.known, now_ms)
        if decision.is_repeated:
            return decision
        self.known = known_after(self.known, transition, decision, now_ms)
        if decision.new_row is not None:
            self.rows.append(decision.new_row.value)
        if decision.promotes:
            self.rows[-1] = "fired"
        if decision.message is not None:
            self.messages.append(decision.message.value)
        if decision.message in (Kind.FIRED, Kind.STILL_FIRING) and self.arrives:
            self.arrive(now_ms)
        return decision

    def arrive(self, now_ms: int) -> None:
        """The first message arrived."""
        until_ms = now_ms + self.rule.cooldown_mins * MINUTE_MS
        self.known = KnownAlert(
            **{
                **{name: getattr(self.known, name) for name in self.known.__struct_fields__},
                "is_waiting": False,
                "is_heard": True,
                "cooldown_until_ms": until_ms,
            }
        )


def test_the_worked_example() -> None:
    """Fired at 10:01, over at 10:09, again at 10:12 within the cooldown, told at 10:16."""
    told = Told()
    told.hear(make_transition("fired", at("10:01")))
    told.hear(make_transition("still_firing", at("10:05"), at("10:01")))
    assert (told.rows, told.messages) == (["fired"], ["fired"])
    assert told.hear(make_transition("resolved", at("10:09"), at("10:01"))).closes
    assert told.messages == ["fired", "resolved"]
    decision = told.hear(make_transition("fired", at("10:12")))
    assert decision.suppressed_by == "cooldown"
    assert (told.rows, told.messages) == (["fired", "suppressed"], ["fired", "resolved"])
    told.hear(make_transition("still_firing", at("10:13"), at("10:12")))
    decision = told.hear(make_transition("still_firing", at("10:16"), at("10:12")))
    assert decision.promotes
    assert decision.row_id == make_transition("fired", at("10:12")).alert_id
    assert (told.rows, told.messages) == (["fired", "fired"], ["fired", "resolved", "fired"])
    told.hear(make_transition("resolved", at("10:20"), at("10:12")))
    assert told.messages == ["fired", "resolved", "fired", "resolved"]


def test_what_holds_on_is_told_again_after_the_cooldown() -> None:
    """A new row and message, once a cooldown."""
    told = Told()
    told.hear(make_transition("fired", at("10:00")))
    for minute in range(1, 35):
        told.hear(make_transition("still_firing", at(f"10:{minute:02}"), at("10:00")))
    assert told.rows == ["fired", "still_firing", "still_firing"]
    assert told.messages == ["fired", "still_firing", "still_firing"]


def test_the_cooldown_begins_when_something_arrived() -> None:
    """While nothing has, neither heartbeats nor an end and a new beginning are silent."""
    told = Told()
    told.arrives = False
    told.hear(make_transition("fired", at("10:00")))
    told.hear(make_transition("still_firing", at("10:20"), at("10:00")))
    assert told.messages == ["fired"]  # It is still being tried.
    told.hear(make_transition("resolved", at("10:30"), at("10:00")))
    told.hear(make_transition("fired", at("10:31")))
    assert told.messages == ["fired", "resolved", "fired"]


def test_what_reached_nobody_is_tried_anew() -> None:
    """Given up everywhere and still true: again after the cooldown, or after five minutes."""
    for cooldown_mins, pause_ms in ((15, 15 * MINUTE_MS), (0, UNHEARD_PAUSE_MS)):
        told = Told(make_rule(cooldown_mins=cooldown_mins))
        told.arrives = False
        told.hear(make_transition("fired", at("10:00")))
        gone = {name: getattr(told.known, name) for name in told.known.__struct_fields__}
        told.known = KnownAlert(**{**gone, "is_waiting": False, "told_channels": ()})
        before_ms = at("10:00") + pause_ms
        told.hear(make_transition("still_firing", before_ms - 1, at("10:00")))
        assert told.messages == ["fired"]
        told.hear(make_transition("still_firing", before_ms, at("10:00")))
        assert told.messages == ["fired", "still_firing"]


def test_a_muted_rule_is_silent() -> None:
    """Its firings are kept, its ends are not told, and what still holds afterwards is."""
    told = Told(make_rule(muted_until_ms=at("10:30")))
    assert told.hear(make_transition("fired", at("10:00"))).suppressed_by == "mute"
    told.hear(make_transition("resolved", at("10:10"), at("10:00")))
    told.hear(make_transition("fired", at("10:20")))
    told.hear(make_transition("still_firing", at("10:29"), at("10:20")))
    assert told.messages == []
    told.hear(make_transition("still_firing", at("10:30"), at("10:20")))
    assert told.messages == ["fired"]
    assert told.rows == ["suppressed", "fired"]


def test_an_end_is_told_where_the_beginning_was() -> None:
    """Not of what was kept back, not against the rule's will, not to channels that are gone."""
    told = Told(make_rule(notify_resolved=False))
    told.hear(make_transition("fired", at("10:00")))
    assert told.hear(make_transition("resolved", at("10:01"), at("10:00"))).message is None
    told = Told()
    told.hear(make_transition("fired", at("10:00")))
    told.rule = make_rule(channels=(HOOK,))
    decision = told.hear(make_transition("resolved", at("10:01"), at("10:00")))
    assert decision.channels == (channel_key(HOOK),)


def test_repetitions_change_nothing() -> None:
    """The same again, and what is older than the last."""
    told = Told()
    transitions = [
        make_transition("fired", at("10:01")),
        make_transition("still_firing", at("10:02"), at("10:01")),
        make_transition("resolved", at("10:09"), at("10:01")),
    ]
    for transition in transitions:
        told.hear(transition)
    known = told.known
    for transition in transitions:
        assert told.hear(transition, at("11:00")).is_repeated
    assert told.known == known
    assert told.messages == ["fired", "resolved"]


def test_a_heartbeat_of_what_was_never_seen_is_a_firing() -> None:
    """The beginning may have left the topic."""
    told = Told()
    decision = told.hear(make_transition("still_firing", at("10:05"), at("10:01")))
    assert decision.message is Kind.FIRED
    assert decision.row_id == make_transition("fired", at("10:01")).alert_id


def test_holding_back_is_history_alone() -> None:
    """Nobody is told, the cooldown of the groups is not touched, and the end is noted."""
    told = Told()
    assert told.hear(make_transition("held", at("10:00"))).new_row is Kind.HELD
    assert told.hear(make_transition("released", at("10:05"), at("10:00"))).closes
    assert told.messages == []
    assert scope_of(make_transition("held", 1)) != scope_of(make_transition("fired", 1))


def test_groups_are_scopes_of_their_own() -> None:
    """The same group has the same scope, whatever the order of its keys."""
    one = make_transition("fired", 1, group={"path": "/a", "os": "x"})
    same = make_transition("fired", 1, group={"os": "x", "path": "/a"})
    other = make_transition("fired", 1, group={"path": "/b", "os": "x"})
    assert scope_of(one) == scope_of(same) != scope_of(other)
    assert scope_of(make_transition("fired", 1)) == "{}"


def test_channels_are_told_apart_by_where_they_lead() -> None:
    """Secrets do not count, threads do, and a target that is there twice is one."""
    other_secret = WebhookChannel(HOOK.url, (SECRET, "another"))
    assert channel_key(HOOK) == channel_key(other_secret)
    assert channel_key(CHAT) != channel_key(TelegramChannel(CHAT.chat_id, 7))
    assert len(channels_by_key(make_rule(channels=(HOOK, other_secret, CHAT)))) == 2


KINDS = st.sampled_from(["fired", "still_firing", "resolved"])
STEPS = st.lists(st.tuples(KINDS, st.integers(1, 20), st.booleans()), max_size=25)


@given(STEPS, st.integers(0, 20))
def test_never_two_firings_within_a_cooldown(
    steps: Sequence[tuple[str, int, bool]], cooldown_mins: int
) -> None:
    """Whatever is heard, two messages that arrived are a cooldown apart, and ends do not repeat."""
    told = Told(make_rule(cooldown_mins=cooldown_mins))
    now_ms = opened_ms = at("10:00")
    arrived: list[int] = []
    ends: list[str] = []
    for kind, minutes, arrives in steps:
        now_ms += minutes * MINUTE_MS
        opened_ms = now_ms if kind == "fired" else opened_ms
        told.arrives = arrives
        transition = make_transition(kind, now_ms, opened_ms)
        decision = told.hear(transition)
        if decision.message in (Kind.FIRED, Kind.STILL_FIRING) and arrives:
            arrived.append(now_ms)
        if decision.message is Kind.RESOLVED:
            ends.append(transition.transition_id)
        assert told.hear(transition).is_repeated
    assert all(later - earlier >= cooldown_mins * MINUTE_MS for earlier, later in pairwise(arrived))
    assert len(ends) == len(set(ends))
