"""Ctrl-C while the servers start, at random moments: none is left, none comes late."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
SEED = 20_261_121
STOP_MOMENTS_S = [0.05, 0.3, 0.8]
MOMENTS_S = [random.Random(SEED + run).uniform(0.0, 4.5) for run in range(6)]
# Goes on living after the interrupt: what is started late would be seen.
SCRIPT = """
import signal, sys, time
from pathlib import Path
from standalone.stack import Stack

stack = Stack(Path(sys.argv[1]), ports={})
print("starting", flush=True)
try:
    stack.start()
    print("ready", flush=True)
    stack.stop()
except KeyboardInterrupt:
    pass
signal.signal(signal.SIGINT, signal.SIG_IGN)  # It may come late.
print("stopped", flush=True)
time.sleep(60)
"""


def processes_on(folder: Path) -> list[str]:
    """Everything that runs and names the folder, but for who is asked about it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line[:200])
    return found


@contextmanager
def starting_stack(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The script, from the moment on at which it begins to start servers in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "starting\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def assert_nothing_is_left(process: subprocess.Popen[str], folder: Path) -> None:
    """The script has ended its servers, and none comes up late."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == "stopped\n":
            break
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        # The script itself names the folder.
        assert len(processes_on(folder)) == 1, processes_on(folder)
        time.sleep(0.05)


@pytest.mark.parametrize("moment_s", MOMENTS_S)
def test_an_interrupted_start_leaves_no_server(moment_s: float, tmp_path: Path) -> None:
    """When `start` has raised, no server of it runs, and none begins while the caller lives on."""
    folder = tmp_path / "data"
    with starting_stack(folder) as process:
        time.sleep(moment_s)
        process.send_signal(signal.SIGINT)
        assert_nothing_is_left(process, folder)


@pytest.mark.parametrize("moment_s", STOP_MOMENTS_S)
def test_an_interrupted_stop_leaves_no_server(moment_s: float, tmp_path: Path) -> None:
    """Ctrl-C while the servers are being stopped ends those that were still waiting their turn."""
    folder = tmp_path / "data"
    with starting_stack(folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moment_s)
        process.send_signal(signal.SIGINT)
        assert_nothing_is_left(process, folder)


@pytest.mark.parametrize("moment_s", MOMENTS_S[:3])
def test_ctrl_c_ends_the_command_while_it_starts(moment_s: float, tmp_path: Path) -> None:
    """`gosight up` interrupted while starting exits with 0 and takes everything with it."""
    folder = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "up", "--any-ports", "--data", str(folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not folder.exists():  # Its handlers are there by then.
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(moment_s)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        deadline = time.monotonic() + 5
        while processes_on(folder):
            assert time.monotonic() < deadline, processes_on(folder)
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(10)
