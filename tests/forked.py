"""Gateways in processes of their own that need not load anything.

Loading the gateway takes most of a second, and its first password hash another fifth, and the suite starts a hundred of
them. So one process loads it once, and each gateway is a fork of that: a process like any other, with its own pid,
signals, limits and memory. Its command line, environment and pipes are those that it would have got from `Popen`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from subprocess import TimeoutExpired
from typing import Any, TextIO

import uvloop  # noqa: F401 - imported by the gateway when it starts
from argon2 import PasswordHasher

import hivewire.app
from hivewire.access import passwords

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "hivewire.cli.serve", "tests.faults.gateway", "anyio.from_thread"])


class Forked:
    """`python -m module arguments` in a fork; of `subprocess.Popen` as much as tests use."""

    def __init__(self, module: str, arguments: list[str], environment: dict[str, str]) -> None:
        out, its_out = _processes.Pipe(duplex=False)
        err, its_err = _processes.Pipe(duplex=False)
        self._process = _processes.Process(
            target=_run, args=(module, arguments, environment, os.getcwd(), its_out, its_err)
        )
        self._process.start()
        its_out.close()
        its_err.close()
        self.stdout, self.stderr = _text(out), _text(err)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, minus the signal that killed it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it has ended. Raises TimeoutExpired."""
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
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


def _text(reader: Connection) -> TextIO:
    with reader:
        return os.fdopen(os.dup(reader.fileno()), encoding="utf-8")


def _run(
    module: str, arguments: list[str], environment: dict[str, str], folder: str, out: Connection, err: Connection
) -> None:
    """The work of the new process."""
    gc.freeze()  # what is loaded already: to look at it again would copy all of its memory
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [os.path.join(os.path.dirname(hivewire.__file__), "__main__.py"), *arguments]  # as `python -m hivewire`
    warnings.simplefilter("error", ResourceWarning)  # what is left open shows on standard error
    # A hash as strong as it should be takes 0.2 s; that real gateways have it so is tested elsewhere.
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    vars(passwords)["PasswordHasher"] = lambda **_: quick
    main: Any = import_module(module).main
    main()
