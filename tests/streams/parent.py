"""A parent process without a process: its services at real sockets, for engines in the process of the test."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path

from hivewire.link import Link
from hivewire.streams.contract import LOGS
from hivewire.streams.parent import LogService, ParentEngine
from hivewire.streams.sqlite import SqliteEngine


class Parent:
    """Serves the file at a path as long as one of its engines is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = 0
        # A short name, because that of a socket has a limit.
        self._folder = Path(tempfile.gettempdir()) / f"hivewire-{secrets.token_hex(8)}"
        self._links: list[Link] = []
        self._servers: list[asyncio.Server] = []
        self.address = f"parent://{self._folder}/1"

    def hang_up(self) -> None:
        """End all connections, as a parent does with those of a gateway that does not read."""
        for link in self._links:
            link.close()

    def engine(self) -> Served:
        """That of one more gateway."""
        return Served(self)

    async def enter(self, ledger_epoch: str) -> None:
        """One more engine opens."""
        self._users += 1
        if self._users > 1:
            return
        self._folder.mkdir(mode=0o700)
        self._engine = SqliteEngine(self._path)
        await self._engine.open(ledger_epoch)
        for name in LOGS:
            service = LogService(self._engine.log(name))
            await service.start()

            def connected(service: LogService = service) -> Link:
                self._links.append(service.connected())
                return self._links[-1]

            path = str(self._folder / name)
            self._servers.append(await asyncio.get_running_loop().create_unix_server(connected, path))

    async def leave(self) -> None:
        """One closes; after the last one the parent ends."""
        self._users -= 1
        if not self._users:
            while self._servers:
                self._servers.pop().close()
            while self._links:
                self._links.pop().close()
            await asyncio.sleep(0)
            await self._engine.close()
            shutil.rmtree(self._folder)


class Served(ParentEngine):
    """The engine of one gateway."""

    def __init__(self, parent: Parent) -> None:
        super().__init__(parent.address, self._lost)
        self.losses = 0
        self._parent = parent
        self._entered = False

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        self._entered = True
        await self._parent.enter(ledger_epoch)
        await super().open(ledger_epoch, damage=damage)

    def _lost(self) -> None:
        self.losses += 1

    async def close(self) -> None:
        await super().close()
        if self._entered:
            self._entered = False
            await self._parent.leave()
