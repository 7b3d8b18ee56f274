"""ClickHouse's HTTP interface in front of the ClickHouse engine that the chdb-core wheel embeds.

In: HTTP requests as any ClickHouse client sends them. Out: the same answers, headers and error
codes as a ClickHouse server's HTTP interface gives for one user on one node. Guarantees: data that
an answer confirmed survives the end of the process; one process per data directory; loopback only.
"""
