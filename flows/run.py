"""Running one flow as a process: settings, logs, health, signals, Bytewax.

SIGTERM and SIGINT end the input; what was read is cut, written and committed, then the process
exits 0. If a server is away that takes too long: after `STOP_S_MAX` the process ends all the same,
with 0, because nothing is lost: what was begun is finished by the next process, under its name.
Any failure ends it with 1 and one log line; a supervisor starts it again.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module

import stamina
from bytewax._bytewax import cli_main
from bytewax.errors import BytewaxRuntimeError
from stamina.instrumentation import set_on_retry_hooks

from connectors.errors import ConnectorError, RetryableError
from connectors.log_capture import own_process_logs
from connectors.settings import SettingsError
from connectors.telemetry import get_logger
from flows.health import FlowHealth, serve_health, watch_servers
from flows.retries import waiting_for
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings

FlowBuilder = Callable[[FlowSettings, FlowHealth, Callable[[], bool]], RunnableFlow]

# How many more objects than before are looked through for cycles: few are in what passes here, and
# with the usual 700 that costs a flow a tenth of its time. What they hold until then is some MB.
GC_THRESHOLD = 10_000
# Docker kills after 10 s, Kubernetes after 30 s.
STOP_S_MAX = 7.0


def _of(module: str) -> FlowBuilder:
    """The flow's `build`; what a flow is made of is loaded by its own process alone."""

    def build(
        settings: FlowSettings, health: FlowHealth, is_stopping: Callable[[], bool]
    ) -> RunnableFlow:
        made: RunnableFlow = import_module(module).build(settings, health, is_stopping)
        return made

    return build


FLOWS: Mapping[str, FlowBuilder] = {
    "alerts": _of("flows.alerts"),
    "alert_delivery": _of("flows.alert_delivery"),
    "behaviour": _of("flows.behaviour"),
    "results": _of("flows.results"),
    "storage": _of("flows.storage"),
}


def look_for_cycles_less_often() -> None:
    """Leave alone what is there by now, and look through what is made later in large portions."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def run_flow(name: str, environ: Mapping[str, str]) -> int:
    """Run until a signal or a failure; return the exit code."""
    own_process_logs(name)
    try:
        settings = FlowSettings.from_env(environ)
    except SettingsError as error:
        get_logger().error("flow_failed", kind="SettingsError", detail=str(error))
        return 1
    own_process_logs(name, settings.log_level)
    set_on_retry_hooks([])  # Its own lines would repeat what errors say, as it is.
    stopping = threading.Event()

    stop_on_signal(stopping)
    health = FlowHealth(watch_servers(settings, name))
    try:
        port = serve_health(health, settings.metrics_host, settings.metrics_port)
        runnable = _build(name, settings, health, stopping.is_set)
        health.started()
        look_for_cycles_less_often()
        get_logger().info("flow_started", flow=name, metrics_port=port)
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
    get_logger().info("flow_stopped", flow=name)
    return 0


def stop_on_signal(stopping: threading.Event) -> None:
    """Set `stopping` on SIGTERM or SIGINT, and end the process if it does not end in time.

    A thread is told of the signals: a handler would have to wait until the main thread comes back
    from whatever server it is waiting for.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)

    def wait() -> None:
        (found,) = reading.recv(1)
        get_logger().info("stopping", signal=signal.Signals(found).name)
        stopping.set()
        time.sleep(STOP_S_MAX)
        get_logger().warning("stopped_before_done", detail="a server did not answer in time")
        os._exit(0)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _build(
    name: str, settings: FlowSettings, health: FlowHealth, is_stopping: Callable[[], bool]
) -> RunnableFlow:
    """The flow; servers that are just starting are waited for."""
    for attempt in stamina.retry_context(
        on=waiting_for("flow", is_stopping),
        attempts=None,
        timeout=settings.retry_seconds_max or 0.001,
        wait_max=5.0,
    ):
        with attempt:
            return FLOWS[name](settings, health, is_stopping)
    raise AssertionError("a retry context ends with a result or an error")


def _root_cause(error: BaseException) -> BaseException:
    """Bytewax wraps what a step raised, once per layer."""
    while isinstance(error, BytewaxRuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error
