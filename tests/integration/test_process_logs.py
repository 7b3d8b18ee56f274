"""What every process writes while nothing it needs is there: JSON lines, few, without secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.telemetry import gosight_version
from standalone.ports import choose_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "hunter2secret"
KEY = "gs_live_" + "0123456789abcdef" * 2
DEAD = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "CLICKHOUSE_URL": f"http://gosight:{PASSWORD}@127.0.0.1:1/gosight",
    "DATABASE_URL": f"postgresql://gosight:{PASSWORD}@127.0.0.1:1/gosight",
    "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1/0",
    "KAFKA_DELIVERY_TIMEOUT_SECONDS": "1",
    "RETRY_SECONDS_MAX": "30",
    "INGESTOR_HOST": "127.0.0.1",
    "API_HOST": "127.0.0.1",
    "METRICS_HOST": "127.0.0.1",
}
PROCESSES = {
    "ingest_gateway": ["ingest_gateway"],
    "workers": ["ingest_gateway", "--processes", "2"],
    "storage": ["flows", "storage"],
    "behaviour": ["flows", "behaviour"],
    "alerts": ["flows", "alerts"],
    "alert_delivery": ["flows", "alert_delivery"],
    "results": ["flows", "results"],
    "erasures": ["api.erasures"],
    "api": ["api"],
}
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def lines_of(text: str) -> list[dict[str, Any]]:
    """Each line as an object; the documented fields are on all of them."""
    found = []
    for line in text.splitlines():
        entry = json.loads(line)
        assert isinstance(entry, dict)
        assert {"timestamp", "level", "service", "version", "pid", "event"} <= entry.keys(), line
        assert datetime.fromisoformat(entry["timestamp"]).tzinfo is not None
        assert entry["level"] in {"debug", "info", "warning", "error", "critical"}
        assert re.fullmatch(r"[a-z][a-z0-9_]*", entry["event"])
        assert entry["version"] == gosight_version()
        found.append(entry)
    return found


def call(url: str, body: bytes | None = None) -> None:
    """A request whose answer does not matter."""
    request = urllib.request.Request(url, data=body, headers={"X-GoSight-Key": KEY})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()
    except (urllib.error.URLError, OSError):
        pass


@pytest.mark.parametrize("name", PROCESSES)
def test_every_line_is_json_while_all_servers_are_dead(name: str, tmp_path: Path) -> None:
    """From the first line to the last, under requests: few lines, no secret, no address."""
    ports = [choose_port(0)]
    for _ in range(2):
        ports.append(choose_port(0, tuple(ports)))
    is_flow = PROCESSES[name][0] in {"flows", "api.erasures"}
    log_path = tmp_path / "process.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *PROCESSES[name]],
            cwd=ROOT,
            env={
                **os.environ,
                **DEAD,
                "INGESTOR_HTTP_PORT": str(ports[0]),
                "API_PORT": str(ports[0]),
                "JWT_SECRET": "s" * 32,
                "INGESTOR_GRPC_PORT": str(ports[1]),
                "METRICS_PORT": str(ports[2]) if is_flow else "0",
            },
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{ports[2] if is_flow else ports[0]}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and b"dependency_down" not in log_path.read_bytes():
            time.sleep(0.1)
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            call(f"{url}/v1/events?key={KEY}&secret=query", b'{"private": "body"}')
            call(f"{url}/api/v1/projects/00000000-0000-0000-0000-000000000001/overview?q=query")
            time.sleep(0.02)
        assert process.poll() is None, log_path.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    text = log_path.read_text()
    entries = lines_of(text)
    assert process.pid in {entry["pid"] for entry in entries} or name == "workers"
    assert "dependency_down" in {entry["event"] for entry in entries}
    for secret in (PASSWORD, KEY, "private", "secret=query", "q=query"):
        assert secret not in text
    assert not ADDRESS.search(text)
    # Hundreds of requests and seconds of retries: a handful of lines a process.
    said = Counter((entry["pid"], entry["event"]) for entry in entries)
    assert max(said.values()) <= 6, said
    assert len(entries) < 60, said


RULES = """
import asyncio, ctypes, logging, os, sys, threading, warnings
from confluent_kafka import Producer
from connectors.log_capture import own_process_logs
from connectors.telemetry import get_logger

own_process_logs("test", "info")
get_logger().info("begun", url="http://u:hunter2secret@host/x?key=1", client="10.1.2.3", n=1)
logging.getLogger("aiohttp.server").error("Error handling request from 10.1.2.3")
try:
    raise ValueError("private body")
except ValueError:
    logging.getLogger("aiohttp.server").exception("Error handling request")
logging.getLogger("quiet").info("not worth a line")
warnings.warn("something old", DeprecationWarning)
os.write(2, b"thread '<unnamed>' panicked at src/worker.rs:12:3\\n")
ctypes.CDLL(None).perror(b"from C")

def fail():
    raise RuntimeError("private body in a thread")

thread = threading.Thread(target=fail, name="doomed")
thread.start()
thread.join()

class Doomed:
    def __del__(self):
        raise RuntimeError("private body in a destructor")

Doomed()

async def forget():
    async def fails():
        raise RuntimeError("private body in a task")
    task = asyncio.create_task(fails())
    await asyncio.sleep(0.05)
    del task

asyncio.run(forget())
for n in range(1000):
    get_logger().warning("again_and_again", effect="a", n=n)
    get_logger().warning("again_and_again", effect="b", n=n)
for n in range(1000):
    os.write(2, b"noise %d\\n" % n)
producer = Producer({"bootstrap.servers": "127.0.0.1:1"})
producer.poll(2.5)
print("to stderr without a logger", file=sys.stderr)
raise KeyError("private body at the end")
"""


def test_everything_a_process_says_becomes_json(tmp_path: Path) -> None:
    """Libraries, warnings, C and Rust code, threads, tasks, destructors, and the last exception."""
    done = subprocess.run(
        [sys.executable, "-c", RULES], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    entries = lines_of(done.stderr)
    by_event: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_event.setdefault(entry["event"], []).append(entry)
    assert by_event["begun"][0]["url"] == "http://***@host/x?***"
    assert by_event["begun"][0]["client"] == "<address>"
    for secret in ("private", "hunter2secret", "10.1.2.3"):
        assert secret not in done.stderr
    library = {(entry["logger"], entry.get("exception", "")) for entry in by_event["library_log"]}
    assert {
        ("aiohttp.server", ""),
        ("aiohttp.server", "ValueError"),
        ("py.warnings", ""),
    } <= library
    assert ("asyncio", "RuntimeError") in library
    assert not any(logger == "quiet" for logger, _ in library)
    foreign = " ".join(entry["detail"] for entry in by_event["stderr_line"])
    assert "panicked at src/worker.rs" in foreign
    assert "from C: " in foreign
    # Bounded: the same thing once, unknown lines thirty times a minute.
    assert [entry["effect"] for entry in by_event["again_and_again"]] == ["a", "b"]
    assert len(by_event["stderr_line"]) <= 30
    (kafka,) = [e for e in by_event["kafka_client_log"] if e["about"] == "FAIL"]
    assert "Connection refused" in kafka["detail"]
    uncaught = [(e["thread"], e["exception"]) for e in by_event["uncaught_exception"]]
    assert uncaught == [
        ("doomed", "RuntimeError"),
        ("destructor", "RuntimeError"),
        ("main", "KeyError"),
    ]
    assert "in fail" not in by_event["uncaught_exception"][0]["stack"]
    assert "fail" in by_event["uncaught_exception"][0]["stack"]


def test_bad_settings_are_told_as_json() -> None:
    """A process that cannot start says why in the same form, and nothing of what was given."""
    for arguments, variable in (
        (["ingest_gateway"], "INGESTOR_HTTP_PORT"),
        (["flows", "storage"], "METRICS_PORT"),
        (["flows", "behaviour"], "METRICS_PORT"),
        (["flows", "alerts"], "METRICS_PORT"),
        (["flows", "alert_delivery"], "METRICS_PORT"),
        (["flows", "results"], "METRICS_PORT"),
        (["api.erasures"], "METRICS_PORT"),
        (["api"], "API_PORT"),
        (["api"], "JWT_SECRET"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, variable: "hunter2secret"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (1, 2)
        (entry,) = lines_of(done.stderr)
        assert entry["level"] == "error"
        assert variable in entry["detail"]
        assert "hunter2secret" not in done.stderr
