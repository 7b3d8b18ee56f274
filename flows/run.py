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

import stamina
from bytewax._bytewax import cli_main
from bytewax.errors import BytewaxRuntimeError

from connectors.errors import ConnectorError, RetryableError
from connectors.settings import SettingsError
from connectors.telemetry import configure_logging, get_logger
from flows import storage
from flows.health import FlowHealth, serve_health
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings

FlowBuilder = Callable[[FlowSettings, Callable[[], bool]], RunnableFlow]

FLOWS: Mapping[str, FlowBuilder] = {
    "storage": storage.build,
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
        runnable = _build(name, settings, stopping.is_set)
        health.started()
        get_logger().info("flow_started", flow=name, metrics_port=port, share=list(settings.share))
        cli_main(  # type: ignore[no-untyped-call]
            runnable.flow, workers_per_process=1, epoch_interval=timedelta(seconds=1)
        )
    except (ConnectorError, RuntimeError) as error:  # Bytewax's own errors are RuntimeErrors.
        cause = _root_cause(error)
        if stopping.is_set() and isinstance(cause, RetryableError):
            # Nothing is lost: the block is written again, under the same name, at the next start.
            get_logger().warning("stopped_before_done", detail=str(cause))
            return 0
        get_logger().error("flow_failed", kind=type(cause).__name__, detail=str(cause))
        return 1
    runnable.close()
    get_logger().info("flow_stopped", flow=name, failed=runnable.has_failed())
    return 1 if runnable.has_failed() else 0


def _build(name: str, settings: FlowSettings, is_stopping: Callable[[], bool]) -> RunnableFlow:
    """The flow; servers that are just starting are waited for."""

    def is_passing(error: Exception) -> bool:
        return isinstance(error, RetryableError) and not is_stopping()

    for attempt in stamina.retry_context(
        on=is_passing, attempts=None, timeout=settings.retry_seconds_max or 0.001, wait_max=5.0
    ):
        with attempt:
            return FLOWS[name](settings, is_stopping)
    raise AssertionError("a retry context ends with a result or an error")


def _root_cause(error: BaseException) -> BaseException:
    """Bytewax wraps what a step raised, once per layer."""
    while isinstance(error, BytewaxRuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error
