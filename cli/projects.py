"""`gosight projects`: websites and applications that send events, and who sees them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import fail, print_json, print_result, print_table, told_plainly

if TYPE_CHECKING:
    from cli.project_store import Project


NAME_CHARS_MAX = 255  # As in the API.


class Role(StrEnum):
    """What an account may do in a project."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


app = typer.Typer(no_args_is_help=True, help="Create, list and give out projects.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the project, for people.")],
    domain: Annotated[
        list[str] | None,
        typer.Option(
            help="A domain that may send events, such as shop.example or *.shop.example; "
            "repeat it for several. Without any, all may."
        ),
    ] = None,
    settings: Annotated[
        str, typer.Option(help="Settings as JSON; only what differs from the defaults.")
    ] = "{}",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Create a project with one key for sending and one for reading.

    The keys are shown once: only their hashes are stored.
    """
    from cli.project_store import connect, create_key, create_project
    from cli.settings import load_settings

    name, document = _project_name(name), _settings_document(settings)
    domains = _domains(domain or [])
    with (
        told_plainly(data),
        connect(load_settings(data).database_url) as connection,
        connection.transaction(),
    ):
        project = create_project(connection, name, domains, document)
        write_key, _ = create_key(connection, project.id, name="Default", permission="write")
        read_key, _ = create_key(connection, project.id, name="Default", permission="read")
    print_result(
        {**project_document(project), "write_key": write_key, "read_key": read_key},
        as_json,
        f"project    {project.name} ({project.slug})\n"
        f"id         {project.id}\n"
        f"write key  {write_key}   (for pages: sends events)\n"
        f"read key   {read_key}   (keep it secret: reads reports)\n"
        "The keys are not shown again.",
    )


@app.command("list")
def list_command(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """List all projects, oldest first."""
    from cli.project_store import connect, list_projects
    from cli.settings import load_settings

    with told_plainly(data), connect(load_settings(data).database_url) as connection:
        projects = list_projects(connection)
    if as_json:
        print_json([project_document(project) for project in projects])
        return
    print_table(
        "Projects",
        ("id", "slug", "name", "domains", "created"),
        [
            (
                str(p.id),
                p.slug,
                p.name,
                p.allowed_domains or "any",
                f"{p.created_at:%Y-%m-%d %H:%M}",
            )
            for p in projects
        ],
    )


@app.command()
def grant(
    project: Annotated[str, typer.Argument(help="Id or slug of the project.")],
    email: Annotated[str, typer.Argument(help="E-mail of an account that has registered.")],
    role: Annotated[Role, typer.Option(help="What the account may do there.")] = Role.OWNER,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Make an account a member of a project, or give it another role there.

    Projects made by this command have no members: so the first owner comes in.
    """
    from cli.project_store import NotFoundError, connect, find_project, grant_role
    from cli.settings import load_settings

    with told_plainly(data), connect(load_settings(data).database_url) as connection:
        try:
            found = find_project(connection, project)
            account_id = grant_role(connection, found.id, email, role.value)
        except NotFoundError as error:
            fail(str(error))
    document = {"project_id": found.id, "account_id": account_id, "role": role.value}
    print_result(document, as_json, f"{email} is {role.value} of {found.slug}")


def project_document(project: Project) -> dict[str, Any]:
    """A project as commands print it in JSON."""
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "allowed_domains": project.allowed_domains,
        "settings": project.settings,
        "created_at": project.created_at,
    }


def _project_name(text: str) -> str:
    """As the API takes it: a line that says something."""
    name = text.strip()
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        fail(f"a project's name is one line of 1 to {NAME_CHARS_MAX} characters")
    return name


def _domains(texts: list[str]) -> list[str]:
    from schemas.domains import DOMAINS_MAX, read_domain

    if len(texts) > DOMAINS_MAX:
        fail(f"--domain: at most {DOMAINS_MAX} of them")
    domains: list[str] = []
    for text in texts:
        try:
            domains.append(read_domain(text))
        except ValueError as error:
            fail(f"--domain {text}: {error}")
    return domains


def _settings_document(text: str) -> dict[str, Any]:
    from schemas.project_settings import settings_problems

    try:
        document = msgspec.json.decode(text.encode(errors="replace"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        fail(f"--settings is not a JSON object: {error}")
    problems = settings_problems(document)
    if problems:
        fail(f"--settings: {'; '.join(problems)}")
    return document
