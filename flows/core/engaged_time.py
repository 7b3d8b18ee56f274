"""Engaged time: the slots of five seconds in which a visitor did something.

A set of slot numbers as a bitmap: union is cheap, order and repetition cannot change it. Slots of
more than a day after the earliest one are left out, whatever came first, so that the set is bounded
(2,160 bytes) and still a function of the events alone. Source: sessions.md, section 3.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

SLOT_MS = 5_000
SLOTS_MAX = 17_280  # 24 hours.
_WINDOW = (1 << SLOTS_MAX) - 1


class EngagedSlots(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Slot `first + n` is engaged if bit n of `bits` (little endian) is set; bit 0 always is."""

    first: int
    bits: bytes

    @property
    def engaged_ms(self) -> int:
        """Time of all engaged slots."""
        return SLOT_MS * int.from_bytes(self.bits, "little").bit_count()


def add_slots(known: EngagedSlots | None, slots: Collection[int]) -> EngagedSlots | None:
    """These slots as well; slot numbers are `event time // SLOT_MS`."""
    if not slots:
        return known
    if known is None:
        first, bitmap = min(slots), 0
    else:
        first, bitmap = known.first, int.from_bytes(known.bits, "little")
        earliest = min(slots)
        if earliest < first:
            # Shifting what falls out of the window anyway could take any amount of memory.
            shift = first - earliest
            bitmap = (bitmap << shift) & _WINDOW if shift < SLOTS_MAX else 0
            first = earliest
    for slot in slots:
        if slot - first < SLOTS_MAX:
            bitmap |= 1 << (slot - first)
    return EngagedSlots(first, bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little"))
