"""What a ledger has of networks, device types and devices from the beginning (core protocol, section 7.4).

Clients depend on it: a device that is saved without a network goes to the first one of its user, and tutorials use the
sample device. It is written once in the life of a ledger, so what an administrator deletes stays deleted.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from hivewire.access.users import User, UserContent, Users
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Expected, Guard, LedgerError, PreconditionFailed, Write
from hivewire.telemetry import log
from hivewire_protocol.nouns.user import Role

FIRST = 1
"""The id of the first network and of the first device type, which the first administrator is assigned to."""

SAMPLE_NETWORK = GroupingContent("Sample Network", "A DeviceHive Sample Network")
TYPES = (
    GroupingContent("Default Device Type", "Default DeviceHive device type"),
    GroupingContent("Cameras", "Security and surveillance cameras"),
    GroupingContent("Lightning", "Lights and lamps"),
    GroupingContent("Door Locks", "Smart door locks"),
    GroupingContent("Thermostats", "Thermostats and climate control"),
    GroupingContent("Entertainment", "Audio, video and games"),
    GroupingContent("Cars", "Connected cars"),
    GroupingContent("Cooking", "Kitchen appliances"),
)
"""By id, from 1."""
SAMPLE_DEVICE = "e50d6085-2aba-48e9-b1c3-73c673e414be"


def writes(ledger: Ledger) -> list[Write]:
    """What to write into a ledger that never had a network, a device type or a device; nothing for another one."""
    if any(ledger.kind(kind).last_id for kind in (NETWORK, DEVICE_TYPE, DEVICE)):
        return []
    device = DeviceContent(name="Sample Device", network=FIRST, type=FIRST)
    groupings = [(NETWORK, SAMPLE_NETWORK), *((DEVICE_TYPE, each) for each in TYPES)]
    return [
        *(write for kind, content in groupings for write in insert(kind, content)),
        Write(DEVICE, SAMPLE_DEVICE, msgspec.json.encode(device), "application/json"),
    ]


def assigned(content: UserContent) -> UserContent:
    """The content of a user that belongs to the first network and has the first device type."""
    return structs.replace(content, networks=[FIRST], device_types=[FIRST])


async def write(ledger: Ledger, users: Users) -> None:
    """Write it into a ledger that has users from before devices existed; its first administrator becomes the member.

    Several gateways may start on one log: one of them writes. A ledger that cannot be written gets it at a later start.
    """
    guard = Guard(NETWORK, str(FIRST), (Expected(revision=0),))  # never there, not even deleted
    while found := writes(ledger):
        administrator = _first_administrator(users)
        if administrator is None:
            return
        transaction = users.replace(administrator, assigned(administrator.content), None)
        transaction.writes, transaction.guards = [*transaction.writes, *found], [guard]
        try:
            await ledger.commit(transaction)
        except PreconditionFailed:
            continue  # another gateway, or a change of that user, was faster
        except LedgerError as error:
            log.warning("the sample network and the device types were not written", reason=str(error))
            return


def _first_administrator(users: Users) -> User | None:
    return next((user for user in users.all() if user.content.role == Role.ADMIN), None)
