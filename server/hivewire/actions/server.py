"""What the server tells anybody (core protocol, sections 2.2-2.4)."""

from __future__ import annotations

from hivewire.caller import Caller
from hivewire.services import Services, now
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


def info(services: Services, caller: Caller, request: ServerInfo) -> Reply:
    """Version, clock, and the address of the other face."""
    said = Info(API_VERSION, times.render(now()))
    secure = "s" if caller.secure else ""
    # Over the path of the auth service the sockets are those of the main one.
    context = "api" if caller.context == "auth" else caller.context
    if caller.http:
        said.webSocketServerUrl = f"ws{secure}://{caller.host}/{context}/websocket"
    else:
        said.restServerUrl = f"http{secure}://{caller.host}/{context}/rest"
    return InfoReply(said)


def cache_info(services: Services, caller: Caller, request: ServerCacheInfo) -> Reply:
    """Everything current is held in memory, so the statistics are one sentence."""
    return CacheInfoReply(CacheInfo(times.render(now()), f"all in memory, ledger revision {services.ledger.revision}"))


def cluster_info(services: Services, caller: Caller, request: ClusterInfo) -> Reply:
    """No message bus stands behind this server."""
    return ClusterInfoReply({"bootstrap.servers": None, "zookeeper.connect": None})


READS = {ServerInfo: info, ServerCacheInfo: cache_info, ClusterInfo: cluster_info}
