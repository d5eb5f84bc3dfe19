"""What a ledger has from the beginning: in a new one, in one from before devices existed, and never a second time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from hivewire.access import bootstrap
from hivewire.access.passwords import Passwords
from hivewire.access.user_changes import change_user
from hivewire.access.users import User, UserContent, Users
from hivewire.devices import registry, seeds
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, Registry
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.journal import Journal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import NotDurable, Transaction, Write
from hivewire.settings import Settings
from hivewire_protocol.nouns.user import Role
from tests.ledger.shared import SharedLog
from tests.world import HASHER

TYPES = [
    "Default Device Type", "Cameras", "Lightning", "Door Locks", "Thermostats", "Entertainment", "Cars", "Cooking",
]  # fmt: skip


class Gateway:
    """A gateway over a log, as far as its start writes."""

    def __init__(self, journal: Journal) -> None:
        self.ledger = Ledger(journal, lambda: 1)
        self.users = Users(self.ledger)
        self.registry = Registry(self.ledger, self.users)

    async def open(self) -> None:
        """Load the log."""
        await self.ledger.open()
        await self.users.load()
        self.registry.load()

    async def first_writes(self) -> None:
        """The last steps of a start."""
        await seeds.write(self.ledger, self.users)
        beside = seeds.writes(self.ledger)
        settings, passwords = Settings(admin_password="a password"), Passwords(1, HASHER)
        await bootstrap.write_administrator(settings, self.users, passwords, seeds.assigned, beside)
        passwords.close()

    async def start(self) -> None:
        """A whole start."""
        await self.open()
        await self.first_writes()

    async def add(self, login: str, role: Role = Role.CLIENT) -> None:
        """A user from before devices existed."""
        await self.ledger.commit(self.users.write(login, UserContent("", role), None))

    def assignments(self) -> dict[str, tuple[list[int], list[int]]]:
        """The networks and the device types of the users that have any."""
        contents = {user.login: user.content for user in self.users.all()}
        return {login: (each.networks, each.device_types) for login, each in contents.items() if each.networks}

    def hold(self, **assignments: tuple[list[int], list[int]]) -> None:
        """The seeds are there, once, with these members."""
        found = self.registry
        networks = [(each.id, each.name, each.description) for each in found.networks.values()]
        assert networks == [(1, "Sample Network", "A DeviceHive Sample Network")]
        assert [(each.id, each.name) for each in found.device_types.values()] == [*enumerate(TYPES, 1)]
        assert found.device_types[1].description == "Default DeviceHive device type"
        (device,) = found.devices_in(None, None)
        assert (device.id, device.network, device.type) == ("e50d6085-2aba-48e9-b1c3-73c673e414be", 1, 1)
        assert (device.content.name, device.content.blocked) == ("Sample Device", False)
        assert self.assignments() == assignments

    async def delete_everything(self) -> None:
        """Delete all networks, device types and devices."""
        for kind in (NETWORK, DEVICE_TYPE):
            for each in list(self.registry.groupings(kind).values()):
                await self.ledger.commit(Transaction(registry.delete(kind, each)))
        await self.ledger.commit(Transaction([Write(DEVICE, seeds.SAMPLE_DEVICE, None)]))


async def test_a_new_ledger_has_a_network_device_types_and_a_device() -> None:
    """They are written together with the administrator, who belongs to the network and has the first type."""
    gateway = Gateway(MemoryJournal())
    await gateway.start()
    gateway.hold(admin=([1], [1]))
    assert gateway.ledger.revision == 1
    await gateway.ledger.close()


async def test_a_ledger_from_before_devices_gets_them_once() -> None:
    """At the first start that knows them; the member is the administrator with the lowest id, active or not."""
    journal = MemoryJournal()
    gateway = Gateway(journal)
    await gateway.open()
    for login, role in (("ann", Role.CLIENT), ("bob", Role.ADMIN), ("carl", Role.ADMIN)):
        await gateway.add(login, role)
    await gateway.ledger.close()

    gateway = Gateway(journal)
    await gateway.start()
    gateway.hold(bob=([1], [1]))
    revision = gateway.ledger.revision
    await gateway.ledger.close()

    gateway = Gateway(journal)
    await gateway.start()
    gateway.hold(bob=([1], [1]))
    assert gateway.ledger.revision == revision
    await gateway.delete_everything()
    await gateway.ledger.close()

    gateway = Gateway(journal)
    await gateway.start()
    assert not gateway.registry.networks
    assert not gateway.registry.device_types
    await gateway.ledger.close()


@pytest.mark.parametrize("old", [False, True])
async def test_of_several_gateways_that_start_on_one_log_one_writes(old: bool) -> None:
    """In a new log and in one from before devices existed; all of them see the same afterwards."""
    log = SharedLog()
    gateways = [Gateway(log.journal()) for _ in range(4)]
    for gateway in gateways:
        await gateway.open()
    if old:
        await gateways[0].add("ann", Role.ADMIN)
    await asyncio.gather(*[gateway.first_writes() for gateway in gateways])
    for gateway in gateways:
        gateway.hold(**{"ann" if old else "admin": ([1], [1])})
    await asyncio.gather(*[gateway.ledger.close() for gateway in gateways])


@pytest.mark.parametrize("kind", [NETWORK, DEVICE_TYPE, DEVICE])
async def test_a_ledger_that_once_had_one_of_them_gets_nothing(kind: str) -> None:
    """Not even when that was deleted since."""
    gateway = Gateway(MemoryJournal())
    await gateway.open()
    assert seeds.writes(gateway.ledger)
    first = next(write for write in seeds.writes(gateway.ledger) if write.kind == kind)
    (made,) = await gateway.ledger.commit(Transaction([first]))
    await gateway.ledger.commit(Transaction([Write(kind, made.key, None)]))
    assert seeds.writes(gateway.ledger) == []
    await gateway.ledger.close()


async def test_a_start_that_others_overtake_brings_nothing_back() -> None:
    """While it writes, another gateway writes the seeds for another administrator, and they are deleted."""
    log = SharedLog()
    journal = log.journal()
    slow, quick = Gateway(journal), Gateway(log.journal())
    await slow.open()
    await quick.open()
    await quick.add("ann")
    await quick.add("bob", Role.ADMIN)

    async def overtake() -> None:
        await quick.add("ann", Role.ADMIN)
        await seeds.write(quick.ledger, quick.users)
        quick.hold(ann=([1], [1]))
        await quick.delete_everything()

    await asyncio.sleep(0)  # the feed tells the slow one of the users
    journal.script.append(overtake)
    await seeds.write(slow.ledger, slow.users)
    assert not slow.registry.networks
    assert slow.assignments() == {"ann": ([1], [1])}
    await asyncio.gather(slow.ledger.close(), quick.ledger.close())


async def test_a_change_of_the_administrator_at_the_same_moment_is_kept() -> None:
    """The seeds are written to what the user is then."""
    gateway = Gateway(MemoryJournal())
    await gateway.open()
    await gateway.add("ann", Role.ADMIN)

    def renew(user: User) -> Transaction:
        return gateway.users.replace(user, structs.replace(user.content, data={"changed": True}), None)

    changed = change_user(gateway.users, None, 1, renew)
    await asyncio.gather(changed, seeds.write(gateway.ledger, gateway.users))
    gateway.hold(ann=([1], [1]))
    ann = gateway.users.by_id(1)
    assert ann is not None
    assert ann.content.data == {"changed": True}
    await gateway.ledger.close()


class Full(MemoryJournal):
    """A journal on a full disk."""

    full = False

    async def append(self, *args: Any, **members: Any) -> bool:
        if self.full:
            raise NotDurable("the disk is full")
        return await super().append(*args, **members)


async def test_an_old_ledger_that_cannot_be_written_starts_all_the_same() -> None:
    """It gets the seeds at a later start."""
    journal = Full()
    gateway = Gateway(journal)
    await gateway.open()
    await gateway.add("ann", Role.ADMIN)
    journal.full = True
    await gateway.first_writes()
    assert not gateway.registry.networks
    journal.full = False
    await gateway.first_writes()
    gateway.hold(ann=([1], [1]))
    await gateway.ledger.close()
