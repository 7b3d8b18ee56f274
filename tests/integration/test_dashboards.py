"""Rules and dashboards name only what running processes expose, label names included."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

import flows.alert_delivery
import flows.alerts
import flows.behaviour
import flows.results
import flows.storage  # noqa: F401 - They declare the metrics of flows.
from connectors.kafka_admin import ensure_topics
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.integration.ingest_gateway.gateway_process import create_project
from tests.our_processes import NAMES, our_processes
from tests.promql import parse

ROOT = Path(__file__).resolve().parents[2]
RULES_PATH = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
# What Prometheus adds to each sample by itself.
ADDED_LABELS = {"job", "instance", "le", "quantile"}
ADDED_METRICS = {"up": set[str]()}
# Samples that are there as soon as each process has done something.
SEEN_AT_WORK = {
    "gosight_flow_events_total": {"flow", "outcome"},
    "gosight_flow_transactions_total": {"group", "outcome"},
    "gosight_flow_transaction_duration_seconds_bucket": {"group"},
    "gosight_flow_state_bytes": {"flow"},
    "gosight_sessions_revisions_total": {"state"},
    "gosight_flow_block_duration_seconds_bucket": {"flow"},
    "gosight_alert_clock_behind_seconds": {"clock"},
    "gosight_alert_rules_held": {"clock"},
    "gosight_alert_signals_dropped": {"reason"},
    "gosight_alerts_overdue_seconds": set(),
}
Exposed = Mapping[str, set[str]]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def post_event(port: int, key: str) -> int:
    """One batch with a good and a bad event."""
    events = [
        {"event_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4()), "type": "page_view",
         "timestamp": int(time.time() * 1000), "url": "https://a.example/"},
        {"type": "nonsense"},
    ]  # fmt: skip
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/events",
        data=json.dumps({"events": events}).encode(),
        headers={"X-GoSight-Key": key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    """Label names by sample name, as running processes have them after some work.

    On servers of their own: on shared ones the flows would first read what all tests have sent.
    """
    folder = Path(tempfile.mkdtemp(prefix="gosight-test-"))
    try:
        with Stack(folder, ports={}) as stack:
            ensure_topics(stack.urls["KAFKA_BROKERS"])
            migrate_up(stack.urls["DATABASE_URL"], stack.urls["CLICKHOUSE_URL"])
            yield _scraped(stack.urls, tmp_path_factory.mktemp("logs"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scraped(urls: Mapping[str, str], logs: Path) -> Exposed:
    project = create_project(urls["DATABASE_URL"], permissions=("write", "read"))
    with our_processes(urls, logs, {"BATCH_SECONDS": "0.2"}) as ports:
        wait_until(lambda: all(get(f"{base(ports[n])}/ready")[0] == 200 for n in NAMES))
        assert post_event(ports["gateway"], project.key) == 202
        overview = f"{base(ports['api'])}/api/v1/projects/{project.project_id}/overview"
        assert get(overview, **{"X-GoSight-Key": project.key})[0] == 200
        found: dict[str, set[str]] = {}

        def scrape() -> bool:
            for name in NAMES:
                collect(get(f"{base(ports[name])}/metrics")[1].decode(), found)
            is_written = "table" in found["gosight_clickhouse_insert_rows_total"]
            return is_written and all(
                labels <= found.get(name, set()) for name, labels in SEEN_AT_WORK.items()
            )

        wait_until(scrape)
        return found


def base(port: int) -> str:
    """Where a process answers."""
    return f"http://127.0.0.1:{port}"


def wait_until(holds: Any, timeout_s: float = 180) -> None:
    """Poll until it holds; all processes start at once, on a machine that may be busy."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def collect(text: str, found: dict[str, set[str]]) -> None:
    """Add the sample names of a scrape; a family without samples counts with its known labels."""
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names = [family.name + suffix for suffix in suffixes.get(family.type, [""])]
        for name in names:
            found.setdefault(name, set()).update(known_labels(family.name))
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)


def known_labels(name: str) -> set[str]:
    """The labels that a metric of the library is declared with."""
    for collector in list(REGISTRY._collector_to_names):
        if getattr(collector, "_name", None) == name:
            return set(collector._labelnames)
    return set()


def rules() -> list[dict[str, Any]]:
    """All rules of the file."""
    groups = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    """Labels of the recorded names: what their expressions group by."""
    return {rule["record"]: parse(rule["expr"]).grouped for rule in rules() if "record" in rule}


def faults(expression: str, exposed: Exposed) -> list[str]:
    """Metrics and labels of an expression that nothing exposes."""
    known = {**exposed, **ADDED_METRICS, **recorded()}
    found = parse(expression)
    wrong = [f"{metric}: no such metric" for metric in found.matched if metric not in known]
    if wrong:
        return wrong
    for metric, labels in found.matched.items():
        missing = labels - known[metric] - ADDED_LABELS
        wrong += [f"{metric}: no label {label}" for label in sorted(missing)]
    of_all = set().union(*(known[metric] for metric in found.matched), ADDED_LABELS, found.made)
    wrong += [f"{expression}: no label {label}" for label in sorted(found.grouped - of_all)]
    return wrong


def test_rules_name_what_is_exposed(exposed: Exposed) -> None:
    """Every metric and label of every rule is there."""
    assert rules()
    wrong = [fault for rule in rules() for fault in faults(rule["expr"], exposed)]
    assert wrong == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_name_what_is_exposed(path: Path, exposed: Exposed) -> None:
    """Every metric and label of every panel is there, and legends use labels that are left."""
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"].startswith("gosight-")
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "gosight"
        for target in panel["targets"]:
            assert faults(target["expr"], exposed) == [], panel["title"]
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            found = parse(target["expr"])
            known = {**exposed, **ADDED_METRICS, **recorded()}
            left = found.grouped or set().union(*(known[name] for name in found.matched))
            assert legend <= left | ADDED_LABELS, panel["title"]


@pytest.mark.parametrize(
    "expression",
    [
        "sum(rate(gosight_ingest_evnets_total[5m]))",
        "rate(gosight_ingest_events[5m])",
        'gosight_ingest_events_total{outcom="accepted"}',
        "sum by (project_id) (gosight_ingest_events_total)",
        "gosight:lag_records:avg",
        'gosight_clickhouse_insert_failures_total{tabel="events"}',
    ],
)
def test_an_unknown_metric_or_label_is_found(expression: str, exposed: Exposed) -> None:
    """A misspelt name does not pass."""
    assert faults(expression, exposed) != []


def test_the_documents_names_are_recorded() -> None:
    """The five metrics of the architecture document are recording rules."""
    names = {rule["record"] for rule in rules() if "record" in rule}
    for prefix in ("ingestor_latency_seconds", "api_request_duration"):
        assert {f"{prefix}_bucket", f"{prefix}_sum", f"{prefix}_count"} <= names
    assert {"ingestor_events_total", "kafka_consumer_lag", "clickhouse_insert_rows"} <= names


def test_no_label_names_a_project_or_a_person(exposed: Exposed) -> None:
    """Labels of our metrics are from closed sets."""
    ours = {label for name, labels in exposed.items() if "gosight" in name for label in labels}
    assert not ours & {"project", "project_id", "key", "key_hash", "path", "url", "address", "ip"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    """Prometheus itself can read the rules."""
    done = subprocess.run(["promtool", "check", "rules", str(RULES_PATH)], check=False)
    assert done.returncode == 0
