"""Rows on their way to ClickHouse."""

from __future__ import annotations

import pyarrow as pa

from connectors.clickhouse import arrow_stream


def test_a_table_of_many_chunks_goes_out_as_one_block() -> None:
    """Each record batch of the stream would become a part and a run of every view."""
    piece = pa.table({"name": ["a", "b"], "count": [1, 2]})
    table = pa.concat_tables([piece] * 50)
    assert table.column("name").num_chunks == 50
    batches = list(pa.ipc.open_stream(arrow_stream(table)))
    assert [batch.num_rows for batch in batches] == [100]
    assert pa.Table.from_batches(batches).equals(table)
