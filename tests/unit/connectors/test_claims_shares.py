"""How partitions are shared out among processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.claims import fair_shares


@given(
    sizes=st.dictionaries(st.sampled_from("abc"), st.integers(0, 30), min_size=1),
    members=st.integers(1, 20),
)
def test_shares_are_fair_and_add_up(sizes: dict[str, int], members: int) -> None:
    """Each topic as a whole, nobody two more than another; all topics together likewise."""
    shares = [fair_shares(sizes, rank, members) for rank in range(members)]
    for topic, size in sizes.items():
        own = [share[topic] for share in shares]
        assert sum(own) == size
        assert max(own) - min(own) <= 1
    totals = [sum(share.values()) for share in shares]
    assert max(totals) - min(totals) <= 1
