"""The paths of networks."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.network import NetworkList

ROWS = (Row("GET", "/network", NetworkList, shows="networks"),)
