"""`gosight keys`: who may send events of a project, and who may read its reports."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json, Project
from cli.output import PEOPLE, fail, print_json, print_result, print_table, told_plainly

if TYPE_CHECKING:
    from cli.project_store import KeyRow

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke keys of projects.")


class Permission(StrEnum):
    """What a key may do."""

    WRITE = "write"
    READ = "read"
    ADMIN = "admin"


@app.command()
def create(
    project: Project,
    permission: Annotated[
        Permission, typer.Option(help="write sends events, read reads reports, admin both.")
    ] = Permission.WRITE,
    name: Annotated[str, typer.Option(help="A name to tell keys apart.")] = "Default",
    rate_limit: Annotated[int, typer.Option(min=1, help="Requests a second.")] = 1_000,
    burst: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 5_000,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Create a key. It is shown once: only its hash is stored."""
    from cli.project_store import NotFoundError, connect, create_key, find_project
    from cli.settings import load_settings

    with told_plainly(data), connect(load_settings(data).database_url) as connection:
        try:
            found = find_project(connection, project)
        except NotFoundError as error:
            fail(str(error))
        text, row = create_key(
            connection,
            found.id,
            name=name,
            permission=permission.value,
            rate_limit=rate_limit,
            burst=burst,
        )
    print_result(
        {**key_document(row), "key": text},
        as_json,
        f"{text}\n{permission.value} key {row.id} of {found.slug}. It is not shown again.",
    )


@app.command("list")
def list_command(
    project: Annotated[str, typer.Option("--project", "-p", help="Id or slug; else all.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List keys, oldest first. Of the keys themselves only the first characters are known."""
    from cli.project_store import NotFoundError, connect, find_project, list_keys
    from cli.settings import load_settings

    with told_plainly(data), connect(load_settings(data).database_url) as connection:
        try:
            project_id = find_project(connection, project).id if project else None
        except NotFoundError as error:
            fail(str(error))
        rows = list_keys(connection, project_id)
    if as_json:
        print_json([key_document(row) for row in rows])
        return
    print_table(
        "Keys",
        ("id", "begins with", "may", "name", "state", "requests/s", "project"),
        [
            (
                str(row.id),
                row.key_prefix + "…",
                row.permissions,
                row.name,
                "active" if row.is_active else "revoked",
                row.rate_limit,
                str(row.project_id),
            )
            for row in rows
        ],
    )


@app.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="Id of the key, as `gosight keys list` shows it.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Make a key invalid for ever; every process refuses it within ten seconds."""
    from cli.project_store import NotFoundError, connect, revoke_key
    from cli.settings import load_settings

    with told_plainly(data):
        settings = load_settings(data)
        with connect(settings.database_url) as connection:
            try:
                key_hash = revoke_key(connection, key_id)
            except NotFoundError as error:
                fail(str(error))
    is_cache_told = asyncio.run(_tell_cache(settings.redis_url, key_hash))
    if not is_cache_told:
        PEOPLE.print(
            "[yellow]Redis does not answer:[/] if it comes back with its old data within five "
            "minutes, the key may work until they are over. Run the command again then."
        )
    document = {"id": key_id, "revoked": True, "cache_told": is_cache_told}
    print_result(document, as_json, f"key {key_id} is revoked")


async def _tell_cache(redis_url: str, key_hash: str) -> bool:
    """Replace the shared cache entry of the key; False if Redis is away."""
    from connectors.errors import RetryableError
    from connectors.redis import RedisKeyCache, connect_redis

    client = connect_redis(redis_url, timeout_s=2.0)
    try:
        await RedisKeyCache(client).revoke(key_hash)
    except RetryableError:
        return False
    finally:
        await client.aclose()
    return True


def key_document(row: KeyRow) -> dict[str, Any]:
    """A key's row as commands print it in JSON."""
    return {
        "id": row.id,
        "project_id": row.project_id,
        "name": row.name,
        "key_prefix": row.key_prefix,
        "permissions": row.permissions,
        "rate_limit": row.rate_limit,
        "burst": row.burst,
        "is_active": row.is_active,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
    }
