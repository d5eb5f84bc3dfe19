"""The small forms of what uvicorn gives every connection behave like those of the library."""

from __future__ import annotations

import asyncio
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from hivewire.transport.light import LightEvent, LightQueue


@given(st.lists(st.sampled_from(["set", "clear", "wait", "turn"]), max_size=12), st.booleans())
def test_who_waits_goes_on_as_with_an_event(steps: list[str], is_set: bool) -> None:
    """At the same turn of the event loop, also when it is cleared right after it was set."""

    async def run(event: asyncio.Event) -> list[int]:
        if is_set:
            event.set()
        done: list[int] = []

        async def wait(number: int) -> None:
            assert await event.wait()
            done.append(number)

        waiting = []
        for number, step in enumerate(steps):
            if step == "wait":
                waiting.append(asyncio.create_task(wait(number)))
            elif step == "turn":
                for _ in range(3):
                    await asyncio.sleep(0)
                done.append(-number)
            else:
                getattr(event, step)()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return done

    assert asyncio.run(run(LightEvent(is_set=False))) == asyncio.run(run(asyncio.Event()))


@given(st.lists(st.sampled_from(["appendleft", "pop", "popleft", "clear"]), max_size=20))
def test_a_queue_gives_what_a_deque_gives(steps: list[str]) -> None:
    """With the methods that uvicorn uses, and its length."""
    light, whole = LightQueue[int](), deque[int]()
    for number, step in enumerate(steps):
        given = (number,) if step == "appendleft" else ()
        if step.startswith("pop") and not whole:
            continue
        assert getattr(light, step)(*given) == getattr(whole, step)(*given)
        assert list(light) == list(whole)
