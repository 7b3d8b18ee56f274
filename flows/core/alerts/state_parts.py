"""What is stored in values that a record can hold: large ones are cut, and put together again.

A slice has cells of up to a thousand groups of each rule, and who is alive is one value for a day:
with long paths either is more than Kafka takes as one record. The first part stays under the key
itself, so that what fits is stored as it is. Pure; mutable, for one thread.
"""

from __future__ import annotations

from collections.abc import Mapping

# Far below the 4 MiB that the topic takes.
PART_BYTES_MAX = 1024 * 1024
_MARK = "+"  # In no key.


class StateParts:
    """Knows in how many parts each value is stored."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}  # Of those that are more than one.

    def cut(self, states: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        """Values as they are stored; parts that are not needed any more are forgotten."""
        found: dict[str, bytes | None] = {}
        for key, value in states.items():
            parts = [value]
            if value is not None and len(value) > PART_BYTES_MAX:
                starts = range(0, len(value), PART_BYTES_MAX)
                parts = [value[start : start + PART_BYTES_MAX] for start in starts]
            before = self._counts.pop(key, 1)
            if len(parts) > 1:
                self._counts[key] = len(parts)
            found[key] = parts[0]
            for number in range(1, max(len(parts), before)):
                found[_name(key, number)] = parts[number] if number < len(parts) else None
        return found

    def join(self, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Values as they were, of all that is stored; call it once, first."""
        found: dict[str, bytes] = {}
        for key in stored:
            if _MARK in key:
                continue
            parts = [stored[key]]
            while (part := stored.get(_name(key, len(parts)))) is not None:
                parts.append(part)
            if len(parts) > 1:
                self._counts[key] = len(parts)
            found[key] = b"".join(parts)
        return found


def _name(key: str, number: int) -> str:
    return f"{key}{_MARK}{number}"
