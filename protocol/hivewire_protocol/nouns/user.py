"""Users as administrators and users themselves see them (core protocol, sections 6.1-6.3 and 7)."""

from enum import IntEnum
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.nouns.network import NetworkListed
from hivewire_protocol.permissions import Permission


class Role(IntEnum):
    """The kind of user, which decides the rights of its login."""

    ADMIN = 0
    CLIENT = 1


class Status(IntEnum):
    """Whether the user may log in; only an administrator sets it."""

    ACTIVE = 0
    LOCKED_OUT = 1
    DISABLED = 2


_Id = Annotated[int, says("The user's number.")]
_Login = Annotated[str, says("The user's login.")]
_Role = Annotated[int, says("0: administrator, 1: client, which is no OAuth client.")]
_Status = Annotated[int, says("0: active, 1: locked out, 2: disabled.")]
_LastLogin = Annotated[str | None, says("When the user last logged in, in UTC; null: never.")]
_Data = Annotated[dict[str, Any] | None, says("Any JSON object that applications keep with the user.")]
_IntroReviewed = Annotated[bool, says("Whether the user has seen the introduction of DeviceHive's console.")]
_AllDeviceTypes = Annotated[bool, says("Whether the user reaches all device types.")]


class UserListed(Struct):
    """A user as a row of a list; never with a password or its hash."""

    id: _Id
    login: _Login
    role: _Role
    status: _Status
    lastLogin: _LastLogin
    data: _Data
    introReviewed: _IntroReviewed
    allDeviceTypesAvailable: _AllDeviceTypes


class UserFull(Struct):
    """A user with the networks it belongs to."""

    networks: Annotated[list[NetworkListed], says("The networks that the user belongs to.")]
    id: _Id
    login: _Login
    role: _Role
    status: _Status
    lastLogin: _LastLogin
    data: _Data
    introReviewed: _IntroReviewed
    allDeviceTypesAvailable: _AllDeviceTypes


class UserReply(Reply):
    """A user with the networks it belongs to."""

    user: Annotated[UserFull, says("The user.")]


class UserCurrentReply(Reply):
    """The caller's own user."""

    current: Annotated[UserFull, says("The user.")]


class UserListReply(Reply):
    """The users."""

    users: Annotated[list[UserListed], says("The users that match.")]


class UserCountReply(Reply):
    """The number of users."""

    count: Annotated[int, says("The number of users that match.")]


_OnlyLogin = Annotated[str | None, says("Only the user with this login.")]
_OnlyPattern = Annotated[
    str | None, says("Only logins like this: `%` is any characters, `_` is one; overrides `login`.")
]
_OnlyRole = Annotated[Integer | None, says("Only users of this role.")]
_OnlyStatus = Annotated[Integer | None, says("Only users of this status.")]
_UserId = Annotated[Integer | None, says("The user's number.")]


class UserGet(Request, tag="user/get"):
    """A user. For a client only itself exists here."""

    permission = Permission.MANAGE_USER
    read_only = True
    required = ("userId",)
    reply = UserReply
    errors = (NotFound,)

    userId: _UserId = None


class UserGetCurrent(Request, tag="user/getCurrent"):
    """The user of the token, as currently stored."""

    permission = Permission.GET_CURRENT_USER
    read_only = True
    reply = UserCurrentReply


class UserList(Request, tag="user/list"):
    """List users, filtered, sorted and paged (section 6.2)."""

    permission = Permission.MANAGE_USER
    read_only = True
    reply = UserListReply
    errors = (OutOfBounds,)

    login: _OnlyLogin = None
    loginPattern: _OnlyPattern = None
    role: _OnlyRole = None
    status: _OnlyStatus = None
    sortField: Annotated[str | None, says("`id` or `login`.")] = None
    sortOrder: Annotated[str | None, says("`asc`, as when absent, or `desc`.")] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, all over HTTP.", minimum=0)] = (
        None
    )
    skip: Annotated[Integer | None, says("The number to skip at the beginning.", minimum=0)] = None


class UserCount(Request, tag="user/count"):
    """Count the users that `user/list` would find."""

    permission = Permission.MANAGE_USER
    read_only = True
    reply = UserCountReply
    errors = (OutOfBounds,)

    login: _OnlyLogin = None
    loginPattern: _OnlyPattern = None
    role: _OnlyRole = None
    status: _OnlyStatus = None


class UserCreated(Struct):
    """A new user: the members that were not in the request."""

    id: _Id
    lastLogin: _LastLogin
    data: _Data
    introReviewed: _IntroReviewed
    allDeviceTypesAvailable: _AllDeviceTypes


class UserInsertReply(Reply):
    """The new user's number, and its defaults."""

    user: Annotated[UserCreated, says("The new user.")]
    dryRun: WasDryRun = UNSET


class UserInsertFields(Struct):
    """A new user. Unknown members are ignored."""

    required: ClassVar[tuple[str, ...]] = ("login", "password", "role")

    login: Annotated[str | None, says("3 to 128 letters, digits and `_@.-`; blanks around it are dropped.")] = None
    password: Annotated[str | None, says("The password, 6 to 128 characters.")] = None
    role: Annotated[Integer | None, says("0: administrator, 1: client, which is no OAuth client.")] = None
    status: Annotated[Integer | None, says("0: active, as when absent; 1: locked out, 2: disabled.")] = None
    data: Annotated[Any, says("Any JSON object that applications keep with the user.")] = None
    introReviewed: Annotated[
        bool | None, says("Whether the user has seen the introduction of DeviceHive's console; default false.")
    ] = None
    allDeviceTypesAvailable: Annotated[
        bool | None, says("Whether the user reaches all device types; default true.")
    ] = None


class UserInsert(Request, tag="user/insert"):
    """Create a user. It needs an administrator's unrestricted token."""

    permission = Permission.MANAGE_USER
    required = ("user",)
    reply = UserInsertReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    user: Annotated[UserInsertFields | UnsetType | None, says("The new user.")] = UNSET
    dryRun: DryRun = None


class UserUpdateFields(Struct):
    """Changes of a user. An absent member, or null, leaves it as it is, except `data`. Unknown members are ignored."""

    required: ClassVar[tuple[str, ...]] = ()

    login: Annotated[str | None, says("A new login; the user keeps its number and its tokens.")] = None
    password: Annotated[str | None, says("A new password, 6 to 128 characters; an empty one is ignored.")] = None
    role: Annotated[Integer | None, says("0: administrator, 1: client, which is no OAuth client.")] = None
    status: Annotated[Integer | None, says("0: active, 1: locked out, 2: disabled.")] = None
    data: Annotated[Any, says("Any JSON object. Absent or null clears it, as in DeviceHive.")] = None
    introReviewed: Annotated[
        bool | None, says("Whether the user has seen the introduction of DeviceHive's console.")
    ] = None


class UserUpdate(Request, tag="user/update"):
    """Change a user. Login, password, role and status need an administrator's unrestricted token."""

    permission = Permission.MANAGE_USER
    required = ("userId", "user")
    reply = WriteReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    userId: _UserId = None
    user: Annotated[UserUpdateFields | UnsetType | None, says("What to change.")] = UNSET
    dryRun: DryRun = None


class UserUpdateCurrent(Request, tag="user/updateCurrent"):
    """Change the user of the token, whose tokens and sockets go on. Login, role and status need an administrator's
    unrestricted token; `password`, `data` and `introReviewed` do not."""

    permission = Permission.UPDATE_CURRENT_USER
    required = ("user",)
    reply = WriteReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    user: Annotated[UserUpdateFields | UnsetType | None, says("What to change.")] = UNSET
    dryRun: DryRun = None


class UserDelete(Request, tag="user/delete"):
    """Delete a user, and end its tokens at once, on open sockets too. An administrator can be deleted only with an
    administrator's unrestricted token, and nobody can delete itself."""

    permission = Permission.MANAGE_USER
    required = ("userId",)
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None
