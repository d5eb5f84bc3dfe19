"""A parent process without a process: its service at a real socket, for journals in the process of the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hivewire.ledger.engines.parent.journal import ParentJournal
from hivewire.ledger.engines.parent.service import LedgerService
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.journal import Journal
from hivewire.link import Link


class Parent:
    """Serves a journal to those that `journal` makes. `links` are its ends of their connections."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.service = LedgerService(journal)
        self.links: list[Link] = []
        self._folder = TemporaryDirectory(prefix="hivewire-")  # a short name: that of a socket has a limit

    async def open(self) -> None:
        await self.journal.open()
        await self.service.start()
        self._server = await asyncio.get_running_loop().create_unix_server(self._connected, self._path)

    @property
    def _path(self) -> str:
        return str(Path(self._folder.name) / "ledger")

    def _connected(self) -> Link:
        self.links.append(self.service.connected())
        return self.links[-1]

    def gateway(self) -> ParentJournal:
        """One more journal on this log, not open yet."""
        return ParentJournal(self._path)

    async def close(self) -> None:
        """End, as a process does: all connections are lost."""
        self._server.close()
        for link in self.links:
            link.close()
        await asyncio.sleep(0)
        await self.journal.close()
        self._folder.cleanup()


class Served(ParentJournal):
    """A journal with a parent of its own, which owns the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._parent = Parent(SqliteJournal(path))
        super().__init__(self._parent._path)

    async def open(self) -> None:
        await self._parent.open()
        await super().open()

    async def close(self) -> None:
        await super().close()
        await self._parent.close()
