"""The paths of devices."""

from __future__ import annotations

from hivewire.actions import device
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.device import DeviceCount, DeviceDelete, DeviceGet, DeviceList, DeviceSave
from hivewire_protocol.nouns.subscription import DeviceSubscribe

ROWS = (
    Row("GET", "/device", DeviceList, shows="devices", stream=DeviceSubscribe),
    Row("GET", "/device/count", DeviceCount),
    Row("GET", "/device/{deviceId}", DeviceGet, shows="device"),
    Row(
        "PUT",
        "/device/{deviceId}",
        DeviceSave,
        204,
        body="device",
        check=device.check_id_in_path,
        empty="Error! Validation failed: \nObject is null",
    ),
    Row("DELETE", "/device/{deviceId}", DeviceDelete, 204),
)
