"""Users in a data file: no request makes any."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from hivewire.access.users import UserContent
from hivewire.settings import Settings
from hivewire.store import open_store
from hivewire_protocol.nouns.user import Role, Status
from tests.running import PASSWORD
from tests.world import HASHER

ADMIN = ("admin", Role.ADMIN, Status.ACTIVE)


def write_users(data: Path, *users: tuple[str, Role, Status]) -> None:
    """A new file with users of these logins, roles and statuses, numbered from 1; they all have PASSWORD."""
    asyncio.run(_write(data, users))


async def _write(data: Path, users: tuple[tuple[str, Role, Status], ...]) -> None:
    async with AsyncExitStack() as stack:
        store = await open_store(Settings(data=str(data)), stack)
        secret = HASHER.hash(PASSWORD)
        for login, role, status in users:
            await store.ledger.commit(store.users.write(login, UserContent(secret, role, status), None))
