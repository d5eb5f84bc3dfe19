"""Long work on the event loop, in slices of time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hivewire import slices
from hivewire.slices import background_seconds, in_slices, in_steps
from hivewire_protocol.tenant.steps import Steps


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


async def test_work_for_which_writes_wait_lets_the_event_loop_run() -> None:
    """Once after each step, however short that is, and without a turn for other long work."""
    served: list[int] = []

    def steps() -> Steps[str]:
        for number in range(3):
            loop.call_soon(served.append, number)
            yield
            assert served == [*range(number + 1)]
        return "done"

    loop = asyncio.get_running_loop()
    assert await in_steps(steps()) == "done"


async def test_background_work_has_short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, so that whoever waits for something else hardly notices."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 1e9)
    monkeypatch.setattr(slices, "BACKGROUND_SECONDS", 0)
    monkeypatch.setattr(slices, "BACKGROUND_SHARE", 0)
    served: list[int] = []

    def steps() -> Steps[list[int]]:
        for number in range(3):
            asyncio.get_running_loop().call_soon(served.append, number)
            yield
        return served.copy()

    assert await in_slices(steps()) == []
    await asyncio.sleep(0)
    served.clear()
    assert await in_slices(steps(), background=True) == [0, 1, 2]


def test_background_work_has_its_share_of_a_busy_event_loop() -> None:
    """Very little of a quiet one, and never more than any other work."""
    assert background_seconds(0.0) == background_seconds(0.000_01) == slices.BACKGROUND_SECONDS
    assert background_seconds(0.004) == 0.0004
    assert background_seconds(1.0) == slices.SLICE_SECONDS


async def test_works_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an iteration of the event loop only one of them has a slice, in order; one that was cancelled has none."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1)
    monkeypatch.setattr(slices, "SHORT_SECONDS", -1)
    done: list[object] = []

    def steps(number: int) -> Steps[None]:
        for _ in range(3):
            done.append(number)
            yield

    async def tick() -> None:
        while True:
            await asyncio.sleep(0)
            done.append("tick")

    ticking = asyncio.create_task(tick())
    works = [asyncio.create_task(in_slices(steps(number))) for number in range(4)]
    await asyncio.sleep(0)
    works[1].cancel()
    await asyncio.wait(works)
    ticking.cancel()
    assert [each for each in done if each != "tick"] == [0, 1, 2, 3] + [0, 2, 3] * 2
    later = done[4:]
    assert all("tick" in later[start : start + 2] for start in range(len(later) - 1))
