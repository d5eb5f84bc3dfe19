"""A pool of worker processes for work of a tenth of a second and more, so that the event loop never waits for it.

Threads would not help: one that runs Python delays each iteration of the event loop by up to 5 ms, the switch
interval of the interpreter lock, and one in a long C call that keeps the lock delays it until the call returns.
A worker is started on demand, does one job at a time, and is killed after IDLE_SECONDS without one. It exits by itself
when the gateway ends in any way, because its standard input ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from hivewire_protocol.errors import Unavailable
from hivewire_protocol.tenant.errors import TenantError
from hivewire_protocol.tenant.steps import Steps, at_once

MOST = 2
"""Most workers at a time, because a large document takes ten times its size in memory."""

IDLE_SECONDS = 30.0
"""Idle time after which a worker is killed, to free its memory."""

WORK_SECONDS = 60.0
"""Longest time of a job; then its worker is killed."""

END_SECONDS = 5.0
"""Longest time between the end of a worker's pipes and its own; then it is killed."""

NICE = 5
"""Niceness of workers, so that the event loop has priority when they share a core."""

OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of workers that somebody else has killed."""

_SIZE = 8
"""Bytes of the length before each message."""

_T = TypeVar("_T")


class Overdue(Exception):
    """The work took over WORK_SECONDS and was stopped."""


class Ended(Exception):
    """The worker ended before the work was done: it took more than it may, or ran out of memory."""


class Killed(Ended):
    """Somebody else killed the worker, such as an operator or the system when its memory is full."""


class WorkerError(Exception):
    """The work failed with an unexpected error; the text is the traceback."""


class ProcessPool:
    """At most MOST worker processes. Work is a function of values that can be pickled, and yields between its steps."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST)
        self._idle: list[tuple[Process, asyncio.TimerHandle]] = []
        self._closed = False

    async def run(self, work: Callable[..., Steps[_T]], *values: Any, **named: Any) -> _T:
        """The result of the work. Raises its TenantError, Overdue, Ended, WorkerError, and Unavailable if no process
        can be started."""
        message = pickle.dumps((work, values, named))
        async with self._places:
            worker = await self._worker()
            try:
                async with asyncio.timeout(WORK_SECONDS):
                    answer = await _ask(worker, message)
            except TimeoutError:
                _kill(worker)
                await worker.wait()
                raise Overdue(f"the work took over {WORK_SECONDS:g} s") from None
            except Exception:  # of its pipes; uvloop raises RuntimeError for closed ones
                kind = Killed if await _code(worker) in OUTSIDE else Ended
                raise kind("the process that did the work ended; try again") from None
            except BaseException:
                _kill(worker)  # its next output would belong to this job
                raise
            self._keep(worker)
        del message
        result, refusal, failure = pickle.loads(answer)  # noqa: S301 - from our own worker
        if failure:
            raise WorkerError(failure)
        if refusal is not None:
            raise refusal
        found: _T = result
        return found

    # The life of the component.

    def start(self) -> None:
        """Nothing to do: workers are started on demand."""

    async def close(self) -> None:
        """Kill idle workers now, and each busy one when its job ends."""
        self._closed = True
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            _kill(worker)
            await worker.wait()

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """No metrics."""
        return {}

    async def _worker(self) -> Process:
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            if worker.returncode is None:
                return worker
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = (sys.executable, "-P", "-m", __name__)
        try:
            return await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True, limit=1 << 20
            )
        except OSError as error:  # too many files or processes, or no memory
            reason = error.strerror or error
            raise Unavailable(f"the process for this work cannot be started: {reason}; try again") from None

    def _keep(self, worker: Process) -> None:
        if self._closed:
            _kill(worker)
            return

        def end() -> None:
            self._idle.remove(kept)
            _kill(worker)

        kept = worker, asyncio.get_running_loop().call_later(IDLE_SECONDS, end)
        self._idle.append(kept)


async def _ask(worker: Process, message: bytes) -> bytes:
    assert worker.stdin is not None  # noqa: S101 - both are pipes
    assert worker.stdout is not None  # noqa: S101
    worker.stdin.write(len(message).to_bytes(_SIZE, "big"))
    worker.stdin.write(message)
    await worker.stdin.drain()
    size = int.from_bytes(await worker.stdout.readexactly(_SIZE), "big")
    return await worker.stdout.readexactly(size)


async def _code(worker: Process) -> int | None:
    """The exit code of a worker whose pipes have ended. To kill it at once could hide why it ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            return await worker.wait()
    _kill(worker)
    await worker.wait()
    return None


def _kill(worker: Process) -> None:
    if worker.returncode is None:
        worker.kill()


def main() -> None:
    """Run as a worker: do jobs from standard input until it ends."""
    os.nice(NICE)
    gc.disable()  # a collection would walk the million live objects of a large document, again and again
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while size := source.read(_SIZE):
        message = source.read(int.from_bytes(size, "big"))
        work, values, named = pickle.loads(message)  # noqa: S301 - from the gateway that started this process
        answer: tuple[Any, Exception | None, str]
        try:
            answer = at_once(work(*values, **named)), None, ""
        except TenantError as error:
            answer = None, error, ""
        except Exception:
            answer = None, None, traceback.format_exc()
        del message, work, values, named
        data = pickle.dumps(answer)
        del answer
        sink.write(len(data).to_bytes(_SIZE, "big"))
        sink.write(data)
        sink.flush()
        gc.collect()


if __name__ == "__main__":
    main()
