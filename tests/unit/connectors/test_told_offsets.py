"""What lag tools are told is told until the broker has confirmed it."""

from __future__ import annotations

from connectors.kafka_state import ToldOffsets


def test_what_is_not_confirmed_is_told_again() -> None:
    """A lost answer, an old answer, and a partition that is not asked for."""
    told = ToldOffsets()
    told.reach(0, 5)
    told.reach(1, 7)
    assert told.untold([0, 1, 2]) == {0: 5, 1: 7}
    assert told.untold([1]) == {1: 7}
    told.note({0: 5})
    told.reach(1, 9)
    told.note({1: 7})
    assert told.untold([0, 1]) == {1: 9}
    told.note({1: 9})
    assert told.untold([0, 1]) == {}


def test_what_was_said_before_a_partition_left_is_forgotten() -> None:
    """Its next holder has moved it on; whoever has it again begins anew."""
    told = ToldOffsets()
    told.reach(0, 5)
    told.note({0: 5})
    told.forget([0, 3])
    assert told.untold([0]) == {}
    told.reach(0, 5)
    assert told.untold([0]) == {0: 5}
