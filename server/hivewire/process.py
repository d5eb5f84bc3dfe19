"""A gateway, or the parent of several, as a process: its log, its file limit, its event loop."""

from __future__ import annotations

import asyncio
import gc
import shlex
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from hivewire.settings import Effective, StartError, exposed_file
from hivewire.telemetry import FIELDS, configure_logging, log
from hivewire.transport.server import raise_file_limit


def run(effective: Effective, work: Callable[[], Coroutine[Any, Any, bool | None]]) -> None:
    """Do the work, again as long as it says so. Raises StartError."""
    settings = effective.settings
    if settings.store is not None:
        FIELDS["gateway"] = settings.gateway
    configure_logging(settings.log_format, settings.log_level)
    if (file := exposed_file(effective)) is not None:
        remedy = f"chmod 600 {shlex.quote(str(file))}"
        log.warning("other users can read the settings file, which holds secrets", file=str(file), remedy=remedy)
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            while runner.run(work()):
                gc.unfreeze()  # memory of the previous run
        except asyncio.CancelledError:
            raise StartError("stopped during the start") from None
