"""The parent process of a gateway that is one of several, as that gateway knows it (`supervisor.py` is the parent)."""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import msgspec
from msgspec import Raw, Struct, structs

from hivewire.broadcast import Hear
from hivewire.link import SCHEME, Failed, Link, LinkLost, end_without_parent, socket_of
from hivewire.settings import Settings, StartError
from hivewire.telemetry import FIELDS, Telemetry
from hivewire.welcome import Started

SETTINGS = "settings"
"""The name of the socket from which gateways get their settings."""

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Listening(Struct, array_like=True, tag=True):
    """Tells the parent that the gateway listens. It is not answered."""

    started: Started


class Metrics(Struct, array_like=True, tag=True):
    """Answered with a page: to a gateway with the metrics of all, to the parent with those of that gateway."""


class Alive(Struct, array_like=True, tag=True):
    """To a gateway, which answers with nothing. A page of metrics takes it 30 ms if it has many figures."""


class Fact(Struct, array_like=True, tag=True):
    """A fact for all other gateways; the parent passes it on unchanged. `name` is the gateway that sends it."""

    name: str
    subject: str
    fact: bytes


Message: TypeAlias = Listening | Metrics | Alive | Fact
message_of = msgspec.msgpack.Decoder(Message).decode


class Parent:
    """The parent process at `parent://FOLDER/NUMBER`: the folder of its sockets, and which gateway this is.

    It carries facts between the gateways (`hivewire.broadcast`). `on_lost` is called when the connection ends.
    """

    def __init__(self, address: str, on_lost: Callable[[], None]) -> None:
        number = Path(address).name
        self._path = socket_of(address, f"gateway.{number}")
        self.name = f"{number}-{secrets.token_hex(4)}"
        self._link = Link(self._answer, self._told, lost=on_lost)
        self._telemetry: Telemetry
        self._hear: dict[str, Hear] = {}

    async def join(self, telemetry: Telemetry) -> None:
        """Connect; the page of this telemetry shows all gateways from now on. Raises StartError."""
        self._telemetry = telemetry
        telemetry.page = self._page
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self._link, str(self._path))
        except OSError as error:
            raise StartError(f"cannot reach the parent process: {error}") from error

    def started(self, started: Started) -> None:
        """Tell the parent that this gateway listens."""
        self._link.tell(Listening(started))

    def tell(self, subject: str, fact: bytes) -> None:
        """Send a fact to all other gateways, unless the parent has gone."""
        self._link.tell(Fact(self.name, subject, fact))

    def hear(self, subject: str, hear: Hear) -> None:
        """Receive facts from now on."""
        self._hear[subject] = hear

    def _told(self, body: Raw) -> None:
        message = message_of(body)
        if isinstance(message, Fact) and (hear := self._hear.get(message.subject)) is not None:
            hear(message.name, message.fact)

    async def _answer(self, body: Raw) -> bytes:
        return b"" if isinstance(message_of(body), Alive) else await self._telemetry.exposition()

    async def _page(self) -> bytes:
        try:
            return msgspec.msgpack.decode(await self._link.ask(Metrics()), type=bytes)
        except (Failed, LinkLost):
            return await self._telemetry.exposition()


class SettingsGiver(asyncio.Protocol):
    """The parent's end of a connection on which a gateway that starts gets its settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send them, and hang up."""
        writing = cast(asyncio.Transport, transport)
        writing.write(msgspec.msgpack.encode(self._settings))
        writing.close()


def settings_of_parent(address: str) -> Settings:
    """The settings that a gateway has in common with the others of its parent, whatever its file says by now.

    Raises StartError.
    """
    try:
        given = msgspec.msgpack.decode(asyncio.run(_read(socket_of(address, SETTINGS))), type=Settings)
    except (OSError, msgspec.DecodeError) as error:
        raise StartError(f"cannot get the settings of the parent process: {error}") from error
    return structs.replace(given, data=address, workers=1)


async def _read(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def parent_of(settings: Settings) -> Parent | None:
    """The parent of this process, which ends with it; None for a gateway that is alone."""
    if not settings.data.startswith(SCHEME):
        return None
    FIELDS["gateway"] = int(Path(settings.data).name)
    # However the parent ends, its gateways end with it, because what they know may be stale from then on.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return Parent(settings.data, end_without_parent)
