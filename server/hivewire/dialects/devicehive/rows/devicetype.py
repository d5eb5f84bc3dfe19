"""The paths of device types."""

from __future__ import annotations

from hivewire.actions.devicetype import check_path
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.devicetype import (
    DeviceTypeCount,
    DeviceTypeDelete,
    DeviceTypeGet,
    DeviceTypeInsert,
    DeviceTypeList,
    DeviceTypeUpdate,
)
from hivewire_protocol.nouns.subscription import DeviceTypeSubscribe

ROWS = (
    Row("GET", "/devicetype", DeviceTypeList, shows="deviceTypes", stream=DeviceTypeSubscribe),
    Row("POST", "/devicetype", DeviceTypeInsert, 201, shows="deviceType", body="deviceType"),
    Row("GET", "/devicetype/count", DeviceTypeCount),
    Row("GET", "/devicetype/{deviceTypeId}", DeviceTypeGet, shows="deviceType", check=check_path),
    Row("PUT", "/devicetype/{deviceTypeId}", DeviceTypeUpdate, 204, body="deviceType", check=check_path),
    Row("DELETE", "/devicetype/{deviceTypeId}", DeviceTypeDelete, 204, check=check_path),
)
