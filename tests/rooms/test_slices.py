"""Long work on the event loop, in slices of time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hivewire import slices
from hivewire.slices import in_slices


async def test_long_work_lets_the_event_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop runs once after each step that takes longer than a slice."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0)
    served: list[int] = []

    def steps() -> Iterator[None]:
        for number in range(5):
            loop.call_soon(served.append, number)
            yield
            assert served == [*range(number + 1)]

    loop = asyncio.get_running_loop()
    assert await in_slices(steps()) is None  # type: ignore[arg-type]
