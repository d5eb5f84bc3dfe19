"""A gateway, or the parent of several, as a process: its log, its limits, its event loop."""

from __future__ import annotations

import asyncio
import gc
import resource
import shlex
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from hivewire.settings import Effective, SettingsError, StartError, exposed_file
from hivewire.telemetry import FIELDS, configure_logging, log
from hivewire.transport.admission import FILES
from hivewire.transport.server import raise_file_limit

ADDRESSES = 1 << 30
"""Bytes of virtual memory that a process needs. One with an empty data file takes 650 MiB after five logins at once,
measured: most are addresses that the allocator reserves for each thread."""


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
    _require_limits()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            while runner.run(work()):
                gc.unfreeze()  # memory of the previous run
        except asyncio.CancelledError:
            raise StartError("stopped during the start") from None


def _require_limits() -> None:
    """Raise SettingsError if this process may have too little virtual memory, or open too few files."""
    addresses, files = (resource.getrlimit(each)[0] for each in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE))
    if addresses != resource.RLIM_INFINITY and addresses < ADDRESSES:
        most = f"{addresses >> 20:,} MiB of virtual memory (ulimit -v, LimitAS of the unit)"
        needed = f"{ADDRESSES >> 20:,}; MemoryMax bounds what it uses"
        raise SettingsError(f"this process may have {most} and needs {needed}")
    if files <= FILES and files != resource.RLIM_INFINITY:
        most = f"{files} files (ulimit -n, LimitNOFILE of the unit)"
        raise SettingsError(f"this process may open {most} and needs more than {FILES}")
