"""Guarded children and the supervisor, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from standalone.ports import choose_port, is_free
from standalone.process import Command, GuardedProcess, StartError
from standalone.supervisor import (
    EXIT_GAVE_UP,
    EXIT_STOPPED,
    ProcessSpec,
    RestartPolicy,
    Supervisor,
)
from tests.integration.standalone.processes import is_gone, wait_for

pytestmark = pytest.mark.integration

# A service: answers GET with 200 after a while, notes its starts and its end in files.
SERVICE = """
import http.server, pathlib, signal, sys, threading
port, notes, name = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
def note(text):
    with notes.open("a") as file:
        file.write(name + " " + text + "\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
note("started")
print("hello from", name, flush=True)
server.serve_forever()
note("stopped")
"""
STUBBORN = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\n"
    "time.sleep(600)\n"
)
FAST = RestartPolicy(restarts_max=2, window_s=60.0, delay_first_s=0.1, delay_max_s=0.2)


def python(tmp_path: Path, code: str, grace_s: float = 5.0) -> GuardedProcess:
    """A guarded Python process that runs `code`."""
    argv = [sys.executable, "-c", code]
    return GuardedProcess(Command("child", argv, tmp_path / "child.log", grace_s=grace_s))


def test_exit_code_and_output_are_kept(tmp_path: Path) -> None:
    """The command's own code comes through the guard; its output is in the log."""
    child = python(tmp_path, "import sys; print('words'); sys.exit(7)")
    assert child.wait(10.0) == 7
    assert "words" in child.log_tail()
    assert child.stop() == 7


def test_stop_is_polite_first_and_bounded(tmp_path: Path) -> None:
    """SIGTERM ends an ordinary child; one that ignores it is killed after the grace."""
    assert python(tmp_path, "import time; time.sleep(600)").stop() == 128 + signal.SIGTERM
    stubborn = python(tmp_path, STUBBORN, grace_s=0.5)
    wait_for(lambda: "deaf" in stubborn.log_tail())
    assert stubborn.stop() == 128 + signal.SIGKILL


def test_children_of_the_child_are_ended_too(tmp_path: Path) -> None:
    """Nothing of the command's session stays behind."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = python(tmp_path, code)
    wait_for(lambda: (tmp_path / "child.log").read_text().strip().isdigit())
    grandchild = int((tmp_path / "child.log").read_text())
    child.stop()
    wait_for(lambda: is_gone(grandchild))


def test_command_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    """The text names the command and the reason."""
    with pytest.raises(StartError, match="no-such-command"):
        GuardedProcess(Command("child", ["/no-such-command"], tmp_path / "child.log"))


def test_child_that_dies_while_starting_is_reported_with_its_log(tmp_path: Path) -> None:
    """wait_until does not wait for a dead child."""
    child = python(tmp_path, "raise SystemExit('the reason')")
    with pytest.raises(StartError, match="the reason"):
        child.wait_until(lambda: False, 30.0)


@pytest.mark.parametrize("victim", ["parent", "guard"])
def test_child_ends_when_parent_or_guard_is_killed(tmp_path: Path, victim: str) -> None:
    """kill -9 of the parent, or of the guard alone, ends the command; also a child that was
    started from a thread which has ended."""
    code = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from standalone.process import Command, GuardedProcess\n"
        "def start():\n"
        "    argv = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        f"    child = GuardedProcess(Command('c', argv, Path({str(tmp_path / 'c.log')!r})))\n"
        "    print(child.pid, flush=True)\n"
        "    kept.append(child)\n"
        "kept = []\n"
        "thread = threading.Thread(target=start)\n"
        "thread.start()\n"
        "thread.join()\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        assert not is_gone(child), "the end of the starting thread must not end the child"
        guard = psutil.Process(child).ppid()
        os.kill(parent.pid if victim == "parent" else guard, signal.SIGKILL)
        wait_for(lambda: is_gone(child))
        parent.kill()


@contextmanager
def services(tmp_path: Path, *names: str) -> Iterator[tuple[list[ProcessSpec], Path]]:
    """Specifications of services, and the file of their notes."""
    notes = tmp_path / "notes"
    specs = []
    for name in names:
        port = choose_port(0)
        specs.append(
            ProcessSpec(
                name=name,
                argv=[sys.executable, "-c", SERVICE, str(port), str(notes), name],
                ready_url=f"http://127.0.0.1:{port}/ready",
                grace_s=5.0,
            )
        )
    yield specs, notes
    for spec in specs:
        assert is_free(int(spec.argv[3])), f"{spec.name} is still there"


def test_supervisor_starts_all_and_stops_in_order(tmp_path: Path) -> None:
    """Ready when all answer; stopped one after the other in the order of the list."""
    lines: list[tuple[str, str]] = []
    with services(tmp_path, "gateway", "flow", "api") as (specs, notes):
        supervisor = Supervisor(specs, on_line=lambda *line: lines.append(line))
        supervisor.start()
        assert set(supervisor.process_ids) == {"gateway", "flow", "api"}
        runner = threading.Thread(target=supervisor.run)
        runner.start()
        supervisor.request_stop()
        runner.join(30.0)
        assert not runner.is_alive()
        stops = [line for line in notes.read_text().splitlines() if line.endswith("stopped")]
        assert stops == ["gateway stopped", "flow stopped", "api stopped"]
        assert ("flow", "hello from flow") in lines


def test_processes_of_one_kind_are_told_to_stop_at_once(tmp_path: Path) -> None:
    """Each ends only when the other has been told, too: in order they would be killed."""
    code = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "own, other = map(Path, sys.argv[1:])\n"
        "def stop(*_):\n"
        "    own.touch()\n"
        "    while not other.exists():\n"
        "        time.sleep(0.01)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('here', flush=True)\n"
        "time.sleep(600)\n"
    )
    told = [str(tmp_path / "told-0"), str(tmp_path / "told-1")]
    events: list[tuple[str, str]] = []
    here: list[str] = []
    supervisor = Supervisor(
        [
            ProcessSpec(name, [sys.executable, "-c", code, *paths], grace_s=3.0)
            for name, paths in (("flow-0", told), ("flow-1", told[::-1]))
        ],
        on_event=lambda *event: events.append(event),
        on_line=lambda name, _line: here.append(name),
        stops_together=True,
    )
    supervisor.start()
    wait_for(lambda: len(here) == 2)
    supervisor.stop()
    assert [event for event in events if "stopped" in event[1]] == [
        ("flow-0", "stopped (exit code 0)"),
        ("flow-1", "stopped (exit code 0)"),
    ]


def test_dead_process_is_started_again(tmp_path: Path) -> None:
    """kill -9 of one process: it comes back and the other is left alone."""
    events: list[tuple[str, str]] = []
    results: list[int] = []
    with services(tmp_path, "gateway", "api") as (specs, notes):
        supervisor = Supervisor(specs, FAST, on_event=lambda *event: events.append(event))
        supervisor.start()
        before = supervisor.process_ids
        runner = threading.Thread(target=lambda: results.append(supervisor.run()))
        runner.start()
        os.kill(before["gateway"], signal.SIGKILL)
        wait_for(lambda: notes.read_text().count("gateway started") == 2)
        wait_for(lambda: events.count(("gateway", "ready")) == 2)
        assert supervisor.process_ids["api"] == before["api"]
        supervisor.request_stop()
        runner.join(30.0)
        assert results == [EXIT_STOPPED]
        assert ("gateway", "died (exit code 137); next start in 0.1 s") in events


def test_process_that_keeps_dying_is_given_up_and_all_are_stopped(tmp_path: Path) -> None:
    """After the budget the run ends with its own code, and nothing is left."""
    events: list[tuple[str, str]] = []
    with services(tmp_path, "api") as (specs, notes):
        bad = ProcessSpec("bad", [sys.executable, "-c", "import time; time.sleep(0.3); exit(3)"])
        supervisor = Supervisor([*specs, bad], FAST, on_event=lambda *event: events.append(event))
        supervisor.start()
        assert supervisor.run() == EXIT_GAVE_UP
        assert [text for name, text in events if name == "bad" and "died" in text] == [
            "died (exit code 3); next start in 0.1 s",
            "died (exit code 3); next start in 0.2 s",
            "died (exit code 3) too often; giving up",
        ]
        assert notes.read_text().endswith("api stopped\n")


def test_start_that_fails_stops_what_was_started(tmp_path: Path) -> None:
    """One bad process: StartError with the reason, and the good one is gone again."""
    with services(tmp_path, "api") as (specs, _):
        log = tmp_path / "bad.log"
        argv = [sys.executable, "-c", "raise SystemExit('no settings')"]
        bad = ProcessSpec("bad", argv, ready_url="http://127.0.0.1:1/ready", log_path=log)
        supervisor = Supervisor([*specs, bad])
        with pytest.raises(StartError, match="no settings"):
            supervisor.start()
        assert supervisor.process_ids == {}


def test_process_that_never_gets_ready_is_a_start_error(tmp_path: Path) -> None:
    """Running is not enough when a readiness address is given."""
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    url = f"http://127.0.0.1:{choose_port(0)}/ready"
    spec = ProcessSpec("mute", argv, ready_url=url, ready_timeout_s=0.5, log_path=tmp_path / "log")
    with pytest.raises(StartError, match="mute was not ready after"):
        Supervisor([spec]).start()
