"""One partition of live states: clock, timers, steps, restores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flows.core.live_partition import STATE_BYTES_MAX, LivePartition
from schemas.kept_states import FROM_EARLIEST, Kept, Progress
from tests.unit.flows.counting import QUIET_MS, Count, CountingMachine, Item, Told, counting

ITEMS = st.lists(st.builds(Item, st.sampled_from("abcdef"), st.integers(1_000, 2_500)), max_size=60)


class Life:
    """A partition whose steps are kept, as the log would keep them."""

    def __init__(self, *, opened_max: int = 2) -> None:
        self.opened_max = opened_max
        self.kept = Kept()
        self.told: list[Told] = []
        self.begin()

    def begin(self) -> None:
        """Go on from what is kept; what was not is lost."""
        self.live: LivePartition[Count, Item, Told] = LivePartition(
            counting(), self.kept, opened_max=self.opened_max
        )

    def take(self, items: Sequence[Item]) -> None:
        """Items of consecutive records."""
        self.live.take(items, max(0, self.live.next_offset) + len(items))

    def step(self) -> None:
        """Keep what changed."""
        step = self.live.step()
        states = dict(self.kept.states)
        for key, packed in step.states.items():
            if packed is None:
                states.pop(key, None)
            else:
                states[key] = packed
        self.kept = Kept(step.progress, states)
        self.told += step.outputs


def test_a_timer_fires_before_the_item_that_has_its_time() -> None:
    """Due at T, it fires at T, before the item at T, and the key starts anew."""
    life = Life()
    life.take([Item("a", 1_000), Item("b", 1_000 + QUIET_MS)])
    life.step()
    assert life.told == [Told("a", 1, 1_000 + QUIET_MS, True)]


def test_timers_fire_at_their_own_time_earliest_first() -> None:
    """However late time passes, and by key where times are equal."""
    life = Life()
    life.take([Item("c", 1_000), Item("b", 1_010), Item("a", 1_010)])
    life.live.pass_time(9_999)
    life.step()
    assert life.told == [
        Told("c", 1, 1_100, True),
        Told("a", 1, 1_110, True),
        Told("b", 1, 1_110, True),
    ]


def test_time_never_goes_back() -> None:
    """An older item is taken at the time reached."""
    life = Life()
    life.take([Item("a", 1_000), Item("b", 900)])
    assert life.live.clock_ms == 1_000
    life.live.pass_time(950)
    life.live.pass_time(1_099)
    life.step()
    assert life.told == []
    life.live.pass_time(1_100)
    life.step()
    assert [told.key for told in life.told] == ["a", "b"]


def test_a_forgotten_key_is_a_tombstone_and_then_nothing() -> None:
    """The step says so once; nothing of the key is left."""
    life = Life()
    life.take([Item("a", 1_000)])
    life.step()
    assert (life.live.keys_live, list(life.kept.states)) == (1, ["a"])
    assert life.live.packed_bytes > 0
    life.live.pass_time(2_000)
    assert life.live.keys_live == 0
    step = life.live.step()
    assert dict(step.states) == {"a": None}
    assert (life.live.keys_live, life.live.packed_bytes) == (0, 0)
    assert not life.live.is_changed


def test_a_clock_that_goes_on_alone_is_no_step() -> None:
    """A quiet partition writes nothing; records without an item are progress."""
    life = Life()
    assert (life.live.next_offset, life.live.is_changed) == (FROM_EARLIEST, False)
    life.live.pass_time(5_000)
    assert not life.live.is_changed
    life.live.take([], 7)
    assert life.live.is_changed
    assert life.live.step().progress == Progress(7, 5_000, 1)


def test_a_key_that_ends_and_begins_within_a_step() -> None:
    """The step has the new state; what was told of the old one stays told."""
    life = Life()
    life.take([Item("a", 1_000)])
    life.step()
    life.take([Item("a", 1_500)])
    assert life.live.keys_live == 1
    life.step()
    assert life.told == [Told("a", 1, 1_100, True)]
    assert list(life.kept.states) == ["a"]
    life.begin()
    life.live.pass_time(3_000)
    life.step()
    assert life.told[1:] == [Told("a", 1, 1_600, True)]


@given(ITEMS, st.data())
def test_batches_steps_and_deaths_change_nothing(items: list[Item], data: st.DataObject) -> None:
    """Cut anywhere, stored anywhere, dead anywhere: what is kept is told is the same."""
    plain = Life(opened_max=1_000)
    plain.take(items)
    plain.live.pass_time(9_000)
    plain.step()

    life = Life(opened_max=data.draw(st.integers(0, 3)))
    while (place := max(0, life.live.next_offset)) < len(items):
        life.take(items[place : place + data.draw(st.integers(1, 7))])
        what = data.draw(st.sampled_from(["step", "die", "tick", "go on"]))
        if what == "step":
            life.step()
        elif what == "tick":
            life.live.pass_time(life.live.clock_ms)
        elif what == "die" and data.draw(st.integers(0, 3)):
            life.begin()
    life.step()
    assert life.live.keys_live == len(life.kept.states)
    life.begin()
    assert life.live.keys_live == len(life.kept.states)
    life.live.pass_time(9_000)
    life.step()
    assert life.live.keys_live == 0
    assert life.told == plain.told
    assert life.kept.states == plain.kept.states == {}


@given(ITEMS)
def test_every_item_is_counted_once(items: list[Item]) -> None:
    """The ends told add up to the items."""
    life = Life()
    life.take(items)
    life.live.pass_time(9_000)
    life.step()
    assert sum(told.count for told in life.told if told.is_end) == len(items)


def test_timers_stay_as_many_as_keys() -> None:
    """A hundred thousand keys that come and go leave nothing behind."""
    life = Life()
    for number in range(100_000):
        life.take([Item(f"k{number}", 1_000 + number)])
        if number % 100 == 0:
            life.step()
            life.told.clear()
    life.step()
    live = life.live
    assert live.keys_live == len(life.kept.states) == QUIET_MS
    assert len(live._timers) <= 2 * QUIET_MS + 1_001
    slots = live._slots.values()
    packed = [slot.packed for slot in slots if slot.packed is not None]
    assert len(packed) == sum(slot.due_ms is not None for slot in slots) == len(slots) == QUIET_MS
    assert live.packed_bytes == sum(map(len, packed)) < 50 * QUIET_MS


class Fragile(CountingMachine):
    """Counts, but for some keys, at which it fails in one way or another."""

    def on_event(
        self, state: Count | None, event: Item, now_ms: int
    ) -> tuple[Count | None, list[Told]]:
        """Fail, if the key is for that and has come before."""
        if event.key == "event" and state is not None:
            raise ValueError(event.key)
        return super().on_event(state, event, now_ms)

    def on_time(self, state: Count, now_ms: int) -> tuple[Count | None, list[Told]]:
        """Fail, or stand still."""
        if state.key == "time":
            raise ValueError(state.key)
        return (state, []) if state.key == "still" else super().on_time(state, now_ms)


def encode_most(state: Count) -> bytes:
    """All but one key's."""
    if state.key == "state":
        raise OverflowError(state.key)
    return msgspec.msgpack.encode(state)


def test_a_key_that_fails_begins_anew_and_the_others_go_on() -> None:
    """Wherever it fails; nothing is left of it, and each failure is told."""
    failed: list[tuple[str, str]] = []
    workings = replace(
        counting(),
        machine=Fragile(),
        encode=encode_most,
        on_failure=lambda key, error: failed.append((key, type(error).__name__)),
    )
    live: LivePartition[Count, Item, Told] = LivePartition(workings, Kept())
    live.take([Item(key, 1_000) for key in ("event", "good", "time", "state", "still")], 5)
    assert set(live.step().states) == {"event", "good", "time", "state", "still"}
    assert failed == [("state", "OverflowError")]
    assert live.keys_live == 4
    live.take([Item("event", 1_010), Item("good", 1_010), Item("state", 1_010)], 8)
    step = live.step()
    assert {key for key, packed in step.states.items() if packed is None} == {"event", "state"}
    live.take([Item("good", 1_020), Item("event", 1_020)], 10)
    live.pass_time(1_020 + 2 * QUIET_MS)
    told = live.step().outputs
    assert [(one.key, one.count) for one in told] == [("good", 3), ("event", 1), ("good", 3)]
    assert failed[1:] == [
        ("event", "ValueError"),
        ("state", "OverflowError"),
        ("still", "AssertionError"),
        ("time", "ValueError"),
    ]
    assert (live.keys_live, live.packed_bytes) == (0, 0)


def test_a_state_that_no_record_can_hold_is_given_up() -> None:
    """Its key begins anew; a step with it could be stored by nobody."""
    failed: list[tuple[str, str]] = []

    def encode_most(state: Count) -> bytes:
        size = STATE_BYTES_MAX if state.key == "large" else STATE_BYTES_MAX - 8
        return bytes(size)

    workings = replace(
        counting(),
        encode=encode_most,
        on_failure=lambda key, error: failed.append((key, type(error).__name__)),
    )
    live: LivePartition[Count, Item, Told] = LivePartition(workings, Kept())
    live.take([Item("large", 1_000), Item("good", 1_000)], 2)
    states = live.step().states
    assert {key: packed and len(packed) for key, packed in states.items()} == {
        "good": STATE_BYTES_MAX,
        "large": None,
    }
    assert failed == [("large", "StateTooLargeError")]
    assert (live.keys_live, live.packed_bytes) == (1, STATE_BYTES_MAX)


def test_a_state_that_cannot_be_opened_is_forgotten() -> None:
    """Its key begins anew, by an item or by its timer; all others go on."""
    life = Life()
    life.take([Item(key, 1_000) for key in "abc"])
    life.step()
    states = {
        key: packed if key == "c" else packed[:8] + b"damaged"
        for key, packed in life.kept.states.items()
    }
    life.kept = Kept(life.kept.progress, states)
    life.begin()
    assert life.live.keys_live == 3
    life.take([Item("a", 1_010)])
    life.live.pass_time(1_000 + QUIET_MS)
    assert life.live.keys_live == 1
    life.step()
    assert life.told == [Told("c", 1, 1_000 + QUIET_MS, True)]
    assert set(life.kept.states) == {"a"}
    life.live.pass_time(1_010 + QUIET_MS)
    life.step()
    assert life.told[1:] == [Told("a", 1, 1_010 + QUIET_MS, True)]
    assert life.kept.states == {}
    assert life.live.packed_bytes == 0
