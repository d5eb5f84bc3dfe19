"""Polls: waiting over HTTP for the next command, notification or update (devices, sections 2.8, 2.9 and 3.7).

Sockets have subscriptions instead.
"""

from typing import Annotated

from msgspec import Raw

from hivewire_protocol.errors import NotFound, Unavailable
from hivewire_protocol.messages import Integer, Request, says
from hivewire_protocol.nouns.command import CommandListReply, CommandReply
from hivewire_protocol.nouns.notification import NotificationListReply
from hivewire_protocol.permissions import Permission

_Timestamp = Annotated[Raw | None, says("Only stored ones after this time; none when absent.")]
_WaitTimeout = Annotated[Integer | None, says("The seconds to wait when none is stored, up to 60; default 30.")]
_Limit = Annotated[Integer | None, says("The most stored ones to return, 0 for all; default 100.")]
_Names = Annotated[list[str] | None, says("Only those with one of these names.")]
_NetworkIds = Annotated[list[str] | None, says("Only those of these networks; the token's when absent.")]
_DeviceTypeIds = Annotated[list[str] | None, says("Only those of these device types; the token's when absent.")]


class CommandPoll(Request, tag="command/poll"):
    """Return the stored commands of a device, or else wait for the next one."""

    permission = Permission.GET_DEVICE_COMMAND
    http_only = True
    read_only = True
    required = ("deviceId",)
    reply = CommandListReply
    errors = (NotFound, Unavailable)

    names: _Names = None
    timestamp: _Timestamp = None
    returnUpdatedCommands: Annotated[
        bool | None, says("True: updated commands, and their updates, instead of new commands.")
    ] = None
    waitTimeout: _WaitTimeout = None
    limit: _Limit = None


class CommandPollMany(Request, tag="command/pollMany"):
    """Return the stored commands of several devices, or else wait for the next one."""

    permission = Permission.GET_DEVICE_COMMAND
    http_only = True
    read_only = True
    reply = CommandListReply
    errors = (NotFound, Unavailable)

    networkIds: _NetworkIds = None
    deviceTypeIds: _DeviceTypeIds = None
    names: _Names = None
    timestamp: _Timestamp = None
    waitTimeout: _WaitTimeout = None
    limit: _Limit = None


class CommandWait(Request, tag="command/wait"):
    """Wait until a command was updated, and return it; nothing when it was not in time, or is unknown."""

    permission = Permission.GET_DEVICE_COMMAND
    http_only = True
    read_only = True
    required = ("deviceId", "commandId")
    reply = CommandReply
    errors = (NotFound, Unavailable)

    commandId: Annotated[Integer | None, says("The number of the command.")] = None
    waitTimeout: _WaitTimeout = None


class NotificationPoll(Request, tag="notification/poll"):
    """Return the stored notifications of a device, up to 100, or else wait for the next one."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    http_only = True
    read_only = True
    required = ("deviceId",)
    reply = NotificationListReply
    errors = (NotFound, Unavailable)

    names: _Names = None
    timestamp: _Timestamp = None
    waitTimeout: _WaitTimeout = None


class NotificationPollMany(Request, tag="notification/pollMany"):
    """Return the stored notifications of several devices, up to 100, or else wait for the next one."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    http_only = True
    read_only = True
    reply = NotificationListReply
    errors = (NotFound, Unavailable)

    networkIds: _NetworkIds = None
    deviceTypeIds: _DeviceTypeIds = None
    names: _Names = None
    timestamp: _Timestamp = None
    waitTimeout: _WaitTimeout = None
