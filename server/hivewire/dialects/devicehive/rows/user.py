"""The paths of users."""

from __future__ import annotations

from hivewire.actions import user
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.user import UserGetCurrent, UserInsert, UserList, UserUpdate

ROWS = (
    Row("GET", "/user", UserList, shows="users"),
    Row("POST", "/user", UserInsert, 201, shows="user", body="user"),
    Row("GET", "/user/current", UserGetCurrent, shows="current", auth=True),
    Row("PUT", "/user/{userId}", UserUpdate, 204, body="user", check=user.check_user_exists),
)
