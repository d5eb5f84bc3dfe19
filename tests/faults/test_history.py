"""Clients whose every call is noted, on a gateway that is killed in its commits and whose disk hangs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from bench.histories import GONE, NAMES, History, Rest, Socket, connected
from bench.linearizability import Event, Request, Return, check

from tests.faults.disk import Fault, reachable
from tests.faults.station import Station
from tests.running import PATIENCE, RunningGateway

pytestmark = pytest.mark.skipif(not reachable(), reason="the SQLite of this Python hides its functions")


@pytest.fixture
def station(data: Path) -> Station:
    return Station(data)


LONG = (pytest.mark.long, pytest.mark.timeout(900))


class Clients:
    """Five clients at work on one gateway until it is killed."""

    def __init__(self, gateway: RunningGateway, history: History) -> None:
        self._gateway = gateway
        self._history = history
        self.token = ""

    async def start(self) -> None:
        self.token = await asyncio.to_thread(self._gateway.token)
        self._tasks = [asyncio.create_task(self._work(over)) for over in (Socket, Socket, Socket, Rest, Rest)]

    async def gone(self) -> None:
        """Return when the gateway was killed and all of them have noticed. Raises what went wrong."""
        await asyncio.gather(*self._tasks)
        assert await asyncio.to_thread(self._gateway.process.wait, PATIENCE) == -9

    async def _work(self, over: type[Socket] | type[Rest]) -> None:
        with suppress(*GONE):
            async with connected(self._gateway.port, self.token, over) as client:
                await self._history.work(client, lambda: True)

    async def returned(self, more: int) -> None:
        """Wait until so many more calls have been answered."""
        events = self._history.events
        wanted = answered(events) + more
        await holds(lambda: answered(events) >= wanted)


def answered(events: list[Event]) -> int:
    return sum(isinstance(event, Return) for event in events)


async def holds(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("lives", [4, pytest.param(40, marks=LONG)])
@pytest.mark.parametrize("action", ["kill", "power cut"])
async def test_one_order_explains_the_answers_of_a_gateway_killed_in_its_commits(
    station: Station, action: Literal["kill", "power cut"], lives: int
) -> None:
    """One order explains the answers to all clients across all restarts of the gateway."""
    history = History(random.Random(lives))
    for life in range(lives):
        station.desk.give()
        with station.start() as gateway:
            clients = Clients(gateway, history)
            await clients.start()
            await clients.returned(30)
            station.desk.give(Fault(action, during="append", skip=life % 13))
            await clients.gone()
            assert station.desk.met()
        history.crashed()
    check(history.events)


@pytest.mark.parametrize("lives", [4, pytest.param(40, marks=LONG)])
@pytest.mark.parametrize("stall", ["0.1", "60"], ids=["refused", "waiting"])
async def test_while_the_disk_hangs_nothing_is_seen_that_may_be_lost(station: Station, stall: str, lives: int) -> None:
    """Reads are answered meanwhile, writes wait or are refused. One order explains all answers, whether the disk
    continues or the gateway is killed."""
    history = History(random.Random(lives))
    for life in range(lives):
        with station.start("--stall-seconds", stall) as gateway:
            clients = Clients(gateway, history)
            await clients.start()
            await clients.returned(30)
            station.desk.give(Fault("hang", call=("write", "sync")[life // 2 % 2], during="append"))
            await holds(station.desk.met)
            async with connected(gateway.port, clients.token, Socket) as client:
                for _ in range(5):
                    await history.call(client, Request(reads=NAMES))
            if stall == "0.1":
                await clients.returned(30)
            if life % 2:
                station.desk.give()
                await clients.returned(30)
            gateway.process.kill()
            await clients.gone()
        history.crashed()
        station.desk.give()
    check(history.events)
