"""The interface of the parts of the gateway."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from hivewire.telemetry import Gauges


class Component(Protocol):
    """A part of the gateway with its own start and end."""

    def start(self) -> None:
        """Begin background work. Called once, in the running event loop."""

    async def close(self) -> None:
        """End background work and close open resources. Always called, however the gateway ends."""

    def gauges(self) -> Gauges:
        """Its metrics by name, which are read at each scrape."""


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and return when they have ended. Their errors count for nothing any more."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
