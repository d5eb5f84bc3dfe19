"""What the server says of itself to anybody (core protocol, sections 2.2-2.4)."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Reply, Request

API_VERSION = "4.1.0"
"""The DeviceHive API that this gateway speaks; its clients read it as the server's version."""


class ServerInfo(Request, tag="server/info"):
    """Version, clock, and where the other face of the server is."""


class ServerCacheInfo(Request, tag="server/cacheInfo"):
    """Free text about what is held in memory."""


class ClusterInfo(Request, tag="cluster/info"):
    """The addresses of the message bus behind the server: there is none, so both are null."""


class Info(Struct):
    """`restServerUrl` over WebSocket, `webSocketServerUrl` over HTTP; the other one is absent."""

    apiVersion: str
    serverTimestamp: str
    restServerUrl: str | UnsetType = UNSET
    webSocketServerUrl: str | UnsetType = UNSET


class InfoReply(Reply):
    """The answer to `server/info`."""

    info: Info


class CacheInfo(Struct):
    """When, and what."""

    serverTimestamp: str
    cacheStats: str


class CacheInfoReply(Reply):
    """The answer to `server/cacheInfo`."""

    cacheInfo: CacheInfo


class ClusterInfoReply(Reply):
    """The answer to `cluster/info`; its keys have dots in them."""

    clusterInfo: dict[str, str | None]
