"""The paths of commands."""

from __future__ import annotations

from hivewire.actions import command
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.command import CommandGet, CommandInsert, CommandList, CommandStream, CommandUpdate

_OF_DEVICE = "/device/{deviceId}/command"

ROWS = (
    Row("GET", _OF_DEVICE, CommandList, shows="commands", stream=CommandStream),
    Row("GET", "/device/command", CommandStream, stream=CommandStream),
    Row("POST", _OF_DEVICE, CommandInsert, 201, shows="command", body="command"),
    Row("GET", _OF_DEVICE + "/{commandId}", CommandGet, shows="command", check=command.check_in_path),
    Row("PUT", _OF_DEVICE + "/{commandId}", CommandUpdate, 204, body="command", check=command.check_in_path),
)
