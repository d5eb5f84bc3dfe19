"""Permissions: the numbered actions of DeviceHive (core protocol, section 3.4) and our own from 100 on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Permission(IntEnum):
    """One grantable action; the number is what stands in a token's `a`."""

    ANY = 0
    NONE = 1
    GET_NETWORK = 2
    GET_DEVICE = 3
    GET_DEVICE_NOTIFICATION = 4
    GET_DEVICE_COMMAND = 5
    REGISTER_DEVICE = 6
    CREATE_DEVICE_COMMAND = 7
    UPDATE_DEVICE_COMMAND = 8
    CREATE_DEVICE_NOTIFICATION = 9
    GET_CURRENT_USER = 10
    UPDATE_CURRENT_USER = 11
    MANAGE_USER = 12
    MANAGE_CONFIGURATION = 13
    MANAGE_NETWORK = 14
    MANAGE_TOKEN = 15
    MANAGE_PLUGIN = 16
    GET_DEVICE_TYPE = 17
    MANAGE_DEVICE_TYPE = 18
    GET_CONFIGURATION = 100
    SYNC_CONFIGURATION = 101
    REVEAL_SECRET = 102

    @property
    def wire_name(self) -> str:
        """The name that `token/create` takes: `ManageConfiguration`, or `*` for everything."""
        return "*" if self is Permission.ANY else self.name.title().replace("_", "")


ALL = frozenset(Permission) - {Permission.ANY, Permission.NONE}

CLIENT = frozenset(
    Permission(number) for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17)
)  # the "client set" of core protocol section 3.4: what role CLIENT gets, and what an empty `a` means

BY_NAME: dict[str, Permission] = {
    permission.wire_name.lower(): permission
    for permission in Permission
    if permission is not Permission.NONE  # number 1 has no name on the wire
}


def effective(numbers: Iterable[int] | None) -> frozenset[Permission]:
    """What the list `a` of a token grants; raises ValueError for a number that stands for nothing.

    Containing 0 means everything; the empty list means the client set; absent means nothing (section 3.4).
    ManageConfiguration includes GetConfiguration.
    """
    if numbers is None:
        return frozenset()
    granted = frozenset(Permission(number) for number in numbers)
    if Permission.ANY in granted:
        return ALL
    if not granted:
        return CLIENT
    if Permission.MANAGE_CONFIGURATION in granted:
        granted |= {Permission.GET_CONFIGURATION}
    return granted - {Permission.NONE}
