"""Gateway, flows and api as real processes on given servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from standalone.ports import choose_port

ROOT = Path(__file__).resolve().parents[1]
FLOWS = ("storage", "behaviour", "results", "alerts", "alert_delivery")
NAMES = ("gateway", *FLOWS, "erasures", "api")


@contextmanager
def our_processes(
    urls: Mapping[str, str], folder: Path, extra: Mapping[str, str] | None = None
) -> Iterator[dict[str, int]]:
    """The HTTP port of each by name, as soon as they are started; logs are in `folder`."""
    ports: dict[str, int] = {}
    for name in (*NAMES, "grpc"):
        ports[name] = choose_port(0, tuple(ports.values()))
    environ = {
        **os.environ,
        **urls,
        "INGESTOR_HOST": "127.0.0.1",
        "INGESTOR_HTTP_PORT": str(ports["gateway"]),
        "INGESTOR_GRPC_PORT": str(ports["grpc"]),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(ports["api"]),
        "JWT_SECRET": "secret of processes in tests, and of no others",
        "METRICS_HOST": "127.0.0.1",
        **(extra or {}),
    }
    commands = {
        "gateway": (["ingest_gateway"], 0),
        **{name: (["flows", name], ports[name]) for name in FLOWS},
        "erasures": (["api.erasures"], ports["erasures"]),
        "api": (["api"], 0),
    }
    processes = []
    try:
        for name, (arguments, metrics_port) in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", *arguments],
                        cwd=ROOT,
                        env={**environ, "METRICS_PORT": str(metrics_port)},
                        stdout=log,
                        stderr=log,
                    )
                )
        yield {name: ports[name] for name in NAMES}
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
