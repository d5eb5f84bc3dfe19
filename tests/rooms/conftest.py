"""Fixtures for several files of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from hivewire_protocol.tenant.steps import Steps
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


@pytest.fixture
def steps_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Does what a module does in slices at once; the steps of each such work come into the list."""

    def steps_of(*modules: ModuleType) -> list[int]:
        counted: list[int] = []

        async def in_slices(work: Steps[Any], *, background: bool = False) -> Any:
            counted.append(0)
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    return end.value
                counted[-1] += 1

        for module in modules:
            monkeypatch.setattr(module, "in_slices", in_slices)
        return counted

    return steps_of
