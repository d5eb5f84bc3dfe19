"""Users as administrators and users themselves see them (core protocol, sections 6.1-6.3 and 7)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Integer, Reply, Request
from hivewire_protocol.permissions import Permission


class Role(IntEnum):
    """What kind of user; decides the rights that a login gets."""

    ADMIN = 0
    CLIENT = 1


class Status(IntEnum):
    """Whether the user may log in; set by an administrator only."""

    ACTIVE = 0
    LOCKED_OUT = 1
    DISABLED = 2


class UserListed(Struct):
    """A user as a row of a list; never with a password or its hash."""

    id: int
    login: str
    role: int
    status: int
    lastLogin: str | None
    data: dict[str, Any] | None
    introReviewed: bool
    allDeviceTypesAvailable: bool


class UserFull(Struct):
    """A user with the networks it belongs to."""

    networks: list[dict[str, Any]]
    id: int
    login: str
    role: int
    status: int
    lastLogin: str | None
    data: dict[str, Any] | None
    introReviewed: bool
    allDeviceTypesAvailable: bool


class UserGetCurrent(Request, tag="user/getCurrent"):
    """The user of one's own token, read fresh from the store."""

    permission: ClassVar[Permission | None] = Permission.GET_CURRENT_USER


class UserList(Request, tag="user/list"):
    """Users, filtered and paged (section 6.2)."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    login: str | None = None
    loginPattern: str | None = None
    role: Integer | None = None
    status: Integer | None = None
    sortField: str | None = None
    sortOrder: str | None = None
    take: Integer | None = None
    skip: Integer | None = None


class UserUpdateFields(Struct):
    """What to change of a user; a missing member stays as it is, except `data`, which an absent or null one clears."""

    login: str | None = None
    password: str | None = None
    role: Integer | None = None
    status: Integer | None = None
    data: dict[str, Any] | None = None
    introReviewed: bool | None = None


class UserUpdate(Request, tag="user/update"):
    """Change a user; administrators only."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    userId: Integer | None = None
    user: UserUpdateFields | UnsetType | None = UNSET


class UserCurrentReply(Reply):
    """The answer to `user/getCurrent`."""

    current: UserFull


class UserListReply(Reply):
    """The answer to `user/list`."""

    users: list[UserListed]
