"""Calls that many wait for at once."""

from __future__ import annotations

import asyncio

import pytest

from hivewire.shared_call import SharedCall


class Work:
    """Calls that end one by one, when the test says so; `begun` and `ended` count them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = self.ended = 0
        self.error = error
        self.go = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        self.begun += 1
        await self.go.acquire()
        self.ended += 1
        if self.error is not None:
            raise self.error


async def turns(count: int = 5) -> None:
    """Let the event loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_comes_during_a_call_shares_the_next_one() -> None:
    """Nobody gets the outcome of a call that began before they asked, and there is one call at a time."""
    work = Work()
    shared = SharedCall(work)
    first = [asyncio.create_task(shared()) for _ in range(3)]
    await turns()
    later = [asyncio.create_task(shared()) for _ in range(3)]
    await turns()
    assert (work.begun, work.ended) == (1, 0)
    work.go.release()
    await asyncio.gather(*first)
    assert not any(task.done() for task in later)
    work.go.release()
    await asyncio.gather(*later)
    assert (work.begun, work.ended) == (2, 2)
    work.go.release()
    await shared()
    assert work.ended == 3, "and after a rest it works as before"
    await shared.close()


async def test_all_who_wait_get_the_error() -> None:
    """An error reaches everybody, also those who come during the call get that of theirs; one that nobody waits for is
    not reported."""
    work = Work(ValueError("no"))
    shared = SharedCall(work)
    tasks = [asyncio.create_task(shared()) for _ in range(2)]
    await turns()
    gone = asyncio.create_task(shared())
    await turns()
    gone.cancel()
    for _ in range(2):
        work.go.release()
    outcomes = await asyncio.gather(*tasks, gone, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError, asyncio.CancelledError]
    await turns()
    assert work.ended == 2
    await shared.close()


async def test_one_that_gives_up_does_not_end_the_call() -> None:
    """The others still get its outcome."""
    work = Work()
    shared = SharedCall(work)
    gone, stays = asyncio.create_task(shared()), asyncio.create_task(shared())
    await turns()
    gone.cancel()
    await turns()
    work.go.release()
    await stays
    assert (work.begun, work.ended) == (1, 1)
    await shared.close()


async def test_closing_ends_the_call_and_the_waiting() -> None:
    """Who waits for the call under way, or for the next one, is cancelled."""
    work = Work()
    shared = SharedCall(work)
    first = asyncio.create_task(shared())
    await turns()
    second = asyncio.create_task(shared())
    await turns()
    await shared.close()
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (work.begun, work.ended) == (1, 0)


async def test_there_is_a_pause_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call begins when the pause is over, whoever waits for it."""
    paused: list[float] = []
    go_on = asyncio.Event()

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        await go_on.wait()

    work = Work()
    work.go.release()
    shared = SharedCall(work, pause=7)
    with monkeypatch.context() as patched:
        patched.setattr("hivewire.shared_call.asyncio.sleep", pause)
        await shared()
        waits = asyncio.create_task(shared())
        while not paused:
            await asyncio.wait({waits}, timeout=0)
        assert (paused, work.begun) == ([7], 1)
        work.go.release()
        go_on.set()
        await waits
    assert work.ended == 2
    await shared.close()
