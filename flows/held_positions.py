"""Positions of partitions that are still held: noted by their holder and nobody else.

A process that stood still while it wrote a block does not know that others have its partitions, and
have noted more than it would now. To set that back costs no rows, which are written again, but
shows a lag that is none until the next record comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.claims import Claims
from connectors.errors import RetryableError
from connectors.kafka_log import BlockName, Part, PositionStore


def be_sure(claims: Claims) -> None:
    """Ask, and wait, whether what is held is held for certain.

    Raises:
        RetryableError: it is not.
    """
    if not claims.confirm():
        raise RetryableError("it is not certain who holds the partitions")


def finish_held(
    positions: PositionStore, claims: Claims, block: BlockName, epochs: Mapping[Part, int]
) -> None:
    """Note that a block is stored, for those of its partitions that are held as in `epochs`.

    Raises:
        RetryableError: it is not certain who holds them, or the store cannot be reached.
    """
    be_sure(claims)
    held = claims.held()
    spans = tuple(span for span in block.spans if held.get(span.part) == epochs[span.part])
    if spans:
        positions.finish(BlockName(spans))
