"""`gosight alerts`: rules, who hears of them, and what was sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json, OnlyProject
from cli.output import RESULT, fail, print_json, print_result, print_table, told_plainly
from cli.period import From, To

if TYPE_CHECKING:
    from cli.alert_test import Tried

app = typer.Typer(no_args_is_help=True, help="Write alert rules, test them, see what was sent.")
RuleId = Annotated[str, typer.Argument(help="Id of the rule.")]


@app.command()
def save(
    file: Annotated[Path, typer.Argument(help="The rule as a JSON document; - reads it.")],
    project: OnlyProject = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Make a rule, or change the one whose id is in the document; in force within ten seconds.

    Targets of webhooks are checked. A webhook without a secret gets one, which is shown this once.
    """
    from cli.alert_store import save_rule
    from cli.project_store import NotFoundError

    with told_plainly(data):
        try:
            saved = save_rule(data, project, _document(file))
        except (NotFoundError, ValueError) as error:
            fail(str(error))
    told = [f"secret of {url}: {secret}   (not shown again)" for url, secret in saved.secrets]
    print_result(
        {"id": saved.rule_id, "created": saved.is_new, "secrets": dict(saved.secrets)},
        as_json,
        "\n".join([f"rule {saved.rule_id} {'made' if saved.is_new else 'changed'}", *told]),
    )


@app.command("list")
def list_command(
    project: OnlyProject = "", data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """List the rules of a project, without their secrets."""
    from cli.alert_store import list_rules
    from cli.project_store import NotFoundError

    with told_plainly(data):
        try:
            rows = list_rules(data, project)
        except NotFoundError as error:
            fail(str(error))
    if as_json:
        print_json(rows)
        return
    print_table(
        "Alert rules",
        ("id", "name", "condition", "channels", "active", "muted until", "last told"),
        [
            (
                row["id"], row["name"], row["condition"], row["channels"], row["is_active"],
                row["muted_until"], row["last_triggered"],
            )
            for row in rows
        ],
    )  # fmt: skip


@app.command("test")
def sample(rule_id: RuleId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Send a sample to each channel of a rule, once and now; exit code 1 if one does not take it.

    Nothing of it is in the history, and no cooldown begins. A channel that was switched off because
    it kept failing, and takes the sample, is on again.
    """
    from cli.alert_test import try_channels
    from connectors.alert_book import UnknownRuleError

    with told_plainly(data):
        try:
            tried = try_channels(data, rule_id)
        except (UnknownRuleError, ValueError) as error:
            fail(str(error))
    is_ok = all(one.is_ok for one in tried)
    if as_json:
        print_json({"ok": is_ok, "channels": [_tried_document(one) for one in tried]})
    else:
        for one in tried:
            mark = "[green]taken    [/]" if one.is_ok else "[bold red]not taken[/]"
            told = f"{one.channel} {one.target}" + (f": {one.error}" if one.error else "")
            RESULT.print(f"{mark}  ", end="")
            RESULT.print(told, markup=False, highlight=False, soft_wrap=True)
        if not tried:
            RESULT.print("the rule has no channels: nobody would be told")
        elif any(one.is_ok for one in tried):
            RESULT.print("The sample says [TEST] before the rule's name.", markup=False)
    raise typer.Exit(0 if is_ok else 1)


@app.command()
def simulate(
    rule: Annotated[
        str, typer.Argument(help="Id of a saved rule, or a file or JSON with one; - reads it.")
    ],
    project: OnlyProject = "",
    begin: From = "7d",
    end: To = "now",
    tell_progress: Annotated[
        bool, typer.Option("--tell-progress", help="Tell progress as lines of JSON.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show when a rule would have fired on stored history, before it is switched on.

    Nothing is written or sent. The engine is that of the live flow.
    """
    from cli.alert_report import print_simulation
    from cli.alert_simulation import TooMuchHistoryError, rule_to_try, run_simulation
    from cli.period import BadPeriodError, period_ms
    from cli.project_history import project_history, shown_progress, told_progress
    from cli.project_store import NotFoundError
    from connectors.alert_book import UnknownRuleError
    from schemas.alert_rules import RuleError

    with told_plainly(data):
        try:
            start_ms, end_ms = period_ms(begin, end)
            document = _rule_to_try(rule)
            found = rule_to_try(data, project, rule, document)
            with project_history(data, found.project_id) as history:
                report = run_simulation(
                    history.client,
                    found,
                    start_ms,
                    end_ms,
                    told_progress
                    if tell_progress
                    else lambda total: shown_progress("reading events", total),
                )
        except (NotFoundError, UnknownRuleError, BadPeriodError, TooMuchHistoryError) as error:
            fail(str(error))
        except RuleError as error:
            fail(f"the rule cannot be read: {error}")
    if as_json:
        print_json(report)
    else:
        print_simulation(report, found)


@app.command()
def mute(
    rule_id: RuleId,
    minutes: Annotated[
        int, typer.Option(min=0, max=43_200, help="For how long; 0 ends the mute.")
    ] = 60,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Send nothing of a rule for a while; what fires meanwhile is in the history as suppressed."""
    from cli.alert_store import mute_rule
    from connectors.alert_book import UnknownRuleError

    with told_plainly(data):
        try:
            until = mute_rule(data, rule_id, minutes)
        except UnknownRuleError as error:
            fail(str(error))
    told = f"muted until {until:%Y-%m-%d %H:%M:%S} UTC" if until else "not muted any more"
    print_result({"id": rule_id, "muted_until": until}, as_json, told)


@app.command("rotate-secret")
def rotate_secret(
    rule_id: RuleId,
    finish: Annotated[
        bool, typer.Option("--finish", help="Forget the old secret: receivers know the new one.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Give each webhook of a rule a new secret; both sign for a day, or until --finish."""
    from cli.alert_store import rotate
    from connectors.alert_book import OLD_SECRET_HOURS, UnknownRuleError

    with told_plainly(data):
        try:
            made = rotate(data, rule_id, is_end=finish)
        except UnknownRuleError as error:
            fail(str(error))
    lines = [f"new secret of {url}: {secret}   (not shown again)" for url, secret in made]
    if made:
        lines.append(f"the old one signs, too, for {OLD_SECRET_HOURS} hours; --finish ends it now")
    print_result(
        {"id": rule_id, "secrets": dict(made)},
        as_json,
        "\n".join(lines) or "only the newest secrets sign from now on",
    )


@app.command()
def history(
    project: OnlyProject = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many, newest first.")] = 50,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show what fired, what was kept back, and what became of each message."""
    from cli.alert_store import list_history
    from cli.project_store import NotFoundError

    with told_plainly(data):
        try:
            rows = list_history(data, project, limit)
        except NotFoundError as error:
            fail(str(error))
    if as_json:
        print_json(rows)
        return
    print_table(
        "Alerts",
        ("at", "rule", "kind", "group", "value", "over at", "deliveries"),
        [
            (
                f"{row['triggered_at']:%Y-%m-%d %H:%M:%S}",
                row["rule_name"],
                row["kind"] + (f" ({row['suppressed_by']})" if row["suppressed_by"] else ""),
                ", ".join(f"{key}={value}" for key, value in row["group"].items()),
                "" if row["metric_value"] is None else f"{row['metric_value']:g}",
                f"{row['resolved_at']:%H:%M:%S}" if row["resolved_at"] else "",
                [f"{one['channel']} {one['kind']}: {one['status']}" for one in row["deliveries"]],
            )
            for row in rows
        ],
    )


def _rule_to_try(text: str) -> dict[str, Any] | None:
    """The document that was given, as such or in a file; None for the id of a saved rule."""
    import msgspec

    if text.startswith("{"):
        try:
            return msgspec.json.decode(text.encode(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            fail(f"the rule is not a JSON object: {error}")
    return _document(Path(text)) if text == "-" or Path(text).is_file() else None


def _document(file: Path) -> dict[str, Any]:
    import sys

    import msgspec

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return msgspec.json.decode(text, type=dict[str, Any])
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    except msgspec.DecodeError as error:
        fail(f"{file} is not a JSON object: {error}")


def _tried_document(one: Tried) -> dict[str, Any]:
    return {
        "type": one.channel,
        "target": one.target,
        "ok": one.is_ok,
        "status": one.status,
        "error": one.error,
    }
