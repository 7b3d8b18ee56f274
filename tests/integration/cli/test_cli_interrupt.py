"""Ctrl-C while a command is still being loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.our_processes import ROOT

START = {
    "module": ["-m", "cli"],
    # As the script of the installed command does.
    "script": ["-c", "import sys; from cli.__main__ import main; sys.exit(main())"],
}


@pytest.mark.parametrize("way", START)
def test_ctrl_c_while_loading_ends_quietly(way: str, tmp_path: Path) -> None:
    """No traceback of imports; the exit code that shells give for Ctrl-C."""
    (tmp_path / "typer.py").write_text(
        "import time\nprint('loading', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, *START[way], "version"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""


def test_ctrl_c_later_is_the_commands_own() -> None:
    """What a command has begun it can tidy up: it sees Ctrl-C as ever."""
    code = (
        "import os, signal, sys\n"
        "import cli.main\n"
        "def app(prog_name):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        print('tidied up')\n"
        "cli.main.app = app\n"
        "from cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "tidied up\n", "")
