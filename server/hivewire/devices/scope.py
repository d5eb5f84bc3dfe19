"""Which networks, device types and devices a caller reaches (devices, section 0.3, and its addendum, section 4).

A scope is worked out for each request, because a token says only what it asks for: what it reaches depends on the
user's memberships and flags as they are now.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.access.users import User
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotFound, WireError


class Placed(Protocol):
    """What belongs to a network and has a type."""

    @property
    def network(self) -> int:
        """The id of its network."""

    @property
    def type(self) -> int:
        """The id of its device type."""


class Scope(Struct, frozen=True, gc=False):
    """What a caller reaches, as ids. None stands for all.

    `networks` and `types` are what the token grants. `members` are the networks that the user belongs to, None for an
    administrator, who needs no membership.
    """

    networks: frozenset[int] | None
    types: frozenset[int] | None
    members: frozenset[int] | None

    @property
    def unrestricted(self) -> bool:
        """Whether the token grants all networks and device types. Only then may a caller learn that a device does not
        exist."""
        return self.networks is None and self.types is None

    @property
    def everything(self) -> bool:
        """Whether all devices are within reach."""
        return self.unrestricted and self.members is None

    @property
    def reached(self) -> frozenset[int] | None:
        """The networks that both the token and the memberships reach."""
        if self.networks is None or self.members is None:
            return self.members if self.networks is None else self.networks
        return self.networks & self.members

    def covers(self, device: Placed) -> bool:
        """Whether a device is within reach."""
        return (
            (self.networks is None or device.network in self.networks)
            and (self.types is None or device.type in self.types)
            and (self.members is None or device.network in self.members)
        )

    def registers(self, network: int) -> bool:
        """Whether a device may be saved in a network: memberships decide, and the networks that a token lists. A token
        without networks saves in all of the user's."""
        return (not self.networks or network in self.networks) and (self.members is None or network in self.members)

    def refusal(self, device_id: str, *, follows: bool = False) -> WireError:
        """The error for a device that does not exist or is out of reach.

        The two are told apart for nobody. `follows`: the request subscribes or polls.
        """
        if self.unrestricted and not (follows and self.members is not None):
            return no_device(device_id)
        return AccessDenied.because(f"device '{device_id[:SHOWN]}' is not within reach of the token")


def scope_of(identity: Identity, user: User | None) -> Scope:
    """The scope of a token of this user; of nobody, nothing."""
    if user is None:
        return NOWHERE
    types = None if user.content.all_device_types_available else identity.device_types
    if types is None and user.members is None and identity.networks is None:
        return EVERYWHERE
    return Scope(identity.networks, types, user.members)


def no_device(device_id: str) -> NotFound:
    """The error for a device that does not exist."""
    return NotFound(f"Device with such deviceId = {device_id[:SHOWN]} not found")


def required(device_id: str | None) -> str:
    """The id of a device in a request. Raises InvalidParameters when there is none."""
    if device_id is None:
        raise InvalidParameters("Device id is wrong or empty")
    return device_id


NOWHERE = Scope(frozenset(), frozenset(), frozenset())
EVERYWHERE = Scope(None, None, None)

SHOWN = 128
"""Characters of an unknown id that an error repeats."""
