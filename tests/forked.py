"""Gateways and other commands in processes of their own that need not load anything.

Loading the gateway takes most of a second, and its first password hash another fifth, and the suite starts hundreds of
them. So one process loads it once for all processes of the suite, and each gateway is a fork of that: a process like
any other, with its own pid, signals, limits and memory. Its command line, environment, pipes and terminal are those
that it would have got from `Popen`. What a start itself does is tested with real ones.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from ctypes import CDLL, c_uint32
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pkgutil import resolve_name
from runpy import run_path
from subprocess import TimeoutExpired
from typing import Any, Self

import uvloop  # noqa: F401 - imported by the gateway when it starts
from argon2 import PasswordHasher

import hivewire.app
from hivewire import cli, supervisor
from hivewire.access import passwords

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [
        *("hivewire.cli.configuration", "hivewire.cli.history", "hivewire.cli.message_watch", "hivewire.cli.serve"),
        *("hivewire.ledger.engines.sqlite.engine", "encodings.idna", "uvicorn.lifespan.off"),
        *("importlib.readers", "rich.table", "tests.faults.gateway", "tests.faults.messages"),
        __name__,
        "tests.measured",  # last: it measures what comes after the loading
    ]
)


def server() -> dict[str, Any]:
    """What another process needs of the server of forks, which is started if there is none."""
    found = forkserver._forkserver
    found.ensure_running()  # of the object, which `use` replaces; the module has the first one for ever
    return {
        name: value for name, value in vars(found).items() if name in ("_forkserver_address", "_forkserver_authkey")
    }


def use(server: dict[str, Any]) -> None:
    """Have forks made by this server, which another process started. It ends with that one."""
    found = vars(forkserver._forkserver)
    if found["_forkserver_alive_fd"] is None:
        found["_forkserver_alive_fd"] = os.pipe()[1]  # a fork gets one, but nobody waits for its end
    found.update(server, ensure_running=lambda: None)


class Forked:
    """`python -m module arguments` in a fork; of `subprocess.Popen` as much as tests use.

    `main` is the function that it calls, as `module:function`; `streams` are its standard input, output and error.
    It works in `folder`, or in that of its parent.
    """

    _lock = threading.Lock()
    """Each start looks which forks have ended, also those that another thread waits for. Two that look get one code."""

    def __init__(
        self, main: str, arguments: list[str], environment: dict[str, str], streams: Sequence[int], folder: str = ""
    ) -> None:
        its = [Connection(os.dup(number)) for number in streams]
        work = (server(), main, arguments, environment, folder or os.getcwd(), its)
        self._process = _processes.Process(target=_run, args=work)
        with self._lock:
            self._process.start()
        for stream in its:
            stream.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def sentinel(self) -> int:
        """Something that can be read when it has ended."""
        return self._process.sentinel

    def poll(self) -> int | None:
        """Its exit code, minus the signal that killed it; None while it runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it has ended. Raises TimeoutExpired."""
        wait([self.sentinel], timeout)
        if (code := self.poll()) is None:
            raise TimeoutExpired("a forked gateway", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended, and the server of forks knows that first
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Piped(Forked):
    """The same, with a pipe for each of its streams. As a context manager it closes them and waits for its end."""

    def __init__(self, main: str, arguments: list[str], environment: dict[str, str], folder: str = "") -> None:
        (its_in, own_in), (own_out, its_out), (own_err, its_err) = os.pipe(), os.pipe(), os.pipe()
        super().__init__(main, arguments, environment, (its_in, its_out, its_err), folder)
        for number in (its_in, its_out, its_err):
            os.close(number)
        self.stdin, self.stdout, self.stderr = os.fdopen(own_in, "w"), os.fdopen(own_out), os.fdopen(own_err)

    def close(self) -> None:
        """Close the pipes."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


def _run(
    server: dict[str, Any],
    main: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    streams: list[Connection],
) -> None:
    """The work of the new process."""
    use(server)  # by itself it would start another one for its own forks, which loads everything
    gc.freeze()  # what is loaded already: to look at it again would copy all of its memory
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    encoding = environment.get("PYTHONIOENCODING")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdin.buffer.raw.name = "<stdin>"  # type: ignore[attr-defined]  # as Python does
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)
    sys.argv = [os.path.join(os.path.dirname(hivewire.__file__), "__main__.py"), *arguments]  # as `python -m hivewire`
    warnings.simplefilter("error", ResourceWarning)  # what is left open shows on standard error
    # A hash as strong as it should be takes 0.2 s; that real gateways have it so is tested elsewhere.
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    vars(passwords)["PasswordHasher"] = lambda **_: quick
    try:
        resolve_name(main)()
    finally:
        if measured := sys.modules.get("tests.measured"):
            measured.save()


def execute() -> None:
    """Run the code that is the first argument, as `python -W error -c` does."""
    warnings.simplefilter("error")
    exec(sys.argv.pop(1), {"__name__": "__main__"})


def execute_powerless() -> None:
    """The same, but even root must obey the permissions of files, having given up all capabilities (capset(2))."""
    header, none = (c_uint32 * 2)(0x20080522, 0), (c_uint32 * 6)()  # the third version of the call, and this process
    if os.geteuid() == 0 and CDLL(None).capset(header, none) != 0:
        raise OSError("root cannot give up its capabilities here")
    execute()


def interpret() -> None:
    """Run the program whose file is the first argument, as `python` does."""
    del sys.argv[0]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    run_path(sys.argv[0], run_name="__main__")


class _Worker(Forked):
    """A gateway of several; of `asyncio.subprocess.Process` as much as their parent uses."""

    async def wait(self) -> int | None:  # type: ignore[override]
        """Its exit code once it has ended."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.sentinel, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(self.sentinel)
        return self.poll()

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)


async def _start_worker(*command: str, stdin: int, env: dict[str, str], start_new_session: bool) -> _Worker:
    with open(os.devnull) as nothing:
        arguments = [*command[command.index("serve") :]]
        return _Worker(f"{__name__}:lead_session", arguments, env, (nothing.fileno(), 1, 2))


def lead_session() -> None:
    """The command in a session of its own: the signals of a terminal are not for it."""
    os.setsid()
    cli.main()


def fork_workers() -> None:
    """The command, whose `--workers` are forks too. They do not get the signal that ends a worker with its parent: they
    end because they no longer reach it."""
    vars(supervisor)["create_subprocess_exec"] = _start_worker
    cli.main()
