"""The interface of the parts of the gateway."""

from __future__ import annotations

from typing import Protocol

from hivewire.telemetry import Gauges


class Component(Protocol):
    """A part of the gateway with its own start and end."""

    def start(self) -> None:
        """Begin background work. Called once, in the running event loop."""

    async def close(self) -> None:
        """End background work and close open resources. Always called, however the gateway ends."""

    def gauges(self) -> Gauges:
        """Its metrics by name, which are read at each scrape."""
