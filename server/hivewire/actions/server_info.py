"""What the server tells anybody (core protocol, sections 2.2-2.4)."""

from __future__ import annotations

from hivewire.client import Client
from hivewire.dispatch import House, now
from hivewire_protocol import times
from hivewire_protocol.messages import Reply
from hivewire_protocol.server_info import (
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


def info(house: House, client: Client, request: ServerInfo) -> Reply:
    """Version, clock, and the address of the other face."""
    said = Info(API_VERSION, times.render(now()))
    secure = "s" if client.secure else ""
    # Over the path of the auth service the sockets are those of the main one.
    context = "api" if client.context == "auth" else client.context
    if client.http:
        said.webSocketServerUrl = f"ws{secure}://{client.host}/{context}/websocket"
    else:
        said.restServerUrl = f"http{secure}://{client.host}/{context}/rest"
    return InfoReply(said)


def cache_info(house: House, client: Client, request: ServerCacheInfo) -> Reply:
    """Everything current is held in memory, so the statistics are one sentence."""
    return CacheInfoReply(CacheInfo(times.render(now()), f"all in memory, ledger revision {house.ledger.revision}"))


def cluster_info(house: House, client: Client, request: ClusterInfo) -> Reply:
    """No message bus stands behind this server."""
    return ClusterInfoReply({"bootstrap.servers": None, "zookeeper.connect": None})


READS = {ServerInfo: info, ServerCacheInfo: cache_info, ClusterInfo: cluster_info}
