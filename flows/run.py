"""Running one flow as a process: settings, logs, health, signals, Bytewax.

SIGTERM and SIGINT end the input; what was read is cut, written and committed, then the process
exits 0. Any failure ends it with 1 and one log line; a supervisor starts it again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

from bytewax._bytewax import cli_main
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError

from connectors.errors import ConnectorError, RetryableError
from connectors.settings import SettingsError
from connectors.telemetry import configure_logging, get_logger
from flows import storage
from flows.health import FlowHealth, serve_health
from flows.settings import FlowSettings

FlowBuilder = Callable[[FlowSettings, Callable[[], bool]], Dataflow]

FLOWS: Mapping[str, FlowBuilder] = {
    "storage": lambda settings, is_stopping: storage.build(settings, is_stopping).flow,
}


def run_flow(name: str, environ: Mapping[str, str]) -> int:
    """Run until a signal or a failure; return the exit code."""
    try:
        settings = FlowSettings.from_env(environ)
    except SettingsError as error:
        configure_logging(name)
        get_logger().error("flow_failed", kind="SettingsError", detail=str(error))
        return 1
    configure_logging(name, settings.log_level)
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> Any:
        get_logger().info("stopping", signal=signal.Signals(number).name)
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    health = FlowHealth()
    port = serve_health(health, settings.metrics_host, settings.metrics_port)
    try:
        flow = FLOWS[name](settings, stopping.is_set)
        health.started()
        get_logger().info("flow_started", flow=name, metrics_port=port, share=list(settings.share))
        cli_main(  # type: ignore[no-untyped-call]
            flow, workers_per_process=1, epoch_interval=timedelta(seconds=1)
        )
    except (ConnectorError, RuntimeError) as error:  # Bytewax's own errors are RuntimeErrors.
        cause = _root_cause(error)
        if stopping.is_set() and isinstance(cause, RetryableError):
            # Nothing is lost: the block is written again, under the same name, at the next start.
            get_logger().warning("stopped_before_done", detail=str(cause))
            return 0
        get_logger().error("flow_failed", kind=type(cause).__name__, detail=str(cause))
        return 1
    get_logger().info("flow_stopped", flow=name)
    return 0


def _root_cause(error: BaseException) -> BaseException:
    """Bytewax wraps what a step raised, once per layer."""
    while isinstance(error, BytewaxRuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error
