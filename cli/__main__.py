"""`python -m cli` is `gosight`."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130  # What shells give for Ctrl-C.


def main() -> None:
    """Run the command; Ctrl-C ends it quietly with 130, also before it is loaded."""
    # Loading takes some tenths of a second, in which there is nothing to tidy up yet.
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))
    from cli.main import app

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="gosight")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
