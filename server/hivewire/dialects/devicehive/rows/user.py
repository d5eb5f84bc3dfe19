"""The paths of users."""

from __future__ import annotations

from hivewire.actions import user
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.user import (
    UserCount,
    UserDelete,
    UserGet,
    UserGetCurrent,
    UserInsert,
    UserList,
    UserUpdate,
    UserUpdateCurrent,
)

ROWS = (
    Row("GET", "/user", UserList, shows="users"),
    Row("POST", "/user", UserInsert, 201, shows="user", body="user"),
    Row("GET", "/user/count", UserCount),
    Row("GET", "/user/current", UserGetCurrent, shows="current", auth=True),
    Row("PUT", "/user/current", UserUpdateCurrent, 204, body="user", auth=True, empty=None),
    Row("GET", "/user/{userId}", UserGet, shows="user"),
    Row("PUT", "/user/{userId}", UserUpdate, 204, body="user", check=user.check_user_exists, empty=None),
    Row("DELETE", "/user/{userId}", UserDelete, 204),
)
