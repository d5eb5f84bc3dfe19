"""Long work on the event loop is done in slices of time, between which the loop serves others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from heapq import merge
from operator import itemgetter
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from hivewire_protocol.tenant.steps import Steps

SLICE_SECONDS = 0.002
"""Seconds that work may take before it yields to the event loop. The last step of a slice may exceed it."""

SHORT_SECONDS = SLICE_SECONDS / 20
"""The same for work that begins while other work waits for its turn: short work need not wait, but there may be
much."""

BACKGROUND_SECONDS, BACKGROUND_SHARE = 0.000_01, 0.1
"""The same for long work that nobody waits for: a fifth of what a get takes, so that requests hardly notice. Where
others keep the event loop busy it is more, in proportion to what they took: the work has its share of the time. The
share is small because such work makes more work, of which the others' time consists then: devices that get another
value report."""


def background_seconds(others: float) -> float:
    """Seconds that work may take that nobody waits for, after others had the event loop for so many."""
    return min(SLICE_SECONDS, max(BACKGROUND_SECONDS, BACKGROUND_SHARE * others))


_T = TypeVar("_T")


async def in_slices(steps: Steps[_T], *, background: bool = False) -> _T:
    """The result of long work that yields after each of its steps. `background`: nobody waits for it.

    After its first slice it takes turns with all other such work: one slice for each iteration of the event loop,
    however many there are.
    """
    if background:
        most = background_seconds(0)
    else:
        most = SHORT_SECONDS if _waiting.get(asyncio.get_running_loop()) else SLICE_SECONDS
    began = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        if (ended := perf_counter()) - began > most:
            await _turn()
            began = perf_counter()
            most = background_seconds(began - ended) if background else SLICE_SECONDS


async def in_steps(steps: Steps[_T]) -> _T:
    """The result of work for which writes wait: one step for each iteration of the event loop, in turn with nobody."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        await asyncio.sleep(0)


RUN = 1_000
"""Items that are sorted at once: about a millisecond."""

_first = itemgetter(0)


def in_order(items: Sequence[_T], key: Callable[[_T], Any]) -> Steps[list[_T]]:
    """The items sorted by a key; those with the same one keep their order. Runs of `RUN` are sorted, then merged."""
    if len(items) <= RUN:
        return sorted(items, key=key)
    keyed: list[tuple[Any, _T]] = []
    for each in items:
        keyed.append((key(each), each))
        yield
    runs = []
    for start in range(0, len(keyed), RUN):
        runs.append(sorted(keyed[start : start + RUN], key=_first))
        yield
    found: list[_T] = []
    for _, each in merge(*runs, key=_first):
        found.append(each)
        yield
    return found


_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = WeakKeyDictionary()
"""The work that waits for its turn, for each event loop."""


def _turn() -> asyncio.Future[None]:
    """A future that is done when it is the caller's turn."""
    loop = asyncio.get_running_loop()
    waiting = _waiting.setdefault(loop, deque())
    turn: asyncio.Future[None] = loop.create_future()
    waiting.append(turn)
    if len(waiting) == 1:
        loop.call_soon(_let_one, loop, waiting)
    return turn


def _let_one(loop: asyncio.AbstractEventLoop, waiting: deque[asyncio.Future[None]]) -> None:
    """Give the turn to the next one that was not cancelled."""
    while waiting and (turn := waiting.popleft()).done():
        pass
    if not turn.done():
        turn.set_result(None)
    if waiting:
        loop.call_soon(_let_one, loop, waiting)
