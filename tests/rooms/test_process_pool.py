"""Work in other processes: its result, its errors, its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hivewire import process_pool as module
from hivewire.process_pool import MOST, Ended, Overdue, ProcessPool, WorkerError
from hivewire_protocol.errors import Unavailable
from hivewire_protocol.tenant.errors import Invalid, NotJson
from tests.rooms.jobs import broken, doubled, dying, endless, process, refused
from tests.running import PATIENCE


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    found = ProcessPool()
    yield found
    await found.close()


async def test_the_result_comes_back_however_large(pool: ProcessPool) -> None:
    """Through the pipes of a process that is not this one, and is used again."""
    large = os.urandom(1 << 20) * 4
    assert await pool.run(doubled, large) == large * 2
    first = await pool.run(process)
    assert first != os.getpid()
    assert await pool.run(process) == first


async def test_exceptions_of_the_work_are_raised(pool: ProcessPool) -> None:
    """Expected errors with all their members, and the worker continues; others with their traceback."""
    with pytest.raises(NotJson) as one:
        await pool.run(refused, 0)
    assert one.value.body() == NotJson("no", "why").body()
    with pytest.raises(Invalid) as several:
        await pool.run(refused, 3)
    assert [each["errorMessage"][-1] for each in several.value.body()["foundErrors"]] == ["0", "1", "2"]
    with pytest.raises(WorkerError, match="ZeroDivisionError: unforeseen"):
        await pool.run(broken)
    assert await pool.run(doubled, b"a") == b"aa"


async def test_a_worker_that_ends_takes_nothing_with_it(pool: ProcessPool) -> None:
    """When a worker dies, its job fails and another worker does the next one."""
    with pytest.raises(Ended):
        await pool.run(dying)
    assert await pool.run(doubled, b"a") == b"aa"


async def test_a_worker_that_cannot_be_started_is_said(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """That says nothing about the work; the next job starts another one."""
    with monkeypatch.context() as missing:
        missing.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(Unavailable, match="cannot be started: No such file or directory; try again"):
            await pool.run(doubled, b"a")
    assert await pool.run(doubled, b"a") == b"aa"


async def test_work_without_end_is_given_up(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is work that nobody waits for any more; the places are free again."""
    monkeypatch.setattr(module, "WORK_SECONDS", 0.2)
    for _ in range(MOST):
        with pytest.raises(Overdue):
            await pool.run(endless)
    monkeypatch.undo()
    left = [asyncio.create_task(pool.run(endless)) for _ in range(MOST)]
    await asyncio.sleep(0)
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    assert await pool.run(doubled, b"a") == b"aa"


async def test_a_worker_without_work_is_ended(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without jobs is stopped after a while, which frees its memory."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    number = await pool.run(process)
    while Path(f"/proc/{number}").exists():
        await asyncio.sleep(0.005)
    assert await pool.run(process) != number


async def test_the_number_of_workers_is_bounded(pool: ProcessPool) -> None:
    """Any number of concurrent jobs runs on at most MOST worker processes."""
    assert len(set(await asyncio.gather(*(pool.run(process) for _ in range(3 * MOST))))) <= MOST


def test_a_worker_ends_with_its_gateway() -> None:
    """A worker exits when its gateway ends in any way, because its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-m", "hivewire.process_pool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(PATIENCE) == 0
