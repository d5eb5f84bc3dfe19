"""What the gateway is made of."""

from __future__ import annotations

from typing import Protocol

from hivewire.telemetry import Gauges


class Component(Protocol):
    """A part of the gateway that has a life of its own."""

    def start(self) -> None:
        """Begin background work. Called once, in the running event loop."""

    async def close(self) -> None:
        """End background work and close what is open. Called on every way out."""

    def gauges(self) -> Gauges:
        """Its metrics by name, which are read at each scrape."""
