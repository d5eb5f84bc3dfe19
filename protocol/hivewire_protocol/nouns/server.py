"""What the gateway tells anybody about itself (core protocol, sections 2.2-2.4)."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Reply, Request, says

API_VERSION = "4.1.0"
"""The DeviceHive API that this gateway speaks; DeviceHive's clients read it as the version of the server."""

_Clock = Annotated[str, says("The gateway's clock, in UTC: `2026-03-01T09:30:00.123`.")]


class Info(Struct):
    """Version and clock; each transport shows the address of the other one."""

    apiVersion: Annotated[str, says("The version of DeviceHive's API.")]
    serverTimestamp: _Clock
    restServerUrl: Annotated[str | UnsetType, says("Where REST is; only over a socket.")] = UNSET
    webSocketServerUrl: Annotated[str | UnsetType, says("Where sockets are opened; only over HTTP.")] = UNSET


class InfoReply(Reply):
    """About the gateway."""

    info: Annotated[Info, says("Version, clock and address.")]


class CacheInfo(Struct):
    """What is in memory, and at what time."""

    serverTimestamp: _Clock
    cacheStats: Annotated[str, says("A sentence for people.")]


class CacheInfoReply(Reply):
    """About what is in memory."""

    cacheInfo: Annotated[CacheInfo, says("What is in memory.")]


class ClusterInfoReply(Reply):
    """About the message bus."""

    clusterInfo: Annotated[
        dict[str, str], says("`bootstrap.servers` and `zookeeper.connect`, both the host and port of the gateway.")
    ]


class ServerInfo(Request, tag="server/info"):
    """Version and clock; over a socket the address of REST, over HTTP that of the socket."""

    reply = InfoReply


class ServerCacheInfo(Request, tag="server/cacheInfo"):
    """A sentence about what is held in memory."""

    reply = CacheInfoReply


class ClusterInfo(Request, tag="cluster/info"):
    """The addresses of the message bus behind the server; there is none, so they are the gateway's own."""

    reply = ClusterInfoReply
