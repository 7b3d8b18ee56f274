"""Runs one command and ends it when its own parent is gone, however the parent died.

In: `guard.py [--uid N --gid N] --signal NAME --grace SECONDS --report FD -- COMMAND...`, with
standard input a pipe that only the parent writes to. Out: one line on FD, `pid N` or `error TEXT`;
then the command's exit code (128 + number for a signal). Guarantees: end of file on standard input,
SIGTERM or SIGINT makes it send the given signal to the command, and after the grace SIGKILL to the
command's process group; if the guard itself is killed, Linux kills the command.

The pipe is closed by the kernel when the parent ends, also by SIGKILL and from whichever thread the
guard was started, which PR_SET_PDEATHSIG in the parent's own children would not give: it fires when
the starting *thread* ends. The file uses the standard library alone and is run by path, so that it
starts in a few milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_POLL_S = 1.0


def _die_with_the_guard() -> None:
    """Ask Linux to kill this process when its parent ends; other systems go without."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--signal", required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--report", type=int, required=True)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _kill_group(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


def _watch(child: subprocess.Popen[bytes], stop_signal: int, grace_s: float, wake: int) -> int:
    """Wait for the child's end, or for the order to end it.

    Returns:
        The child's return code as `subprocess` gives it: negative for a signal.
    """
    parent = os.getppid()
    deadline: float | None = None
    inputs = [wake, 0]
    while True:
        code = child.poll()
        if code is not None:
            return code
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            _kill_group(child.pid)
            return child.wait()
        wait_s = _POLL_S if deadline is None else min(_POLL_S, deadline - now)
        ready, _, _ = select.select(inputs, [], [], wait_s)
        signals = os.read(wake, 64) if wake in ready else b""
        is_told = any(number in (signal.SIGTERM, signal.SIGINT) for number in signals)
        if 0 in ready and os.read(0, 64) == b"":
            inputs.remove(0)
            is_told = True
        # A process forked from the parent may hold the pipe open: then the parent's id tells.
        if (is_told or os.getppid() != parent) and deadline is None:
            deadline = time.monotonic() + grace_s
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(stop_signal)


def main() -> int:
    """Start the command, report its process id, watch it."""
    options = _arguments()
    wake, wake_write = os.pipe()
    for end in (wake, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    identity = {} if options.uid is None else {"user": options.uid, "group": options.gid}
    try:
        child = subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_the_guard,
            extra_groups=None if options.uid is None else [],
            **identity,
        )
    except (OSError, subprocess.SubprocessError) as error:
        os.write(options.report, f"error {error}\n".encode())
        return 127
    os.write(options.report, f"pid {child.pid}\n".encode())
    os.close(options.report)
    code = _watch(child, signal.Signals[options.signal], options.grace, wake)
    # What the command left behind in its session must not outlive it.
    _kill_group(child.pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
