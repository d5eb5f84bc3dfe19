"""The paths of device types."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.devicetype import DeviceTypeList

ROWS = (Row("GET", "/devicetype", DeviceTypeList, shows="deviceTypes"),)
