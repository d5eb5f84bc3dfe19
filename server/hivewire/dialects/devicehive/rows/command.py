"""The paths of commands."""

from __future__ import annotations

from hivewire.actions import command
from hivewire.actions.device_messages import check_device_in_path, check_scope_in_path
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.command import CommandGet, CommandInsert, CommandList, CommandStream, CommandUpdate

_OF_DEVICE = "/device/{deviceId}/command"

ROWS = (
    Row("GET", _OF_DEVICE, CommandList, shows="commands", stream=CommandStream, check=check_device_in_path),
    Row("GET", "/device/command", CommandStream, stream=CommandStream),
    Row(
        "POST",
        _OF_DEVICE,
        CommandInsert,
        201,
        shows="command",
        body="command",
        check=check_scope_in_path,
        check_if_wrong=check_device_in_path,
    ),
    Row("GET", _OF_DEVICE + "/{commandId}", CommandGet, shows="command", check=command.check_in_path),
    Row("PUT", _OF_DEVICE + "/{commandId}", CommandUpdate, 204, body="command", check=command.check_in_path),
)
