"""What carries facts between gateways in one process, and loses some."""

from __future__ import annotations

import asyncio

from hivewire.broadcast import Hear


class Bus:
    """Connects gateways. `lose` is how many of the next facts nobody hears."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.lose = 0

    def end(self) -> End:
        """That of one more gateway."""
        self.ends.append(End(self, f"gateway {len(self.ends)}"))
        return self.ends[-1]


class End:
    """What one gateway has of a bus."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self._bus = bus
        self._hear: dict[str, Hear] = {}

    def tell(self, subject: str, fact: bytes) -> None:
        """Soon: the others hear it when the event loop runs."""
        if self._bus.lose:
            self._bus.lose -= 1
            return
        for end in self._bus.ends:
            if end is not self and (hear := end._hear.get(subject)) is not None:
                asyncio.get_running_loop().call_soon(hear, self.name, fact)

    def hear(self, subject: str, hear: Hear) -> None:
        """From now on."""
        self._hear[subject] = hear

    def leave(self) -> None:
        """The gateway was killed: it tells and hears nothing more."""
        self._bus.ends.remove(self)
        self._bus = Bus()
