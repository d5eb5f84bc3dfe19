"""Both logs, within the limits that the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hivewire.settings import Settings
from hivewire.streams.log import Log
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.message import Overloaded, StreamError, TooLarge, TooMany
from hivewire.streams.messages import Messages, messages_of
from tests.streams.kit import Clocks, draft


@asynccontextmanager
async def opened(clocks: Clocks, **settings: Any) -> AsyncIterator[Messages]:
    """Both logs in memory."""
    messages = messages_of(Settings(**settings), lambda: clocks.wall, MemoryEngine(), lambda: clocks.monotonic)
    await messages.open("ledger")
    yield messages
    await messages.close()


async def tidied(log: Log) -> None:
    """Close and drop what is due."""
    log.tidy()
    while log.is_tidying:
        await asyncio.sleep(0)


async def test_each_log_has_a_retention_of_its_own() -> None:
    """In seconds since the last event."""
    clocks = Clocks()
    async with opened(clocks, commands_retention=300, notifications_retention=200) as messages:
        stored = []
        for log in (messages.commands, messages.notifications):
            await log.insert(draft())
        for seconds in (199, 1, 99, 1):
            clocks.on(1_000 * seconds)
            for log in (messages.commands, messages.notifications):
                await tidied(log)
            stored.append((messages.commands.stored, messages.notifications.stored))
        assert stored == [(1, 1), (1, 0), (1, 0), (0, 0)]


@pytest.mark.parametrize(
    ("bounds", "refusal", "text"),
    [
        ({"messages_bytes": 1_000}, Overloaded, "full"),
        ({"device_messages_bytes": 1_000}, TooMany, "1,000 bytes of messages stored"),
        ({"device_messages_rate": 1}, TooMany, "at most 1 messages a second"),
        ({"parameters_bytes": 99}, TooLarge, "more than 99"),
    ],
)
async def test_settings_bound_both_logs(bounds: dict[str, int], refusal: type[StreamError], text: str) -> None:
    """What is stored in all and of a device, how fast it comes, and how large one is."""
    async with opened(Clocks(), **bounds) as messages:
        for log in (messages.commands, messages.notifications):
            with pytest.raises(refusal, match=text):
                for _ in range(20):
                    await log.insert(draft(value="x" * 100, size=100))
                    await tidied(log)
