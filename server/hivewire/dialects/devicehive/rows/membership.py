"""The paths of a user's networks and device types. Bodies are ignored: clients send none, an empty one, or `{}`."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.membership import (
    UserAllowAllDeviceTypes,
    UserAssignDeviceType,
    UserAssignNetwork,
    UserDisallowAllDeviceTypes,
    UserGetDeviceType,
    UserGetDeviceTypes,
    UserGetNetwork,
    UserUnassignDeviceType,
    UserUnassignNetwork,
)

_NETWORK, _TYPE = "/user/{userId}/network/{networkId}", "/user/{userId}/devicetype/{deviceTypeId}"
_ALL = "/user/{userId}/devicetype/all"

ROWS = (
    Row("GET", _NETWORK, UserGetNetwork, shows="network"),
    Row("PUT", _NETWORK, UserAssignNetwork, 204, bodiless=True),
    Row("DELETE", _NETWORK, UserUnassignNetwork, 204, bodiless=True),
    Row("GET", "/user/{userId}/devicetype", UserGetDeviceTypes, shows="deviceTypes"),
    Row("PUT", _ALL, UserAllowAllDeviceTypes, 204, bodiless=True),
    Row("DELETE", _ALL, UserDisallowAllDeviceTypes, 204, bodiless=True),
    Row("GET", _TYPE, UserGetDeviceType, shows="deviceType"),
    Row("PUT", _TYPE, UserAssignDeviceType, 204, bodiless=True),
    Row("DELETE", _TYPE, UserUnassignDeviceType, 204, bodiless=True),
)
