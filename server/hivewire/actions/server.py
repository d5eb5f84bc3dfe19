"""Public information about the server (core protocol, sections 2.2-2.4)."""

from __future__ import annotations

import re

from hivewire.caller import Caller
from hivewire.services import Services
from hivewire_protocol import times
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.server import (
    API_VERSION,
    CacheInfo,
    CacheInfoReply,
    ClusterInfo,
    ClusterInfoReply,
    Info,
    InfoReply,
    ServerCacheInfo,
    ServerInfo,
)

_PORT = re.compile(r":\d+$")


def info(services: Services, caller: Caller, request: ServerInfo) -> Reply:
    """Version, clock, and the address of the other transport (WebSocket or REST)."""
    said = Info(API_VERSION, times.render(services.messages.now()))
    secure = "s" if caller.secure else ""
    # The auth service has no sockets of its own: clients use those of the main path.
    context = "api" if caller.context == "auth" else caller.context
    if caller.http:
        said.webSocketServerUrl = f"ws{secure}://{caller.host}/{context}/websocket"
    else:
        said.restServerUrl = f"http{secure}://{caller.host}/{context}/rest"
    if others := services.settings.other_gateways:
        said.alternatives = others
    return InfoReply(said)


def cache_info(services: Services, caller: Caller, request: ServerCacheInfo) -> Reply:
    """Everything current is held in memory, so the statistics are one sentence."""
    return CacheInfoReply(
        CacheInfo(times.render(services.messages.now()), f"all in memory, ledger revision {services.ledger.revision}")
    )


def cluster_info(services: Services, caller: Caller, request: ClusterInfo) -> Reply:
    """The address of this request for both: there is no message bus, but clients need strings."""
    host = caller.host or f"{services.settings.host}:{services.settings.port}"
    if not _PORT.search(host):
        host += ":443" if caller.secure else ":80"
    return ClusterInfoReply({"bootstrap.servers": host, "zookeeper.connect": host})


READS = {ServerInfo: info, ServerCacheInfo: cache_info, ClusterInfo: cluster_info}
