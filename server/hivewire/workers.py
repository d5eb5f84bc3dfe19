"""Work of a tenth of a second and more, in processes of their own: the event loop does not wait for any of it.

A thread would not do: one that runs Python makes the loop wait for the interpreter lock up to 5 ms at each of its
turns, and one that is within a long call of C for as long as that takes. A worker is started when it is needed, does
one piece of work at a time, and is ended when there was none for a while; it ends by itself with the gateway, however
that ends, because its input does.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Any, TypeVar

from hivewire_protocol.tenant.errors import TenantError
from hivewire_protocol.tenant.steps import Steps, at_once

MOST = 2
"""Workers at a time: a large document is in memory ten times its text, and its owner's machine has other work."""

IDLE_SECONDS = 30.0
"""A worker without work is ended after so long, and its memory is free."""

WORK_SECONDS = 60.0
"""Work that takes longer is given up, and its worker killed."""

NICE = 5
"""Workers stand back behind the event loop, where they share a core."""

_SIZE = 8
"""Bytes before each message that say how long it is."""

_T = TypeVar("_T")


class Overdue(Exception):
    """The work took too long and was given up."""


class WorkerError(Exception):
    """The work failed in a way that nobody foresaw; the text has the traceback."""


class Workers:
    """At most MOST processes. Work is a function of plain values that gives steps."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST)
        self._idle: list[tuple[Process, asyncio.TimerHandle]] = []
        self._closed = False

    async def run(self, work: Callable[..., Steps[_T]], *values: Any, **named: Any) -> _T:
        """The result of the work. Raises the TenantError that it raises, Overdue, and WorkerError."""
        message = pickle.dumps((work, values, named))
        async with self._places:
            worker = await self._worker()
            try:
                async with asyncio.timeout(WORK_SECONDS):
                    answer = await _ask(worker, message)
            except BaseException as error:
                _kill(worker)  # what it still does or says is about this work
                if isinstance(error, TimeoutError):
                    raise Overdue(f"the work took over {WORK_SECONDS:g} s") from None
                if isinstance(error, OSError | EOFError):
                    raise WorkerError(f"the worker ended: {error!r}") from None
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

    async def close(self) -> None:
        """End all workers; what they were doing is lost."""
        self._closed = True
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            _kill(worker)
            await worker.wait()

    async def _worker(self) -> Process:
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            if worker.returncode is None:
                return worker
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = (sys.executable, "-P", "-m", __name__)
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True, limit=1 << 20
        )

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


def _kill(worker: Process) -> None:
    if worker.returncode is None:
        worker.kill()


def main() -> None:
    """A worker: do what comes in until nothing comes any more."""
    os.nice(NICE)
    gc.disable()  # it would walk a document's million objects again and again, and they are all in use
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
