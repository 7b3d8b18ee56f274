"""`python -m standalone --data DIR`: run the servers in the foreground until SIGTERM or Ctrl-C.

Prints one JSON line with the environment variables when all are ready; progress goes to standard
error. Exit codes: 0 stopped as asked, 1 a server did not start or died, 2 the directory is in use.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from standalone.locks import LockedError
from standalone.process import StartError
from standalone.stack import Stack

_POLL_S = 0.2


def _report(name: str, state: str, seconds: float) -> None:
    print(f"{seconds:6.2f} s  {name:<10}  {state}", file=sys.stderr, flush=True)


def main() -> int:
    """Start, print, wait, stop."""
    parser = argparse.ArgumentParser(prog="python -m standalone", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of the data")
    parser.add_argument(
        "--any-ports", action="store_true", help="take free ports instead of the usual ones"
    )
    options = parser.parse_args()
    orders: list[int] = []

    def take_order(number: int, _frame: object) -> None:
        # A second order does not wait for a slow start: the guards end the servers.
        if orders:
            os._exit(1)
        orders.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, take_order)
    stack = Stack(options.data, ports={} if options.any_ports else None)
    try:
        urls = stack.start(_report)
    except LockedError as error:
        print(error, file=sys.stderr)
        return 2
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        print(json.dumps(urls), flush=True)
        while not orders:
            dead = stack.dead()
            if dead:
                print(f"ended by itself, with exit code: {dead}", file=sys.stderr)
                return 1
            time.sleep(_POLL_S)
        return 0
    finally:
        stack.stop(_report)


if __name__ == "__main__":
    sys.exit(main())
