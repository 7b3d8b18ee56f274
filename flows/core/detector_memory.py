"""What detectors remember of one session, and its form in bytes.

A session is stored whenever something came, and its detectors are mostly asked later, so what they
remember keeps its stored form: encoded once, when first asked for, and opened when it is needed.
Only when the next deadline is must be known before. Never changed once made. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flows.core.detectors.evidence import Evidence
from flows.core.insight import Finding


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A finding that may still be covered, until then."""

    finding: Finding
    until_ms: int


class Opened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`states` are by name of their detector, raw ones as they were stored; those of unknown
    detectors are kept as they are. `evidence` is what exclusions may still look at, in order;
    `waiting` are findings that may still be covered, and `failed` names detectors that are dropped.
    """

    states: Mapping[str, msgspec.Raw] = {}
    evidence: tuple[Evidence, ...] = ()
    waiting: Mapping[str, tuple[Waiting, ...]] = {}
    failed: tuple[str, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Opened).decode


class DetectorMemory:
    """See the module. `deadlines` are by detector, in the visitor's time."""

    __slots__ = ("_opened", "_packed", "deadlines")

    def __init__(
        self, opened: Opened | None = None, deadlines: Mapping[str, int] | None = None
    ) -> None:
        self._opened: Opened | None = Opened() if opened is None else opened
        self._packed: bytes | None = None
        self.deadlines: Mapping[str, int] = deadlines or {}

    @classmethod
    def restored(cls, stored: Any) -> DetectorMemory:
        """The memory of `stored`."""
        made = cls.__new__(cls)
        made.deadlines, made._packed = stored
        made._opened = None
        return made

    @property
    def stored(self) -> tuple[Mapping[str, int], bytes]:
        """What `restored` makes a memory of."""
        if self._packed is None:
            self._packed = _encode(self._opened)
        return self.deadlines, self._packed

    @property
    def opened(self) -> Opened:
        """All of it.

        Raises:
            msgspec.MsgspecError: what was stored is of another version.
        """
        if self._opened is None:
            assert self._packed is not None
            self._opened = _decode(self._packed)
        return self._opened

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DetectorMemory) and self.stored == other.stored

    def __hash__(self) -> int:
        return hash(self.stored[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return DetectorMemory.restored, (self.stored,)


NOTHING = DetectorMemory()
