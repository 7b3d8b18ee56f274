"""The command line itself: help texts, wrong calls, servers that are away."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from cli.output import told_plainly
from cli.settings import why_no_server

runner = CliRunner()
# Port 1 of this machine: nobody listens there.
NOWHERE = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "CLICKHOUSE_URL": "http://u:p@127.0.0.1:1/d",
    "DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/d",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "NO_COLOR": "1",
    "COLUMNS": "200",
}
COMMANDS = [
    ["demo"],
    ["up"],
    ["doctor"],
    ["ledger"],
    ["loadgen"],
    ["version"],
    ["projects", "create"],
    ["projects", "list"],
    ["projects", "grant"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["migrate", "up"],
    ["migrate", "status"],
    ["migrate", "verify"],
    ["topics", "create"],
    ["topics", "check"],
    ["serve", "ingest"],
    ["serve", "api"],
    ["flow", "run"],
    ["flow", "graph"],
    ["dlq", "list"],
    ["dlq", "retry"],
    ["detectors", "list"],
    ["detectors", "test"],
    ["explain"],
    ["backtest"],
    ["sessions", "repair"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    """`--help` works for each command and says more than its name."""
    result = runner.invoke(app, [*command, "--help"], env=NOWHERE)
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
    assert len(result.output) > 200


def test_without_a_command_the_help_names_the_first_one() -> None:
    """A newcomer who types `gosight` is told where to start."""
    result = runner.invoke(app, [], env=NOWHERE)
    assert "gosight demo" in result.output


def test_version_as_json() -> None:
    """`--json` prints one document and nothing else."""
    result = runner.invoke(app, ["version", "--json"])
    assert set(json.loads(result.stdout)) == {"version"}


@pytest.mark.parametrize(
    "command", [["projects", "list"], ["keys", "list"], ["topics", "check"], ["ledger"]]
)
def test_servers_that_are_away_give_one_line_and_exit_1(command: list[str]) -> None:
    """No stack trace and no password is shown when a server does not answer."""
    result = runner.invoke(app, command, env=NOWHERE)
    assert result.exit_code == 1
    assert "error:" in result.output
    assert "Traceback" not in result.output
    assert "hidden" not in result.output


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        (["projects", "list"], "DATABASE_URL", "mysql://u:hidden@d"),
        (["keys", "list"], "DATABASE_URL", "mysql://u:hidden@d"),
        (["sessions", "repair"], "DATABASE_URL", "mysql://u:hidden@d"),
        (["migrate", "status"], "DATABASE_URL", "mysql://u:hidden@d"),
        (["doctor"], "REDIS_URL", "hidden"),
        (["dlq", "retry", "--dry-run"], "REDIS_URL", "hidden"),
        (["ledger"], "CLICKHOUSE_URL", "http://u:hidden:c/d"),
        (["flow", "run", "storage", "--processes", "2"], "REDIS_URL", "hidden"),
    ],
)
def test_an_address_that_cannot_be_right_is_one_line(
    command: list[str], variable: str, value: str
) -> None:
    """It names the variable, and nothing of its value: there may be a password in it."""
    result = runner.invoke(app, command, env={**NOWHERE, variable: value})
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr.startswith(f"error: invalid settings: {variable}: ")
    assert len(result.stderr.splitlines()) == 1
    assert "hidden" not in result.output


@pytest.mark.parametrize("command", [["up"], ["demo", "--once"]], ids=" ".join)
def test_a_folder_that_cannot_hold_data_is_one_line(command: list[str], tmp_path: Path) -> None:
    """A file in its place, as an example."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        result = runner.invoke(app, [*command, "--data", str(folder)], env=NOWHERE)
        assert result.exit_code == 1
        assert f"{folder} cannot hold data: it is no folder" in result.stderr
        assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (psycopg.errors.UndefinedTable('relation "projects" does not exist'), "migrate up"),
        (psycopg.errors.InsufficientPrivilege("permission denied for table"), "PostgreSQL refuses"),
    ],
)
def test_what_the_system_or_the_database_refuses_is_one_line(
    error: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for what a person can do something about."""
    with pytest.raises(typer.Exit), told_plainly():
        raise error
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "unset"),
    [
        (["projects", "list"], "DATABASE_URL is not set"),
        (["keys", "list"], "DATABASE_URL is not set"),
        (["topics", "check"], "no address of a server is set"),
    ],
)
def test_without_any_server_the_platform_is_not_running(
    command: list[str], unset: str, tmp_path: Path
) -> None:
    """Who named no server is told of `gosight up` and its folder, not of a variable alone."""
    (tmp_path / "environment.json").write_text(json.dumps(NOWHERE))  # Of a killed one.
    unnamed = {name: None for name in NOWHERE if name.endswith(("_URL", "_BROKERS"))}
    result = runner.invoke(app, [*command, "--data", str(tmp_path)], env={**NOWHERE, **unnamed})
    assert result.exit_code == 1
    told = f"error: `gosight up` is not running on {tmp_path}, and {unset} ("
    assert result.stderr.startswith(told), result.stderr
    assert "hidden" not in result.output


def test_one_server_that_is_not_named_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others are named, the data folder is not looked at."""
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    assert why_no_server(tmp_path, "DATABASE_URL") == ""
    monkeypatch.delenv("DATABASE_URL")
    told = "no server answers where it usually is, and DATABASE_URL is not set"
    assert why_no_server(tmp_path, "DATABASE_URL") == told


def test_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    """Each server that is away is a failing check with advice; packages are fine."""
    result = runner.invoke(
        app, ["doctor", "--json", "--data", str(tmp_path)], env={**NOWHERE, "GEOIP_DATABASE": "/no"}
    )
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    failing = {name for name, check in checks.items() if not check["ok"]}
    assert failing == {"postgres", "clickhouse", "redis", "kafka", "migrations", "places"}
    assert all(checks[name]["advice"] for name in failing)
    assert checks["protobuf"]["ok"]


@pytest.mark.parametrize(
    ("flow", "steps"),
    [("storage", ("read", "cut", "write")), ("results", ("read", "show", "write"))],
)
def test_a_flow_is_drawn_without_a_server(flow: str, steps: tuple[str, ...]) -> None:
    """The diagram is made from the flow's own steps."""
    result = runner.invoke(app, ["flow", "graph", flow], env=NOWHERE)
    assert result.exit_code == 0, result.output
    for step in steps:
        assert step in result.stdout


@pytest.mark.parametrize("command", [["flow", "run", "nothing"], ["flow", "graph", "nothing"]])
def test_an_unknown_flow_is_told_with_those_there_are(command: list[str]) -> None:
    """The names of the flows are in the message."""
    result = runner.invoke(app, command, env=NOWHERE)
    assert result.exit_code == 1
    assert "storage" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["keys", "revoke", "not-an-id"],
        ["keys", "create", "--project", "x", "--permission", "everything"],
        ["dlq", "list", "--reason", "bad_mood"],
        ["loadgen", "--rate", "0"],
    ],
)
def test_wrong_values_are_wrong_calls(command: list[str]) -> None:
    """A value that an option does not take ends with exit code 2."""
    assert runner.invoke(app, command, env=NOWHERE).exit_code == 2


def test_limits_of_a_key_are_told_as_they_are_counted() -> None:
    """One request takes one token, however many events it brings."""
    help_text = runner.invoke(app, ["keys", "create", "--help"], env={"COLUMNS": "200"}).output
    assert "Requests a second." in help_text
    assert "Requests at once." in help_text
    assert "Events" not in help_text


def test_settings_of_a_project_must_be_an_object() -> None:
    """A settings document that is no JSON object is refused before anything is written."""
    result = runner.invoke(app, ["projects", "create", "x", "--settings", "[1]"], env=NOWHERE)
    assert result.exit_code == 1
    assert "--settings" in result.output


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('{"insights":{"rage_click":{"min_clicks":1}}}', "insights.rage_click.min_clicks: must be"),
        ('{"insights":{"rage_clicks":{}},"currency":7}', "insights.rage_clicks: unknown key; curr"),
        ('{"event":{}}', "event: unknown key"),
        ('{"[/x]":{}}', "[/x]: unknown key"),
        ('{"notify":"' + "x" * 65_536 + '"}', "settings: must not be over 65536 bytes"),
    ],
)
def test_settings_of_a_project_are_checked_as_the_api_checks_them(document: str, told: str) -> None:
    """What may not be saved over HTTP is refused before anything is written, all of it named."""
    result = runner.invoke(app, ["projects", "create", "x", "--settings", document], env=NOWHERE)
    assert result.exit_code == 1
    assert told in result.output


@pytest.mark.parametrize(
    "domain", ["localhost:3000", "Foo Bar", "https://x.example/path", "*", "", "x" * 254]
)
def test_domains_of_a_project_are_checked_as_the_api_checks_them(domain: str) -> None:
    """A domain that no page can match would shut all of them out: it is refused, and named."""
    command = ["projects", "create", "x", "--domain", "shop.example", "--domain", domain]
    result = runner.invoke(app, command, env={**NOWHERE, "COLUMNS": "400"})
    assert result.exit_code == 1
    assert f"--domain {domain}: is no domain" in result.output


@pytest.mark.parametrize("name", ["", "  ", "x" * 256, "two\nlines"])
def test_a_project_has_a_name(name: str) -> None:
    """An empty name, or one that is no line, is refused before anything is written."""
    result = runner.invoke(app, ["projects", "create", name], env=NOWHERE)
    assert result.exit_code == 1
    assert "a project's name is one line of 1 to 255 characters" in result.output
