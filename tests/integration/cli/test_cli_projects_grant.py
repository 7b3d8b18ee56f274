"""`gosight projects grant` on the real PostgreSQL."""

from __future__ import annotations

from uuid import uuid4

import pytest

from cli.project_store import NotFoundError, connect, create_project, grant_role
from sql.migrate import migrate_up
from tests.stack import RunningStack, fresh_databases


def test_an_account_gets_a_role_and_another_one(running_stack: RunningStack) -> None:
    """The first owner of a project that a command made; repeating changes the role."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect(databases.database_url) as connection:
            project = create_project(connection, "Shop")
            email = f"{uuid4().hex}@example.com"
            with pytest.raises(NotFoundError):
                grant_role(connection, project.id, email, "owner")
            connection.execute(
                "INSERT INTO accounts (email, password_hash) VALUES (%s, 'x')", (email,)
            )
            for role in ("owner", "viewer"):
                grant_role(connection, project.id, email.upper(), role)
                (found,) = connection.execute("SELECT role::text FROM project_members").fetchall()
                assert found == (role,)
