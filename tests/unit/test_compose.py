"""docker-compose.yml, its images and the configuration that is mounted into them."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from deploy.runtime_requirements import package_name, requirement_blocks, runtime_requirements

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
MODES = {"full", "optimized", "analytics"}
MONITORING = "monitoring"
OURS = {
    "gateway", "storage", "alerts", "behaviour", "results", "alert_delivery", "erasures", "api",
    "migrate",
}  # fmt: skip
# Gone from their registry, or not maintained any more.
WITHDRAWN = ("bitnami/", "bitnamilegacy/", "minio/", "wurstmeister/", "confluentinc/cp-zookeeper")
TOP_KEYS = {"name", "services", "volumes", "networks", "secrets", "configs"}
# The keys of the Compose specification that this project uses. Add one when it is needed.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init",
    "logging", "mem_limit", "ports", "profiles", "read_only", "restart", "security_opt",
    "stop_grace_period", "tmpfs", "ulimits", "volumes",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}
# Secrets that are there only while something is renewed.
OPTIONAL_SECRETS = {"JWT_SECRET_PREVIOUS"}
CONDITIONS = {"service_healthy", "service_completed_successfully"}
_PINNED = re.compile(r"[a-z0-9./-]+:[A-Za-z0-9._-]+")
_PORT = re.compile(r"\$\{PUBLISH_ADDRESS:-127\.0\.0\.1\}:\$\{PUBLISH_[A-Z]+_PORT:-\d+\}:\d+")


def faults(file: dict[str, Any]) -> Iterator[str]:
    """Everything in a compose file that breaks a rule of this project."""
    for key in file.keys() - TOP_KEYS:
        if not key.startswith("x-"):
            yield f"{key}: not a top-level key"
    services: dict[str, dict[str, Any]] = file["services"]
    once = {
        target
        for service in services.values()
        for target, how in service.get("depends_on", {}).items()
        if how.get("condition") == "service_completed_successfully"
    }
    for name, service in services.items():
        for fault in _service_faults(service, is_one_shot=name in once):
            yield f"{name}: {fault}"
        for target, how in service.get("depends_on", {}).items():
            if target not in services:
                yield f"{name}: depends on {target}, which is not there"
            elif not set(service.get("profiles", ())) <= set(services[target].get("profiles", ())):
                yield f"{name}: depends on {target}, which has fewer profiles"
            if how.get("condition") not in CONDITIONS:
                yield f"{name}: waits for {target} without a condition"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if not source.startswith("./") and source not in file.get("volumes", {}):
                yield f"{name}: volume {source} is not declared"


def _service_faults(service: dict[str, Any], *, is_one_shot: bool) -> Iterator[str]:
    for key in service.keys() - SERVICE_KEYS:
        yield f"{key} is not a key of a service here"
    image = service.get("image", "")
    if not _PINNED.fullmatch(image) or image.endswith((":latest", ":main", ":edge")):
        yield f"image {image!r} is not pinned"
    if image.startswith(WITHDRAWN):
        yield f"image {image} is withdrawn"
    if service.get("init") is not True:
        yield "no init process"
    profiles = set(service.get("profiles", ()))
    if profiles != {MONITORING} and (not profiles & MODES or profiles - MODES):
        yield "its profiles are not modes"
    wanted = "on-failure:5" if is_one_shot else "unless-stopped"
    if service.get("restart") != wanted:
        yield f"restart is not {wanted}"
    if not is_one_shot:
        health = service.get("healthcheck", {})
        for key in health.keys() ^ HEALTH_KEYS:
            yield f"healthcheck: {key} is missing or unknown"
    for port in service.get("ports", ()):
        if not _PORT.fullmatch(str(port)):
            yield f"port {port} is published without a choice of address"
    for variable, value in service.get("environment", {}).items():
        if not isinstance(value, str):
            yield f"{variable} is not a string: YAML would change it"
        elif variable in OPTIONAL_SECRETS:
            if value != f"${{{variable}:-}}":
                yield f"secret {variable} has a default"
        elif "PASSWORD" in variable or "SECRET" in variable:
            if not re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value):
                yield f"secret {variable} has a default"
        elif re.search(r"://[^/@$]*:[^/@$]+@", value):
            yield f"{variable} holds a password"


def test_the_file_keeps_the_rules() -> None:
    """No rule of this project is broken."""
    assert list(faults(FILE)) == []


Change = Callable[[dict[str, Any]], object]
BAD: dict[str, Change] = {
    "misspelt top-level key": lambda file: file.update({"service": {}}),
    "version": lambda file: file.update(version="3.9"),
    "misspelt service key": lambda file: file["services"]["api"].update(enviroment={}),
    "misspelt health key": lambda file: file["services"]["api"]["healthcheck"].update(retry=1),
    "no health check": lambda file: file["services"]["kafka"].pop("healthcheck"),
    "no restart": lambda file: file["services"]["kafka"].pop("restart"),
    "latest": lambda file: file["services"]["postgres"].update(image="postgres:latest"),
    "no tag": lambda file: file["services"]["postgres"].update(image="postgres"),
    "withdrawn": lambda file: file["services"]["kafka"].update(image="bitnami/kafka:4.0"),
    "dependency": lambda file: file["services"]["api"]["depends_on"].update(
        redis={"condition": "service_healthy"}
    ),
    "no condition": lambda file: file["services"]["api"]["depends_on"].update(kafka={}),
    "profile of a dependency": lambda file: file["services"]["kafka"].update(profiles=["full"]),
    "unknown mode": lambda file: file["services"]["api"].update(profiles=["lite"]),
    "volume": lambda file: file["volumes"].pop("kafka-data"),
    "open port": lambda file: file["services"]["postgres"].update(ports=["5432:5432"]),
    "secret": lambda file: file["services"]["postgres"]["environment"].update(
        POSTGRES_PASSWORD="${POSTGRES_PASSWORD:-gosight}"
    ),
    "optional secret": lambda file: file["services"]["api"]["environment"].update(
        JWT_SECRET_PREVIOUS="${JWT_SECRET_PREVIOUS:-gosight}"
    ),
    "password in a URL": lambda file: file["services"]["api"]["environment"].update(
        DATABASE_URL="postgresql://gosight:gosight@postgres:5432/gosight"
    ),
    "number": lambda file: file["services"]["api"]["environment"].update(API_PORT=8080),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_found(change: Change) -> None:
    """Each rule refuses a file that breaks it."""
    file = copy.deepcopy(FILE)
    change(file)
    assert list(faults(file)) != []


def running(mode: str) -> set[str]:
    """Services that a mode starts."""
    return {name for name, service in FILE["services"].items() if mode in service["profiles"]}


def test_modes_differ_in_the_object_store() -> None:
    """Every mode has all processes and stores; the S3 store is in the modes with replay."""
    everything = set(FILE["services"]) - running(MONITORING)
    assert running(MONITORING) == {"prometheus", "grafana"}
    assert {*OURS, "kafka", "clickhouse", "postgres", "valkey"} == everything - {"objects"}
    assert running("full") == running("optimized") == everything
    assert running("analytics") == everything - {"objects"}


def test_only_doors_are_published() -> None:
    """Stores and brokers cannot be reached from outside; dashboards can, from this machine."""
    assert {n for n, service in FILE["services"].items() if "ports" in service} == {
        "gateway",
        "api",
        "prometheus",
        "grafana",
    }


def test_ports_lead_to_where_the_processes_listen() -> None:
    """Published ports and health checks use the port that the process is told to take."""
    services = FILE["services"]
    gateway, storage, api = services["gateway"], services["storage"], services["api"]
    results = services["results"]
    inside = [port.rpartition(":")[2] for port in gateway["ports"]]
    assert inside == [
        gateway["environment"]["INGESTOR_HTTP_PORT"],
        gateway["environment"]["INGESTOR_GRPC_PORT"],
    ]
    assert api["ports"][0].rpartition(":")[2] == api["environment"]["API_PORT"]
    for service, port in (
        (gateway, gateway["environment"]["INGESTOR_HTTP_PORT"]),
        (storage, storage["environment"]["METRICS_PORT"]),
        (results, results["environment"]["METRICS_PORT"]),
        (services["behaviour"], services["behaviour"]["environment"]["METRICS_PORT"]),
        (services["alerts"], services["alerts"]["environment"]["METRICS_PORT"]),
        (services["alert_delivery"], services["alert_delivery"]["environment"]["METRICS_PORT"]),
        (services["erasures"], services["erasures"]["environment"]["METRICS_PORT"]),
        (api, api["environment"]["API_PORT"]),
    ):
        assert f"127.0.0.1:{port}/ready" in service["healthcheck"]["test"][-1]


def test_urls_name_the_services() -> None:
    """Server addresses in the environment are services, at the ports of their images."""
    environment = FILE["services"]["gateway"]["environment"]
    hosts = re.findall(r"(?:@|^)([a-z]+):(\d+)", "\n".join(environment.values()), re.MULTILINE)
    assert {
        ("kafka", "9092"),
        ("clickhouse", "8123"),
        ("postgres", "5432"),
        ("valkey", "6379"),
    } == set(hosts)


def test_processes_may_do_little() -> None:
    """Ours run without capabilities, on a read-only root, and may finish draining."""
    for name in OURS:
        service = FILE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["stop_grace_period"] == "45s"


def test_mounted_files_exist() -> None:
    """A bind mount of a missing file would become an empty folder."""
    for service in FILE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", ["config.xml", "users.xml"])
def test_clickhouse_configuration_is_xml(name: str) -> None:
    """The files that ClickHouse merges are well-formed, with the root it expects."""
    text = (ROOT / "deploy" / "clickhouse" / name).read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "clickhouse"


def dockerfile() -> str:
    """The text of the one Dockerfile."""
    return (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_runs_as_nobody_special() -> None:
    """The last user is not root, the base is pinned, and nothing of the build stage is the end."""
    stages = re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)
    assert stages == ["python:3.12-slim-bookworm"] * 2
    assert re.findall(r"^USER (\S+)", dockerfile(), re.MULTILINE) == ["10001:10001"]


def test_the_image_has_every_package() -> None:
    """All packages of the wheel are copied, and Docker is not told to ignore them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = set(re.findall(r"^COPY (\w+) \1$", dockerfile(), re.MULTILINE))
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert copied == packages
    files = re.findall(r"^COPY ((?:[\w./]+ )+)\S+$", dockerfile(), re.MULTILINE)
    for source in packages | set(" ".join(files).split()):
        assert f"!{source}\n" in ignored, source
        assert (ROOT / source).exists(), source


def test_the_image_leaves_the_standalone_servers_out() -> None:
    """Every direct requirement is in the image with its hashes; those of the extra are not."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    project = tomllib.loads(pyproject)["project"]
    kept = list(requirement_blocks(runtime_requirements(pyproject, pinned)))
    names = {package_name(block) for block in kept}
    assert {package_name(text) for text in project["dependencies"]} <= names
    extra = {package_name(text) for text in project["optional-dependencies"]["standalone"]}
    assert not names & extra
    assert all("--hash=sha256:" in block for block in kept)
    assert len(list(requirement_blocks(pinned))) == len(kept) + len(extra)
