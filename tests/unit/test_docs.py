"""What the documents name exists: commands, options, targets, links, settings, paths, metrics."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from typer.main import get_command

import api
import connectors
import flows
from api.accounts.routes import ACCOUNT_ROUTES
from api.alerts.routes import ALERT_ROUTES
from api.bodies import parse_body
from api.errors import STATUS, ErrorCode
from api.goals.routes import GOAL_ROUTES
from api.parameters import EventsParameters, PeriodParameters
from api.route import BASE
from api.routes import ROUTES, Route
from cli.default_project import NAME
from cli.main import app
from flows.core.found import DETAILS_BYTES_MAX, DETAILS_MAX
from flows.core.insight import RELATED_MAX
from flows.core.session_bodies import BODY_KINDS
from flows.isolated_detector import FOUND_MAX, STATE_BYTES_MAX, WAKES_MAX
from ingest_gateway.decode import DecodeLimits, decode
from ingest_gateway.errors import ErrorKind
from ingest_gateway.judge import Project, judge
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.request import BodyForm
from schemas.records import ProjectKey, ProjectSettings
from schemas.slugs import slug_of
from schemas.topics import DAY_MS, TOPICS, Topic
from schemas.v1.events_pb2 import EventType

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "deploy", "changelog.d", "samples")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_GOSIGHT = re.compile(r"(?:^|[\s/])gosight ([a-z][^`\n]*)", re.MULTILINE)
_MAKE = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)", re.MULTILINE)
_SETTING = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")
_PLACEHOLDER = re.compile(r"^([A-Z_]+)=\.\.\.", re.MULTILINE)


def fences(text: str) -> list[tuple[str, str]]:
    """Code blocks as (language, content)."""
    return _FENCE.findall(text)


def fragments(text: str) -> list[str]:
    """All code in a document: blocks, and spans outside of them with line breaks undone."""
    spans = _SPAN.findall(_FENCE.sub("", text))
    return [content for _, content in fences(text)] + [re.sub(r"\s*\n\s*", " ", s) for s in spans]


def make_targets() -> set[str]:
    """Targets of the Makefile that have a rule."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


def command_faults(words: list[str]) -> Iterator[str]:
    """What a `gosight` call names that the command does not have."""
    command: Any = get_command(app)
    for place, word in enumerate(words):
        commands = getattr(command, "commands", None)
        if commands is None:
            options = {option for parameter in command.params for option in parameter.opts}
            for rest in words[place:]:
                if rest.startswith("-") and rest.partition("=")[0] not in {*options, "--help"}:
                    yield f"gosight {' '.join(words)}: there is no option {rest}"
            return
        if word.startswith("-"):
            return
        if word not in commands:
            yield f"gosight {' '.join(words)}: there is no command {word}"
            return
        command = commands[word]


def faults_of_calls(text: str) -> Iterator[str]:
    """Unknown make targets, gosight commands and options in a document's code."""
    for fragment in fragments(text):
        joined = fragment.replace("\\\n", " ")
        for target in _MAKE.findall(joined):
            if target not in make_targets():
                yield f"make {target}: there is no such target"
        for part in re.split(r"&&|\|\||[;|\n]", joined):
            for call in _GOSIGHT.findall(part):
                yield from command_faults(shlex.split(call, comments=True))


@pytest.mark.parametrize("name", TEXTS)
def test_commands_exist(name: str) -> None:
    """Every make target, gosight command and option in code exists."""
    assert list(faults_of_calls(TEXTS[name])) == []


@pytest.mark.parametrize(
    "text",
    ["`make demonstration`", "```sh\nmake tests\n```", "`gosight upp`", "`gosight keys make`",
     "`gosight ledger --verfy`", "`gosight migrate up && gosight topics make`"],
)  # fmt: skip
def test_unknown_commands_are_found(text: str) -> None:
    """A misspelt target, command or option does not pass."""
    assert list(faults_of_calls(text)) != []


def test_containers_run_commands_that_exist() -> None:
    """What the compose file starts is known to the command."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    calls = [
        call
        for service in services.values()
        for part in " ".join(service.get("command", ())).split("&&")
        for call in _GOSIGHT.findall(part)
    ]
    assert len(calls) == 10
    for call in calls:
        assert list(command_faults(call.split())) == []


def test_the_commands_are_told_of() -> None:
    """The documents name the commands that a newcomer and an operator need."""
    code = "\n".join(fragment for text in TEXTS.values() for fragment in fragments(text))
    told = {tuple(call.split()[:1]) for call in _GOSIGHT.findall(code)}
    needed = {"up", "doctor", "ledger", "dlq", "migrate", "topics", "serve", "flow", "keys"}
    assert {(name,) for name in needed} <= told


@pytest.mark.parametrize("name", TEXTS)
def test_links_resolve(name: str) -> None:
    """Relative links lead to files of this repository."""
    for target in _LINK.findall(_FENCE.sub("", TEXTS[name])):
        if not re.match(r"[a-z]+:", target):
            path = (ROOT / name).parent / target.partition("#")[0]
            assert path.exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_paths_exist(name: str) -> None:
    """Code spans that look like paths of this repository are."""
    tops = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".gosight", ".venv"}
    for span in _SPAN.findall(_FENCE.sub("", TEXTS[name])):
        is_path = re.fullmatch(r"[A-Za-z0-9_.*-]+(?:/[A-Za-z0-9_.*-]*)+", span)
        if (
            is_path
            and span.partition("/")[0] in tops - {".gosight", ".venv"}
            and "NNNN" not in span
        ):
            assert list(ROOT.glob(span.rstrip("/"))), f"{name} names {span}"


@pytest.mark.parametrize("name", TEXTS)
def test_settings_exist(name: str) -> None:
    """Names in capitals in code are settings, or are introduced in the document itself."""
    if "\nStatus: superseded" in TEXTS[name]:
        return  # History names what was.
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    known = set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE))
    known |= set(_PLACEHOLDER.findall(TEXTS[name])) | set(ErrorCode) | set(ErrorKind)
    known |= set(EventType.keys())
    for fragment in fragments(TEXTS[name]):
        assert set(_SETTING.findall(fragment)) <= known, name


def section(name: str, mark: str) -> list[str]:
    """The rows of a table between two marks, without its head."""
    found = re.search(rf"<!-- {mark}:begin -->\n(.*?)<!-- {mark}:end -->", TEXTS[name], re.DOTALL)
    assert found is not None, mark
    return found.group(1).splitlines()[2:]


def kept(topic: Topic) -> str:
    """How long records are there."""
    if topic.cleanup == "compact":
        return "last of a key"
    return f"{topic.retention_ms // DAY_MS} days"


def test_topics_table_is_the_registry() -> None:
    """The table of topics has the registry's rows in its order."""
    wanted = [
        f"| `{topic.name}` | {topic.partitions} | {kept(topic)} "
        f"| `{topic.key}` | `{topic.message}` | {', '.join(topic.producers)} "
        f"| {', '.join(topic.consumers)} |"
        for topic in TOPICS
    ]
    assert section("docs/architecture.md", "topics") == wanted


def metric_names() -> set[str]:
    """Names of all metrics of our own, as they are scraped."""
    for package in (api, connectors, flows):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    metrics = [*REGISTRY.collect(), *GatewayMetrics().collect()]
    return {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in metrics
        if metric.name.startswith("gosight_")
    }


def test_metrics_list_is_complete() -> None:
    """The list of metrics names each metric of the code, and no other."""
    rows = section("docs/operations.md", "metrics")
    listed = [name for row in rows for name in re.findall(r"^\| `(\w+)` \|", row)]
    assert len(listed) == len(rows) == len(set(listed))
    assert set(listed) == metric_names()


def test_each_alert_has_a_runbook() -> None:
    """The alerts of the rules and the paragraphs that say what to do are the same, in order."""
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    alerts = [
        rule["alert"]
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    text = TEXTS["docs/operations.md"].partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\*\*([A-Z][A-Za-z]+)\.\*\* \S", text, re.MULTILINE) == alerts


def test_metrics_in_rules_and_texts_exist() -> None:
    """Alerts, recording rules and texts use metrics that are there."""
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    expressions = [
        rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]
    ]
    used = set(re.findall(r"\bgosight_[a-z_]+\b", "\n".join(expressions)))
    assert used
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert families <= metric_names()  # Names of running processes: test_dashboards.
    for name, text in TEXTS.items():
        spans = set(re.findall(r"`(gosight_[a-z_]+[a-z])`", text))
        assert spans <= metric_names(), name


def test_prometheus_scrapes_services() -> None:
    """Scrape targets are services of the compose file."""
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    jobs = yaml.safe_load(text)["scrape_configs"]
    hosts = {t.partition(":")[0] for job in jobs for t in job["static_configs"][0]["targets"]}
    assert {"gateway", "storage", "api"} <= hosts <= set(compose["services"])


def readme_blocks() -> str:
    """All shell blocks of the readme."""
    return "\n".join(
        content for language, content in fences(TEXTS["README.md"]) if language == "sh"
    )


def judged_readme_event(timestamp: str) -> Any:
    """The readme's request as the gateway judges it, with the shell's clock replaced."""
    body = re.search(r"<<END\n(.*?)^END$", readme_blocks(), re.MULTILINE | re.DOTALL)
    assert body is not None
    text = body.group(1).replace("$(date +%s)000", timestamp)
    decoded = decode(text.encode(), BodyForm.JSON, DecodeLimits())
    key = ProjectKey(
        key_hash="0" * 64,
        project_id="6f1f0d5c-0c5b-4c39-9d5a-6a3f1f5a9c11",
        permissions=frozenset({"write"}),
        rate_limit_per_s=1,
        burst=1,
        is_active=True,
        expires_at_ms=None,
        allowed_domains=(),
        settings=ProjectSettings(),
    )
    return judge(decoded, Project.of(key), 1_800_000_000_000, opted_out=False)


def test_the_readme_event_is_accepted() -> None:
    """The request that a newcomer copies has one event, and it gets in."""
    judged = judged_readme_event("1799999999000")
    assert (len(judged.accepted), judged.refusals) == (1, [])


def test_the_readme_event_without_a_time_is_refused() -> None:
    """What the readme says about a timestamp of 0 is true."""
    judged = judged_readme_event("0")
    assert [refusal.reason for refusal in judged.refusals] == ["bad_timestamp"]


def test_the_readme_questions_are_answered() -> None:
    """The addresses that the readme reads are routes, and their parameters are known."""
    models = {"events": EventsParameters, "ledger": PeriodParameters}
    paths = {route.path for route in ROUTES}
    asked = re.findall(r"http://127\.0\.0\.1:8082(/[^\"\s]+)", readme_blocks())
    assert len(asked) == len(models)
    for address in asked:
        path, _, query = address.replace("$PROJECT", "{project_id}").partition("?")
        assert path in paths
        values = dict(pair.split("=") for pair in query.split("&") if pair)
        models[path.rpartition("/")[2]].model_validate(values)


def test_api_paths_exist() -> None:
    """Paths of the API in texts are in its route table."""
    paths = {route.path for route in ROUTES}
    for name, text in TEXTS.items():
        for fragment in fragments(text):
            for found in re.findall(r"/api/v1/[a-z_{}/$A-Z.-]*", fragment):
                path = found.rstrip(".")
                assert path.replace("$PROJECT", "{project_id}") in paths, f"{name}: {path}"


def test_bodies_that_are_sent_are_taken() -> None:
    """What the commands on the page of the API send is all that these calls ask for."""
    bodies = re.findall(
        r"curl -s (?:-X (\w+) )?\$API(/\S+) .*?-d '(.*?)'", TEXTS["docs/api.md"], re.DOTALL
    )
    models = {(route.method, route.path): route.body for route in ROUTES}
    paths = {path for _, path, _ in bodies}
    assert {"/auth/register", "/auth/login", "/projects"} <= paths
    for method, path, body in bodies:
        model = models[method or "POST", BASE + path.replace("$PROJECT", "{project_id}")]
        assert model is not None
        parse_body(body.encode(), model)  # type: ignore[type-var]


def test_the_account_calls_are_listed() -> None:
    """The table of calls is the route table's part of the account side, in its order."""
    wanted = [
        f"| `{route.method} {route.path}` | {caller_of(route)} | {route.summary} |"
        for route in ACCOUNT_ROUTES
    ]
    assert section("docs/api.md", "calls") == wanted


def test_the_calls_about_alerts_and_goals_are_listed() -> None:
    """The same of alerts, goals and funnels."""
    wanted = [
        f"| `{route.method} {route.path}` | {caller_of(route)} | {route.summary} |"
        for route in (*ALERT_ROUTES, *GOAL_ROUTES)
    ]
    assert section("docs/api.md", "project-calls") == wanted


def test_the_codes_of_the_api_are_told() -> None:
    """Each code with its status, in the order of the table."""
    text = TEXTS["docs/api.md"].partition("\n## Answers\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", text, re.MULTILINE)
    assert dict(told) == {code.value: str(status) for code, status in STATUS.items()}


def caller_of(route: Route) -> str:
    """Who may call a route, in a word."""
    if route.is_personal:
        return "login"
    return route.access.name.lower()


def test_the_readme_is_short() -> None:
    """A newcomer reads it in a few minutes."""
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_supported_versions_are_those_of_the_package() -> None:
    """The Python versions in the texts are those that the package allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.13"
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "Python 3.11 or 3.12" in TEXTS[name]


def test_decisions_are_numbered_listed_and_complete() -> None:
    """Decisions have no gaps, are in the list, and say context, decision and consequences."""
    files = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    index = TEXTS["docs/adr/README.md"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix(f"# {int(path.name[:4])}. ")
        assert f"- [{path.name[:4]}: {title}]({path.name})" in index
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_notes_have_a_kind() -> None:
    """Files for the changelog are named by what they are."""
    for path in (ROOT / "changelog.d").iterdir():
        assert path.name == "README.md" or re.fullmatch(
            r"[a-z0-9-]+\.(feature|fix|perf|breaking|security)\.md", path.name
        ), path.name


def test_what_a_detector_is_given_and_may_give_is_documented() -> None:
    """The types with a body, and the bounds of what is found."""
    text = TEXTS["docs/backtesting.md"]
    told = text.partition("- `event.body` is there for these types:")[2].partition(".")[0]
    assert set(_SPAN.findall(told)) == set(BODY_KINDS)
    plain = " ".join(text.split())
    assert f"One call gives at most {FOUND_MAX}: more is a failure" in plain
    assert f"`related_event_ids` the first {RELATED_MAX} are kept" in plain
    assert f"at most {DETAILS_MAX} fields and {DETAILS_BYTES_MAX // 1024} KiB" in plain
    assert f"of at most {STATE_BYTES_MAX // 1024} KiB" in plain
    assert f"after {WAKES_MAX:,} times" in plain


def test_examples_name_the_project_that_there_is_at_first() -> None:
    """Those about stored sessions are for the project of `gosight up` and of the demo."""
    projects = re.findall(r"--project (\S+)", TEXTS["docs/backtesting.md"])
    assert set(projects) == {slug_of(NAME)}
