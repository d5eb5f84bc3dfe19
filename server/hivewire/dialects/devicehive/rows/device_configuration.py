"""The paths of the effective configuration of a device, its labels and its reports."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.device_configuration import DeviceEffective, DeviceLabel, DeviceReport, DeviceRevoke
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe

ROWS = (
    Row("GET", "/device/{deviceId}/configuration", DeviceEffective, stream=ConfigurationSubscribe),
    Row("GET", "/device/{deviceId}/label", DeviceLabel),
    Row("PUT", "/device/{deviceId}/label", DeviceLabel, unconditional=True),
    Row("POST", "/device/{deviceId}/report", DeviceReport, 204),
    Row("POST", "/device/{deviceId}/revoke", DeviceRevoke, 204, empty=None),
)
