"""The read side: REST answers about one project, from ClickHouse, PostgreSQL and Redis."""
