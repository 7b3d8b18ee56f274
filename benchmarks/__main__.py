"""`python -m benchmarks [NAME ...] [--json] [--events N]`: run benchmarks and print their figures.

With `--json` one line per benchmark on standard output, nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import (
    alerts,
    api,
    backtest,
    end_to_end,
    gateway,
    insights,
    latency,
    realtime,
    recovery,
    sessions,
    short_sessions,
    storage,
)

BENCHMARKS = {
    "gateway": gateway.run,
    "storage": storage.run,
    "sessions": sessions.run,
    "end_to_end": end_to_end.run,
    "insights": insights.run,
    "backtest": backtest.run,
    "recovery": recovery.run,
    "latency": latency.run,
    "alerts": alerts.run,
    "short_sessions": short_sessions.run,
    "api": api.run,
    "realtime": realtime.run,
}


def main(arguments: list[str]) -> int:
    """Run what is asked for, all by default."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="one JSON line per benchmark")
    parser.add_argument("--events", type=int, help="events in the measured run")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        run = BENCHMARKS[name]
        figures = run(options.events) if options.events else run()
        if options.json:
            print(json.dumps(figures), flush=True)
        else:
            print(f"\n{name}", flush=True)
            for key, value in figures.items():
                print(f"  {key:<24} {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
