"""What the PostgreSQL schema allows, refuses and takes away with its owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.stack import RunningStack

pytestmark = pytest.mark.integration

HASH = "0123456789abcdef" * 4


@pytest.fixture
def connection(migrated: RunningStack) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose changes are taken back after the test."""
    with psycopg.connect(migrated.database_url) as connection:
        yield connection
        connection.rollback()


def add(connection: psycopg.Connection[Any], table: str, **values: Any) -> Any:
    """Insert one row; returns its id, or None for a table without one."""
    columns = ", ".join(values)
    places = ", ".join(["%s"] * len(values))
    returning = "" if table.endswith("members") else " RETURNING id"
    cursor = connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({places}){returning}".encode(),
        list(values.values()),
    )
    row = cursor.fetchone() if returning else None
    return row[0] if row else None


def count(connection: psycopg.Connection[Any], table: str) -> int:
    """Rows of a table."""
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def a_project(connection: psycopg.Connection[Any], slug: str = "shop") -> tuple[Any, Any]:
    """A tenant and its project."""
    tenant = add(connection, "tenants", name="Acme")
    return tenant, add(connection, "projects", tenant_id=tenant, name="Shop", slug=slug)


def an_account(connection: psycopg.Connection[Any], email: str = "Ann@Example.com") -> Any:
    """An account."""
    return add(connection, "accounts", email=email, password_hash="x")


def test_an_address_in_other_letters_is_the_same_account(
    connection: psycopg.Connection[Any],
) -> None:
    """Capital letters do not make a second account."""
    an_account(connection, "Ann@Example.com")
    with pytest.raises(errors.UniqueViolation):
        an_account(connection, "aNN@eXAMPLE.COM")


def test_deleting_a_tenant_removes_all_that_is_its(connection: psycopg.Connection[Any]) -> None:
    """Projects, keys, members, rules, history and filters go; accounts and other tenants stay."""
    account = an_account(connection)
    tenant, project = a_project(connection)
    _, other = a_project(connection, "other")
    for owner, digit in ((project, "a"), (other, "b")):
        add(
            connection, "api_keys", project_id=owner, key_hash=digit * 64, key_prefix="gs_live_abcd"
        )
        add(connection, "project_members", project_id=owner, account_id=account, role="owner")
        rule = add(connection, "alert_rules", project_id=owner, name="Rage", condition="{}")
        add(connection, "alert_history", project_id=owner, rule_id=rule)
        add(
            connection,
            "saved_filters",
            project_id=owner,
            account_id=account,
            name="Mine",
            filter_type="events",
            filter="{}",
        )
    add(connection, "tenant_members", tenant_id=tenant, account_id=account)
    connection.execute("DELETE FROM tenants WHERE id = %s", (tenant,))
    for table in (
        "tenants",
        "projects",
        "api_keys",
        "project_members",
        "alert_rules",
        "alert_history",
        "saved_filters",
        "accounts",
    ):
        assert count(connection, table) == 1, table
    assert count(connection, "tenant_members") == 0


def test_deleting_an_account_removes_its_logins_and_keeps_the_projects(
    connection: psycopg.Connection[Any],
) -> None:
    """Memberships, filters, logins and tokens go; rules that it wrote stay."""
    account = an_account(connection)
    _, project = a_project(connection)
    add(connection, "project_members", project_id=project, account_id=account)
    add(connection, "alert_rules", project_id=project, name="a", condition="{}", created_by=account)
    login = add(
        connection,
        "auth_sessions",
        account_id=account,
        token_hash=HASH,
        expires_at="2030-01-01T00:00:00Z",
    )
    tokens = [
        add(
            connection,
            "refresh_tokens",
            family_id=login,
            token_hash=digit * 64,
            expires_at="2030-01-01T00:00:00Z",
        )
        for digit in "ab"
    ]
    connection.execute(
        "UPDATE refresh_tokens SET used_at = now(), replaced_by = %s WHERE id = %s",
        (tokens[1], tokens[0]),
    )
    connection.execute("DELETE FROM accounts WHERE id = %s", (account,))
    for table in ("project_members", "auth_sessions", "refresh_tokens"):
        assert count(connection, table) == 0, table
    assert connection.execute("SELECT created_by FROM alert_rules").fetchall() == [(None,)]
    assert count(connection, "projects") == 1


def test_history_outlives_its_rule(connection: psycopg.Connection[Any]) -> None:
    """A deleted rule leaves what it told, with its context, and absence needs no value."""
    _, project = a_project(connection)
    rule = add(connection, "alert_rules", project_id=project, name="Silence", condition="{}")
    add(
        connection,
        "alert_history",
        project_id=project,
        rule_id=rule,
        context='{"rule_name": "Silence"}',
    )
    connection.execute("DELETE FROM alert_rules WHERE id = %s", (rule,))
    found = connection.execute(
        "SELECT rule_id, metric_value, threshold, context ->> 'rule_name' FROM alert_history"
    ).fetchall()
    assert found == [(None, None, None, "Silence")]


def test_a_change_sets_updated_at(connection: psycopg.Connection[Any]) -> None:
    """Writers cannot forget it."""
    _, project = a_project(connection)
    connection.execute("UPDATE projects SET updated_at = '2020-01-01', created_at = '2020-01-01'")
    row = connection.execute(
        "SELECT updated_at = now(), created_at < now() FROM projects WHERE id = %s", (project,)
    ).fetchone()
    assert row == (True, True)


def test_defaults_are_what_the_gateway_relies_on(connection: psycopg.Connection[Any]) -> None:
    """A new project differs in nothing from the defaults; a new key writes, at the usual rate."""
    _, project = a_project(connection)
    add(connection, "api_keys", project_id=project, key_hash=HASH, key_prefix="gs_live_abcd")
    assert connection.execute("SELECT settings, allowed_domains FROM projects").fetchall() == [
        ({}, [])
    ]
    assert connection.execute(
        "SELECT name, permissions, rate_limit, burst, is_active, revoked_at, expires_at, "
        "last_used_at FROM api_keys"
    ).fetchall() == [("Default", ["write"], 1000, 5000, True, None, None, None)]


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"key_hash": HASH.upper()}, errors.CheckViolation),
        ({"key_hash": "gs_live_" + "a" * 32}, errors.CheckViolation),
        ({"key_hash": "0" * 65}, errors.StringDataRightTruncation),
        ({"permissions": ["write", "everything"]}, errors.CheckViolation),
        ({"rate_limit": 0}, errors.CheckViolation),
        ({"project_id": "00000000-0000-0000-0000-000000000000"}, errors.ForeignKeyViolation),
    ],
)
def test_bad_keys_are_refused(
    connection: psycopg.Connection[Any], values: dict[str, Any], refusal: type[Exception]
) -> None:
    """Only a hash is ever stored, with known permissions, for a project that is there."""
    _, project = a_project(connection)
    good = {"project_id": project, "key_hash": HASH, "key_prefix": "gs_live_abcdefghijklmno"}
    with pytest.raises(refusal):
        add(connection, "api_keys", **good | values)


def test_hashes_slugs_and_filter_names_are_unique(connection: psycopg.Connection[Any]) -> None:
    """Two keys never share a hash, two projects a slug, two filters of one person a name."""
    account = an_account(connection)
    tenant, project = a_project(connection)
    key = {"project_id": project, "key_hash": HASH, "key_prefix": "gs_live_abcd"}
    saved = {"project_id": project, "account_id": account, "name": "Mine", "filter": "{}"}
    saved["filter_type"] = "sessions"
    for table, values in (
        ("api_keys", key),
        ("saved_filters", saved),
        ("projects", {"tenant_id": tenant, "name": "Again", "slug": "again"}),
    ):
        add(connection, table, **values)
        with pytest.raises(errors.UniqueViolation), connection.transaction():
            add(connection, table, **values)
    add(connection, "saved_filters", **saved | {"filter_type": "events"})


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("alert_rules", {"name": "", "condition": "{}"}),
        ("alert_rules", {"name": "a", "condition": "[]"}),
        ("alert_rules", {"name": "a", "condition": "{}", "channels": "{}"}),
        ("alert_rules", {"name": "a", "condition": "{}", "cooldown_mins": 1441}),
    ],
)
def test_bad_rules_are_refused(
    connection: psycopg.Connection[Any], table: str, values: dict[str, Any]
) -> None:
    """A rule has a name, a condition, a list of channels and a cool-down of at most a day."""
    _, project = a_project(connection)
    with pytest.raises(errors.CheckViolation):
        add(connection, table, project_id=project, **values)


def test_no_index_repeats_another(connection: psycopg.Connection[Any]) -> None:
    """No index is the beginning of another one of its table, and each foreign key has one."""
    found = connection.execute(
        """
        SELECT indrelid::regclass::text, indkey::text, indexrelid::regclass::text
        FROM pg_index WHERE indrelid::regclass::text NOT LIKE 'pg_%' AND indexprs IS NULL
        """
    ).fetchall()
    indexes = [(table, tuple(keys.split()), name) for table, keys, name in found]
    for table, keys, name in indexes:
        longer = [
            other
            for other_table, other_keys, other in indexes
            if other_table == table and other != name and other_keys[: len(keys)] == keys
        ]
        assert longer == [], f"{name} is covered by {longer}"
    keys_of = connection.execute(
        """
        SELECT conrelid::regclass::text, conkey[1]::text, conname
        FROM pg_constraint WHERE contype = 'f'
        """
    ).fetchall()
    assert len(keys_of) > 10
    for table, column, name in keys_of:
        assert any(one == table and keys[0] == column for one, keys, _ in indexes), name


def test_times_have_a_zone(connection: psycopg.Connection[Any]) -> None:
    """No column is a time without a zone."""
    found = connection.execute(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'
        """
    ).fetchall()
    assert found == []
