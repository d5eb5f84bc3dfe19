"""The paths of networks."""

from __future__ import annotations

from hivewire.actions.network import check_path
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.network import (
    NetworkCount,
    NetworkDelete,
    NetworkGet,
    NetworkInsert,
    NetworkList,
    NetworkUpdate,
)
from hivewire_protocol.nouns.subscription import NetworkSubscribe

ROWS = (
    Row("GET", "/network", NetworkList, shows="networks", stream=NetworkSubscribe),
    Row("POST", "/network", NetworkInsert, 201, shows="network", body="network"),
    Row("GET", "/network/count", NetworkCount),
    Row("GET", "/network/{networkId}", NetworkGet, shows="network", check=check_path),
    Row("PUT", "/network/{networkId}", NetworkUpdate, 204, body="network", check=check_path),
    Row("DELETE", "/network/{networkId}", NetworkDelete, 204, check=check_path),
)
