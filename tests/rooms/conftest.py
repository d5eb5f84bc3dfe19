"""Fixtures for several files of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rooms.neighbours import Site
from tests.world import World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A gateway in memory, with its staff."""
    async with opened() as world:
        yield world


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Gateways that share a ledger, messages and a bus; the test adds each."""
    site = Site()
    yield site
    for gateway in site.gateways:
        await gateway.services.presence.close()
        await gateway.close()
