"""A gateway in memory with a fleet: devices in networks, their sockets, and what tests of layers and rollouts ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec

import tests.world
from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.devices.index import DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.records import Transaction, Write
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.permissions import Permission
from tests.rooms.test_hub import Peer

ADMIN, ANN = 1, 2
DEVICE_RIGHTS: list[int] = [Permission.SYNC_CONFIGURATION]


class World(tests.world.World):
    """Two networks, two types, an administrator and Ann, who belongs to network 1."""

    staff: ClassVar[Mapping[str, UserContent]] = {
        "admin": UserContent("", Role.ADMIN, networks=[1]),
        "ann": UserContent("", networks=[1]),
    }

    async def fill(self) -> World:
        """Create the networks n1 and n2 and the types t1 and t2."""
        for kind, letter in ((NETWORK, "n"), (DEVICE_TYPE, "t")):
            for number in (1, 2):
                await self.ledger.commit(Transaction(insert(kind, GroupingContent(f"{letter}{number}"))))
        return self

    async def register(self, *ids: str, network: int = 1, device_type: int = 1) -> None:
        """Devices, in one transaction for each thousand."""
        content = msgspec.json.encode(DeviceContent(name="d", network=network, type=device_type))
        for start in range(0, len(ids), 1_000):
            writes = [Write("device", each, content) for each in ids[start : start + 1_000]]
            await self.ledger.commit(Transaction(writes))

    async def do(self, action: str, caller: Caller | None = None, /, **members: Any) -> Any:
        """The reply to a request, as a client sees it."""
        reply = await self.ask(build(REQUESTS[action], decode_members(msgspec.json.encode(members))), caller)
        return msgspec.json.decode(b"{%b}" % reply.members())

    async def no(self, action: str, caller: Caller | None = None, /, **members: Any) -> tuple[int, str]:
        """The code and the text with which a request is refused."""
        try:
            await self.do(action, caller, **members)
        except WireError as error:
            return error.code, str(error)
        raise AssertionError(f"{action} was not refused")

    async def restarted(self) -> World:
        """A gateway that starts with what this one has saved."""
        await self.services.notes.save()
        again = World(self.journal, self.clock)
        await again.load()
        await again.services.notes.load()
        again.admin = again.caller()
        return again

    async def layer(self, name: str, rank: int, **target: Any) -> int:
        """A layer; how many devices have it."""
        return int((await self.do("layer/put", layer=name, rank=rank, target=target))["devices"])

    async def put(self, layer: str, **values: str | None) -> int:
        """Put values into a layer in one transaction, or delete them; its revision."""
        changes = [
            {"operation": "delete", "name": name, "layer": layer}
            if value is None
            else {"operation": "put", "name": name, "value": value, "layer": layer}
            for name, value in values.items()
        ]
        return int((await self.do("configuration/transact", changes=changes))["revision"])

    async def label(self, device: str, **labels: str) -> None:
        """Set the labels of a device."""
        await self.do("device/label", deviceId=device, labels=labels)

    async def has(self, device: str) -> dict[str, str]:
        """What counts for a device."""
        found = await self.do("device/effective", deviceId=device)
        return {each["name"]: each["value"] for each in found["configurations"]}

    def device(self, device: str, *names: str) -> Peer:
        """A socket with a token of the device, perhaps for some names only."""
        caller = self.caller(ADMIN, DEVICE_RIGHTS, d=[device], **({"c": list(names)} if names else {}))
        return Peer(self, caller.identity)  # type: ignore[arg-type]

    def follow(self, device: str, **members: Any) -> Peer:
        """A socket of a device that follows its configurations; the reply is taken."""
        peer = self.device(device)
        reply = peer.subscribe(deviceId=device, **members)
        assert reply["status"] == "success", reply
        peer.frames.remove(reply)
        return peer

    async def quiet(self) -> None:
        """Until nobody is behind."""
        await self.services.fleet.settled()
        for _ in range(10):
            await asyncio.sleep(0)
        while any(feed.serving for feed in self.hub.feeds):
            await asyncio.sleep(0)


@asynccontextmanager
async def fleet(*devices: str, **changed: Any) -> AsyncIterator[World]:
    """A world with these devices in network 1, of type 1."""
    world = World(**changed)
    await (await world.open()).fill()
    await world.register(*devices)
    try:
        yield world
    finally:
        await world.services.fleet.close()
        await world.close()
