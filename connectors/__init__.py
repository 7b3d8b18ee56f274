"""The only code that talks to the world: Kafka, ClickHouse, Redis, PostgreSQL."""
