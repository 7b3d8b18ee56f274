"""A process of the API's side, from its settings to its exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from connectors.log_capture import own_process_logs
from connectors.settings import SettingsError
from connectors.telemetry import get_logger


class ProcessSettings(Protocol):
    """What every process is told."""

    @property
    def log_level(self) -> str:
        """Of its own log."""


SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


def run_process(
    name: str,
    read_settings: Callable[[], SettingsT],
    serve: Callable[[SettingsT, asyncio.Event], Awaitable[None]],
) -> int:
    """Serve until SIGTERM or SIGINT sets the event; the exit code.

    It is 2 for settings that are wrong, 1 if the system refuses something, as a port that is taken.
    """
    own_process_logs(name)
    try:
        settings = read_settings()
    except SettingsError as error:
        get_logger().error("settings_invalid", detail=str(error))
        return 2
    own_process_logs(name, settings.log_level)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(settings, stop)

    try:
        asyncio.run(run())
    except OSError as error:
        get_logger().error(f"{name}_failed", detail=str(error))
        return 1
    return 0
