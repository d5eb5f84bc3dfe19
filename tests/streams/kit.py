"""Devices, drafts and clocks for the tests of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from hivewire.streams.contract import StreamEngine
from hivewire.streams.log import Log
from hivewire.streams.message import Draft, Make, Message, Update
from hivewire.streams.messages import Messages
from hivewire.streams.page import Selection
from hivewire.streams.writer import Limits

START = 1_800_000_000_000
"""What the clocks of tests show at first."""

HOUR = 3_600_000
UNLIMITED = 1 << 40


class Device(Struct, frozen=True):
    """A device, as messages know it."""

    record_id: int
    id: str = "lamp"
    network: int | None = 1
    type: int | None = 1


class Clocks:
    """A wall clock that tests may set, and a monotonic one that only goes on."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 0

    def on(self, milliseconds: int) -> None:
        """Time goes by."""
        self.wall += milliseconds
        self.monotonic += milliseconds


LAMP, DOOR = Device(1, "lamp"), Device(2, "door")


def making(value: str = "") -> Make:
    """Bodies that show everything, and a value."""
    form = b'{"id":%d,"at":[%d,%d],"value":"%b"}'
    return lambda *stamps: form % (*stamps, value.encode())


def draft(device: Device = LAMP, value: str = "", name: str | None = "on", **members: Any) -> Draft:
    """A draft of a message with this value."""
    return Draft(device, name, 1, making(value), content=value.encode(), **members)


def updating(value: str, status: str | None = "done") -> Callable[[Message], Update]:
    """An update that puts a value."""
    return lambda message: Update(making(value), status)


def messages_on(engine: StreamEngine, clocks: Clocks, **limits: Any) -> Messages:
    """Both logs with these limits, the rates not limited, not open yet."""
    given = Limits(**{"device_rate": 0, "retention": HOUR, **limits})
    return Messages(engine, lambda: clocks.wall, given, given, lambda: clocks.monotonic)


async def of_device(log: Log, device: int, **wanted: Any) -> list[Message]:
    """A page of a device's messages, of each the last event; all of them by default, in the order of timestamps."""
    return [message async for portion in log.portions_of(device, Selection(**wanted)) for message in portion]
