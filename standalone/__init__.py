"""The real servers on one machine without Docker, from packages, on loopback only.

In comes a data directory; out come four running servers (Kafka, ClickHouse, PostgreSQL, Valkey)
and the environment variables that lead to them. Their data survives a restart.
"""
