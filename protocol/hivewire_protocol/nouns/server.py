"""Public information about the gateway (core protocol, sections 2.2-2.4)."""

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Push, Reply, Request, says

API_VERSION = "4.1.0"
"""The version of DeviceHive's API; DeviceHive's clients read it as the version of the server."""

_Clock = Annotated[str, says("The gateway's clock, in UTC: `2026-03-01T09:30:00.123`.")]


class Info(Struct):
    """Version and clock; each transport shows the address of the other one."""

    apiVersion: Annotated[str, says("The version of DeviceHive's API.")]
    serverTimestamp: _Clock
    restServerUrl: Annotated[str | UnsetType, says("The address of REST; only over a socket.")] = UNSET
    webSocketServerUrl: Annotated[str | UnsetType, says("The address of sockets; only over HTTP.")] = UNSET
    alternatives: Annotated[
        list[str] | UnsetType, says("The addresses of other gateways of the same ledger, where there are any.")
    ] = UNSET


class InfoReply(Reply):
    """About the gateway."""

    info: Annotated[Info, says("Version, clock and address.")]


class CacheInfo(Struct):
    """The data in memory, and the time."""

    serverTimestamp: _Clock
    cacheStats: Annotated[str, says("A sentence.")]


class CacheInfoReply(Reply):
    """About what is in memory."""

    cacheInfo: Annotated[CacheInfo, says("What is in memory.")]


class ClusterInfoReply(Reply):
    """About the message bus."""

    clusterInfo: Annotated[
        dict[str, str], says("`bootstrap.servers` and `zookeeper.connect`, both the host and port of the gateway.")
    ]


class ServerInfo(Request, tag="server/info"):
    """Version and clock; over a socket also the address of REST, over HTTP that of sockets."""

    read_only = True
    reply = InfoReply


class ServerCacheInfo(Request, tag="server/cacheInfo"):
    """A sentence about the data in memory."""

    read_only = True
    reply = CacheInfoReply


class ClusterInfo(Request, tag="cluster/info"):
    """The addresses of the message bus of DeviceHive; there is none, so they are the gateway's own."""

    read_only = True
    reply = ClusterInfoReply


class ServerDraining(Push, tag="server/draining", kw_only=True):
    """The gateway stops and is about to close the connection. Every subscription with positions gets it, and resumes on
    any gateway."""

    alternatives: Annotated[list[str], says("The addresses of other gateways of the same ledger.")]
    retry: Annotated[int, says("Milliseconds after which to come back to this address, as in the reason of the close.")]
