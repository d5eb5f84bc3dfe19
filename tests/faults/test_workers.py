"""Clients whose every call is noted, on two gateways under one parent, which are killed one after the other."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from bench.histories import GONE, History, Rest, Socket, connected
from bench.linearizability import Crash, Return, check

from tests.running import PATIENCE
from tests.workers import WORKERS, Site

LONG = (pytest.mark.long, pytest.mark.timeout(900))

MOST = 1_000
"""Calls and answers between two kills, after which clients wait: to explain them takes longer the more there are."""


class Clients:
    """Six clients at work; one whose gateway is killed connects again, to any.

    They wait after so many calls and answers, until `returned` is called again.
    """

    def __init__(self, site: Site, history: History) -> None:
        self._site = site
        self._history = history
        self._most = MOST
        self._going = True

    async def __aenter__(self) -> Clients:
        self._tasks = [asyncio.create_task(self._work(over)) for over in (Socket, Socket, Socket, Socket, Rest, Rest)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def _work(self, over: type[Socket] | type[Rest]) -> None:
        while self._going:
            if not self._calls():
                await asyncio.sleep(0.005)
                continue
            with suppress(*GONE):
                async with connected(self._site.gateway.port, self._site.token, over, fresh=True) as client:
                    await self._history.work(client, self._calls)

    def _calls(self) -> bool:
        return self._going and len(self._history.events) < self._most

    async def returned(self, more: int) -> None:
        """Wait until so many more calls have been answered."""
        wanted = self._answered() + more
        self._most = len(self._history.events) + MOST
        async with asyncio.timeout(PATIENCE):
            while self._answered() < wanted:
                await asyncio.sleep(0.005)

    def _answered(self) -> int:
        return sum(isinstance(event, Return) for event in self._history.events)


@pytest.mark.parametrize("kills", [3, pytest.param(8, marks=LONG)])
async def test_one_order_explains_the_answers_of_gateways_that_are_killed(data: Path, kills: int) -> None:
    """One order explains the answers of both gateways to all writes and fresh reads, whichever of them is killed."""
    history = History(random.Random(kills))
    with ExitStack() as stack:
        site = await asyncio.to_thread(Site, data, stack)
        starts = dict.fromkeys(WORKERS, 1)
        async with Clients(site, history) as clients:
            for number in range(kills):
                await clients.returned(40)
                victim = WORKERS[number % len(WORKERS)]
                starts[victim] += 1
                os.kill(site.process(victim), signal.SIGKILL)
                await asyncio.to_thread(site.ready, victim, starts[victim])
                # It has loaded the log, so what the one before it had begun to write is in it, or never will be.
                history.events.append(Crash(frozenset(history.unknown)))
                history.unknown.clear()
            await clients.returned(40)
    check(history.events)
