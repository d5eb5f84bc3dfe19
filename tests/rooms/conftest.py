"""Fixtures for several files of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.world import World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A gateway in memory, with its staff."""
    async with opened() as world:
        yield world
