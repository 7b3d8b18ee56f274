"""`.env.example`, the settings classes and docker-compose.yml name the same variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from api.erasures.settings import ErasureSettings
from api.settings import ApiSettings
from cli.settings import CliSettings
from connectors.settings import ConnectionSettings, EnvSettings
from flows.settings import FlowSettings
from ingest_gateway.settings import GatewaySettings
from sql.settings import MigrationSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: tuple[type[EnvSettings], ...] = (
    ConnectionSettings,
    GatewaySettings,
    FlowSettings,
    ApiSettings,
    ErasureSettings,
    CliSettings,
    MigrationSettings,
)
# Read by standalone/settings.py, which needs no model for one folder.
OTHER_VARIABLES = frozenset({"GOSIGHT_CACHE_DIR"})
# Service of docker-compose.yml -> what its process reads. `migrate` runs two commands.
PROCESSES: dict[str, tuple[type[EnvSettings], ...]] = {
    "gateway": (GatewaySettings,),
    "storage": (FlowSettings,),
    "alerts": (FlowSettings,),
    "behaviour": (FlowSettings,),
    "results": (FlowSettings,),
    "alert_delivery": (FlowSettings,),
    "erasures": (ErasureSettings,),
    "api": (ApiSettings,),
    "migrate": (MigrationSettings, CliSettings),
}
# What a service's process could read and does not: places, detectors, blocks.
FOR_DETECTORS = frozenset({"DETECTORS_DIR", "DETECTION_FILE"})
FOR_EVENTS = FOR_DETECTORS | {"GEOIP_DATABASE", "CLOCK_AHEAD_SECONDS_MAX"}
FOR_MESSAGES = frozenset(
    {"TELEGRAM_BOT_TOKEN", "TELEGRAM_API_URL", "WEBHOOK_ALLOWED_NETWORKS", "DASHBOARD_URL"}
)
FOR_RULES = frozenset({"ALERT_DELAY_SECONDS", "ALERT_LAG_SECONDS_MAX"})
UNUSED = {
    "migrate": FOR_EVENTS,
    "alerts": {"BATCH_ROWS", "BATCH_SECONDS"} | FOR_DETECTORS | FOR_MESSAGES,
    "results": FOR_EVENTS | FOR_MESSAGES | FOR_RULES,
    "storage": {"CLOCK_AHEAD_SECONDS_MAX"} | FOR_DETECTORS | FOR_MESSAGES | FOR_RULES,
    "behaviour": {"BATCH_ROWS", "BATCH_SECONDS"} | FOR_MESSAGES | FOR_RULES,
    "alert_delivery": {"BATCH_ROWS", "BATCH_SECONDS"} | FOR_EVENTS,
}
# Secrets that not every installation has: without them a part does not work, and says so.
OPTIONAL_SECRETS = frozenset({"TELEGRAM_BOT_TOKEN", "JWT_SECRET_PREVIOUS"})
_SETTING = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::?([-?+])([^}]*))?\}")


def read_example(text: str) -> dict[str, str]:
    """Variables of an env file; each must have a comment above it."""
    found: dict[str, str] = {}
    above = ""
    for line in text.splitlines():
        setting = _SETTING.fullmatch(line)
        if setting is None:
            assert line in ("", "#") or line.startswith("# "), (
                f"neither a comment nor NAME=value: {line}"
            )
        else:
            name, value = setting.groups()
            assert name not in found, f"{name} is there twice"
            assert above.startswith("# "), f"{name} has no comment"
            found[name] = value
        above = line
    return found


EXAMPLE_TEXT = (ROOT / ".env.example").read_text(encoding="utf-8")
EXAMPLE = read_example(EXAMPLE_TEXT)
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def variables(model: type[EnvSettings]) -> set[str]:
    """The environment variables of a settings class."""
    return {field.alias or name for name, field in model.model_fields.items()}


def references(text: str) -> dict[str, tuple[str, str]]:
    """Variables that a compose file takes from its environment: name -> (operator, word)."""
    return {name: (operator, word) for name, operator, word in _REFERENCE.findall(text)}


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    """The example names what the settings classes and the compose file read, and no more."""
    read = set().union(*(variables(model) for model in SETTINGS)) | OTHER_VARIABLES
    assert set(EXAMPLE) == read | set(references(COMPOSE_TEXT)) | {"COMPOSE_PROFILES"}


@pytest.mark.parametrize("model", SETTINGS, ids=lambda model: model.__name__)
def test_example_values_are_the_defaults(model: type[EnvSettings]) -> None:
    """Settings read from the example are the settings of an empty environment."""
    assert model.from_env(EXAMPLE) == model.from_env({})


@pytest.mark.parametrize("service", PROCESSES)
def test_compose_passes_each_process_what_it_reads(service: str) -> None:
    """A service's environment has exactly the variables of its process's settings."""
    wanted = set().union(*(variables(model) for model in PROCESSES[service]))
    wanted -= UNUSED.get(service, frozenset())
    assert set(yaml.safe_load(COMPOSE_TEXT)["services"][service]["environment"]) == wanted


def test_compose_passes_settings_under_their_own_name() -> None:
    """`NAME: ${NAME:-}` never crosses names, so that .env means what its comments say."""
    services = yaml.safe_load(COMPOSE_TEXT)["services"]
    for service in PROCESSES:
        for name, value in services[service]["environment"].items():
            whole = _REFERENCE.fullmatch(value)
            assert whole is None or whole.group(1) == name, f"{service}: {name} is {value}"


def test_defaults_of_compose_are_those_of_the_example() -> None:
    """Where the compose file has a default of its own, the example shows the same."""
    own = {
        name: word
        for name, (operator, word) in references(COMPOSE_TEXT).items()
        if operator == "-" and word
    }
    assert own
    assert {name: EXAMPLE[name] for name in own} == own


def test_secrets_are_asked_for_and_empty_in_the_example() -> None:
    """A name that sounds like a secret has no default anywhere."""
    secret = re.compile(r"PASSWORD|SECRET|TOKEN")
    names = [name for name in EXAMPLE if secret.search(name)]
    assert len(names) >= 5
    for name in names:
        assert EXAMPLE[name] == "", name
        wanted = "-" if name in OPTIONAL_SECRETS else "?"
        assert references(COMPOSE_TEXT)[name][0] == wanted, name


@pytest.mark.parametrize(
    "text", ["A_NAME=1\n", "# why\n#A_NAME=1\n", "# why\nA=1\n# why\nA=2\n", "# why\na=1\n"]
)
def test_a_bad_example_is_refused(text: str) -> None:
    """Uncommented, switched-off, repeated and misspelt settings do not pass the reader."""
    with pytest.raises(AssertionError):
        read_example(text)
