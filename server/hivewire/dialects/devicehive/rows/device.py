"""The paths of devices."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.device import DeviceList

ROWS = (Row("GET", "/device", DeviceList, shows="devices"),)
