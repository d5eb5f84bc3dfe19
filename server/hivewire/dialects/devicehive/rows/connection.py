"""The paths of open connections."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.connection import ConnectionClose, ConnectionList

ROWS = (
    Row("GET", "/connection", ConnectionList, shows="connections"),
    Row("DELETE", "/connection/{connectionId}", ConnectionClose, 204),
)
