"""The paths of counts of a fleet."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.fleet import FleetCount, FleetList

ROWS = (
    Row("GET", "/fleet", FleetCount),
    Row("GET", "/fleet/device", FleetList, shows="devices"),
)
