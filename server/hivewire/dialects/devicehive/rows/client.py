"""The paths of clients."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.client import ClientDelete, ClientInsert, ClientList, ClientUpdate

ROWS = (
    Row("GET", "/client", ClientList, shows="clients"),
    Row("POST", "/client", ClientInsert, 201),
    Row("PUT", "/client/{clientId}", ClientUpdate),
    Row("DELETE", "/client/{clientId}", ClientDelete, 204),
)
