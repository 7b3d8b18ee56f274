"""Migrations of both databases, the one runner that applies them, and every read query."""
