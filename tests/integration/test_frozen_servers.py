"""Each server frozen or stopped in turn, with gateway, flows and api running on them."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from connectors.clickhouse import connect
from connectors.kafka_admin import ensure_topics
from connectors.kafka_producer import KafkaRecordProducer
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.factories import make_event, make_raw, raw_record
from tests.integration.test_process_logs import ADDRESS, lines_of
from tests.our_processes import NAMES, our_processes

ANSWER_S_MAX = 3.0
VISITOR_IP = "203.0.113.77"
FROZEN_S = 6.0  # Claims of partitions are sure for ten seconds.
SERVERS = {"kafka": "kafka", "clickhouse": "clickhouse", "postgres": "postgres", "redis": "valkey"}
# Which process needs which server, and which it only knows of.
NEEDED = {
    "gateway": ({"kafka"}, {"postgres", "redis"}),
    "storage": ({"kafka", "clickhouse"}, {"postgres", "redis"}),
    "behaviour": ({"kafka"}, {"postgres"}),
    "results": ({"kafka", "clickhouse"}, {"postgres", "redis"}),
    "alerts": ({"kafka"}, {"postgres"}),
    "alert_delivery": ({"kafka", "postgres"}, set[str]()),
    "erasures": ({"clickhouse", "postgres", "redis"}, set[str]()),
    "api": ({"clickhouse", "postgres"}, {"redis", "kafka"}),
}


class Platform:
    """All processes on servers of their own."""

    def __init__(self, stack: Stack, ports: dict[str, int], logs: Path) -> None:
        self.stack = stack
        self.logs = logs
        self._ports = ports
        self._producer = KafkaRecordProducer(stack.urls["KAFKA_BROKERS"])

    def get(self, process: str, path: str) -> tuple[int, bytes, float]:
        """Status, body and the seconds that the answer took."""
        began_s = time.monotonic()
        url = f"http://127.0.0.1:{self._ports[process]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.status, answer.read(), time.monotonic() - began_s
        except urllib.error.HTTPError as error:
            return error.code, error.read(), time.monotonic() - began_s
        except OSError:
            return 0, b"{}", time.monotonic() - began_s

    def states(self, process: str) -> tuple[int, dict[str, Any]]:
        """The status of /ready, and its dependencies; it always answers in time."""
        status, body, took_s = self.get(process, "/ready")
        assert took_s < ANSWER_S_MAX
        return status, json.loads(body).get("dependencies", {})

    def wait_for(self, server: str, state: str, timeout_s: float) -> float:
        """Until every process that knows the server gives it this state; the seconds it took."""
        began_s = time.monotonic()

        def wait(process: str) -> float:
            while (found := self.states(process)[1].get(server, {})).get("state") != state:
                assert time.monotonic() - began_s < timeout_s, (process, found)
                time.sleep(0.05)
            return time.monotonic() - began_s

        knowing = [p for p, (needed, known) in NEEDED.items() if server in needed | known]
        with ThreadPoolExecutor() as pool:
            return max(pool.map(wait, knowing))

    def wait_until_ready(self, timeout_s: float = 60) -> None:
        """Until every process is ready."""
        deadline = time.monotonic() + timeout_s
        while any(self.get(process, "/ready")[0] != 200 for process in NEEDED):
            assert time.monotonic() < deadline, [self.get(p, "/ready")[:2] for p in NEEDED]
            time.sleep(0.1)

    def visit(self) -> str:
        """A session begins now, by an event on the raw topic beside what is no event; its id."""
        session_id, now_ms = str(uuid.uuid4()), int(time.time() * 1000)
        event = make_event(str(uuid.uuid4()), session_id, at_ms=now_ms)
        raw = make_raw([event], session_id, received_at_ms=now_ms, client_ip=VISITOR_IP)
        record = raw_record(raw)
        self._producer.produce_all([record, record._replace(value=b"\xff" + record.value)])
        return session_id

    def wait_for_rows(self, session_ids: list[str], timeout_s: float) -> None:
        """Until each of the sessions has its row."""
        client = connect(self.stack.urls["CLICKHOUSE_URL"])
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                found = client.query(
                    "SELECT count() FROM sessions FINAL WHERE session_id IN {ids:Array(UUID)}",
                    parameters={"ids": session_ids},
                ).result_rows
                if found == [(len(session_ids),)]:
                    return
                assert time.monotonic() < deadline, (found, session_ids)
                time.sleep(0.1)
        finally:
            client.close()

    @contextmanager
    def frozen(self, server: str) -> Iterator[None]:
        """The server and its children do not run."""
        main = psutil.Process(self.stack.process_ids[server])
        found = [main, *main.children(recursive=True)]
        for process in found:
            process.suspend()
        try:
            yield
        finally:
            for process in found:
                process.resume()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Servers of its own, so that they may be frozen, and our processes."""
    folder = tmp_path_factory.mktemp("frozen")
    with Stack(folder / "data", ports={}) as stack:
        migrate_up(stack.urls["DATABASE_URL"], stack.urls["CLICKHOUSE_URL"])
        ensure_topics(stack.urls["KAFKA_BROKERS"])
        with our_processes(stack.urls, folder) as ports:
            found = Platform(stack, ports, folder)
            found.wait_until_ready(120)
            yield found


@pytest.mark.parametrize("server", SERVERS)
def test_a_frozen_server_is_down_within_three_seconds(platform: Platform, server: str) -> None:
    """Every process says so in time, since when and why; only who needs it is unready."""
    platform.wait_until_ready()
    with platform.frozen(SERVERS[server]):
        assert platform.wait_for(server, "down", 10) < ANSWER_S_MAX
        for process, (needed, known) in NEEDED.items():
            status, found = platform.states(process)
            assert status == (503 if server in needed else 200), (process, found)
            if server in needed | known:
                assert found[server]["detail"], process
                assert found[server]["since"].endswith("Z")
                text = platform.get(process, "/metrics")[1].decode()
                assert f'gosight_dependency_up{{dependency="{server}"}} 0.0' in text
            assert platform.get(process, "/health")[0] == 200
            others = {name for name, entry in found.items() if entry["state"] != "up"}
            assert others <= {server}
    platform.wait_for(server, "up", 20)
    platform.wait_until_ready()


@pytest.mark.parametrize("server", SERVERS)
def test_sessions_go_on_after_a_freeze(platform: Platform, server: str) -> None:
    """Without PostgreSQL or Redis there is no pause; without the others nothing is lost."""
    platform.wait_until_ready()
    visits = [platform.visit()]
    platform.wait_for_rows(visits, 20)
    is_stored = server in {"postgres", "redis"}
    visits.append(platform.visit())
    with platform.frozen(SERVERS[server]):
        if server != "kafka":
            visits.append(platform.visit())
        if is_stored:
            platform.wait_for_rows(visits, FROZEN_S)
        else:
            time.sleep(FROZEN_S)
    visits.append(platform.visit())
    platform.wait_for_rows(visits, 60)
    platform.wait_until_ready()


@pytest.mark.parametrize("server", ["clickhouse", "redis"])
def test_a_stopped_server_is_down_and_comes_back(platform: Platform, server: str) -> None:
    """A server that ended and was started again is down meanwhile, since one moment."""
    platform.wait_until_ready()
    os.kill(platform.stack.process_ids[SERVERS[server]], signal.SIGKILL)
    try:
        platform.wait_for(server, "down", ANSWER_S_MAX)
        knowing = next(p for p, (needed, known) in NEEDED.items() if server in needed | known)
        since = platform.states(knowing)[1][server]["since"]
        time.sleep(1.5)
        assert platform.states(knowing)[1][server]["since"] == since
    finally:
        platform.stack.restart(SERVERS[server])
    platform.wait_for(server, "up", 20)
    platform.wait_until_ready()


@pytest.mark.parametrize("process", NAMES)
def test_logs_of_all_that_are_clean(platform: Platform, process: str) -> None:
    """After servers that hang and came back: documented fields, few lines, nobody's address."""
    text = (platform.logs / f"{process}.log").read_text()
    entries = lines_of(text)
    said = Counter(entry["event"] for entry in entries)
    print(process, dict(said))
    needed, known = NEEDED[process]
    for event in ("dependency_down", "dependency_up"):
        assert {e["dependency"] for e in entries if e["event"] == event} == needed | known
    if process == "behaviour":  # The letter itself is storage's.
        assert said["record_unreadable"] >= 1
    assert sum(said.values()) < 200
    assert not ADDRESS.search(text)
