"""Work that goes on for ever goes on after an error that nobody has thought of."""

from __future__ import annotations

import asyncio

import pytest

from hivewire.unexpected import every
from tests.world import World


async def test_an_error_does_not_end_what_is_done_at_intervals() -> None:
    """It is logged each time."""
    reported: list[tuple[str, str]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append((context["message"], str(context["exception"])))
    )
    done: list[int] = []
    over = asyncio.Event()

    async def work() -> None:
        done.append(len(done))
        if len(done) < 3:
            raise ValueError(len(done))
        over.set()

    task = asyncio.create_task(every(0, work, "it was not done"))
    await over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reported == [("it was not done", "1"), ("it was not done", "2")]


async def test_messages_are_looked_after_until_nothing_more_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of one log keeps neither it nor the other from the next time."""
    monkeypatch.setattr("hivewire.streams.messages.TIDY_SECONDS", 0)
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    messages = world.services.messages
    looked_after: list[str] = []
    again = asyncio.Event()

    def tidy() -> None:
        looked_after.append("notifications")
        if len(looked_after) == 2:
            again.set()

    monkeypatch.setattr(messages.commands, "tidy", lambda: 1 / 0)
    monkeypatch.setattr(messages.notifications, "tidy", tidy)
    messages.start()
    await again.wait()
    assert {*reported} == {"messages were not looked after"}
