"""The paths of information about the gateway."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.server import ClusterInfo, ServerCacheInfo, ServerInfo

ROWS = (
    Row("GET", "/info", ServerInfo, shows="info", auth=True),
    Row("GET", "/info/cache", ServerCacheInfo, shows="cacheInfo"),
    Row("GET", "/info/config/cluster", ClusterInfo, shows="clusterInfo"),
)
