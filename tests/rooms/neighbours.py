"""Several gateways on one ledger, one store of messages and one bus, in memory."""

from __future__ import annotations

import asyncio

from tests.broadcast import Bus, End
from tests.ledger.shared import SharedLog
from tests.rooms.test_presence import World
from tests.streams.shared import SharedStore
from tests.world import Clock


class Gateway(World):
    """One of them. `seconds` is its monotonic clock."""

    def __init__(self, log: SharedLog, store: SharedStore, bus: Bus) -> None:
        self.end: End = bus.end()
        self.seconds = 100.0
        engine = store.engine()
        self.feed = engine.log("commands")
        super().__init__(log.journal(), Clock(), self.end, engine)
        self.neighbours = self.services.neighbours
        self.neighbours._seconds = lambda: self.seconds


class Site:
    """What they share."""

    def __init__(self) -> None:
        self.log, self.store, self.bus = SharedLog(), SharedStore(), Bus()
        self.gateways: list[Gateway] = []

    async def gateway(self) -> Gateway:
        """One more. The first one has two devices, a lamp and a door."""
        gateway = Gateway(self.log, self.store, self.bus)
        if self.gateways:
            await gateway.load()
            gateway.admin = gateway.caller()
        else:
            await (await gateway.open()).fill()
            await gateway.register("lamp")
            await gateway.register("door", 2, 2)
        self.gateways.append(gateway)
        return gateway

    async def beat(self) -> None:
        """Every gateway says that it is there, and is heard."""
        for gateway in self.gateways:
            gateway.neighbours.beat()
        await settle()


async def settle() -> None:
    """Until everything that was told was heard."""
    for _ in range(10):
        await asyncio.sleep(0)
