"""Hooks of pytest: several processes share the tests (`--processes`).

Each is a fork of the process that has collected all tests: to collect thousands of them once more takes longer than
most of what a process would do. They take the tests from one queue, in their order, and the first process reports.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import chain, pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

import pytest

PIECE = struct.Struct("=II")
"""Where a piece of the list of tests begins and ends. The queue is a pipe, from which each read takes one piece."""

LARGEST = 16
"""Tests of a piece: those of one file have fixtures in common. The last pieces have one test each."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--processes`: one by itself, where a debugger can be used."""
    parser.addoption("--processes", default="1", help="how many processes share the tests (auto: as many as pay)")


def count(config: pytest.Config) -> int:
    """How many there are to be. `auto`: two more than cores, since tests wait now and then; six at most."""
    wanted = config.getoption("--processes")
    return min((os.cpu_count() or 1) + 2, 6) if wanted == "auto" else int(wanted)


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """One that all processes have in common."""
    own = factory.getbasetemp()
    return own.parent if own.name.startswith("process-") else own


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Before the tests are collected, import new modules on all cores.

    pytest rewrites the assertions of a module that is imported for the first time on a machine, which takes longer than
    all else.
    """
    config = session.config
    if count(config) == 1:
        return
    places = [config.rootpath / place.partition("::")[0] for place in config.args]
    files = sorted({file for place in places for file in (place.rglob("test_*.py") if place.is_dir() else [place])})
    suffix = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    new = [file for file in files if not (file.parent / "__pycache__" / f"{file.stem}.{suffix}").exists()]
    cores = min(os.cpu_count() or 1, len(new))
    children = []
    for number in range(cores):
        if (pid := os.fork()) == 0:
            for file in new[number::cores]:
                with suppress(BaseException):  # what is wrong with it is said when it is collected
                    import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests, in place of the loop of pytest."""
    if count(session.config) == 1 or session.config.option.collectonly or session.testsfailed:
        return None
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.showfspath = False
    left = [*range(len(session.items))]
    while left:  # again if a process has died, with tests that it had taken
        left = _Round(session, left).run()
    return True


class _Round:
    """One queue of tests, and the processes that share it."""

    def __init__(self, session: pytest.Session, numbers: list[int]) -> None:
        self._session = session
        self._config = session.config
        self._left = dict.fromkeys(numbers)
        self._count = min(count(session.config), len(numbers))
        self._at = memoryview(mmap.mmap(-1, 4 * self._count)).cast("I")  # the number of the test that each is at
        self._processes: dict[Connection, tuple[int, int]] = {}  # which of them it is, and its pid

    def run(self) -> list[int]:
        """Report what they do; the numbers of the tests that a dead process had taken and not begun."""
        self._start()
        try:
            while self._processes:
                for receiver in wait([*self._processes]):
                    assert isinstance(receiver, Connection)
                    try:
                        self._report(*receiver.recv())
                    except (EOFError, OSError):
                        self._end(receiver)
            return [*self._left]
        finally:
            for _, pid in self._processes.values():  # an interruption, or `-x`
                os.kill(pid, signal.SIGINT)
                os.waitpid(pid, 0)

    def _start(self) -> None:
        numbers = [*self._left]
        queue, feed = os.pipe()
        for piece in _pieces(len(numbers), self._count):
            os.write(feed, PIECE.pack(*piece))
        os.close(feed)
        self._config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # the same one for all
        for which in range(self._count):
            receiver, sender = Pipe(duplex=False)
            if (pid := os.fork()) == 0:
                _Worker(self._session, which, sender, self._at).run(queue, numbers)
            sender.close()
            self._processes[receiver] = which, pid
        os.close(queue)

    def _report(self, number: int, reports: list[dict[str, Any]]) -> None:
        item, hook = self._session.items[number], self._config.hook
        del self._left[number]
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            found = hook.pytest_report_from_serializable(config=self._config, data=report)
            hook.pytest_runtest_logreport(report=found)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _end(self, receiver: Connection) -> None:
        """A process has ended: all is done, or a test has killed it."""
        which, pid = self._processes.pop(receiver)
        receiver.close()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 0:
            return
        if (number := self._at[which]) not in self._left:
            raise self._session.Interrupted(f"a process that ran tests has ended ({code})")
        item, told = self._session.items[number], f"its process has ended ({code})"
        died = pytest.TestReport(item.nodeid, item.location, {}, "failed", told, "call")
        self._report(number, [self._config.hook.pytest_report_to_serializable(config=self._config, report=died)])


def _pieces(tests: int, processes: int) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < tests:
        end = begin + max(1, min(LARGEST, (tests - begin) // (8 * processes)))
        yield begin, end
        begin = end


class _Terminal:
    """In place of the terminal of a process that has none: what is written there becomes part of the report."""

    def __init__(self, config: pytest.Config) -> None:
        self._tw = pytest.TerminalReporter(config, sys.__stderr__)._tw


class _Worker:
    """A process that runs tests. What it reports goes to the first one."""

    def __init__(self, session: pytest.Session, which: int, sender: Connection, at: memoryview) -> None:
        self._session = session
        self._which = which
        self._sender = sender
        self._at = at
        self._reports: list[dict[str, Any]] = []

    def run(self, queue: int, numbers: Sequence[int]) -> NoReturn:
        """Run tests until there are no more, and end."""
        code = 1
        try:
            self._part()
            items = self._session.items
            for number, following in pairwise(chain(_taken(queue, numbers), [None])):
                assert number is not None
                self._at[self._which] = number
                next_item = None if following is None else items[following]
                self._session.config.hook.pytest_runtest_protocol(item=items[number], nextitem=next_item)
                self._sender.send((number, self._reports))
                self._reports.clear()
            if (measured := sys.modules.get("coverage")) and (current := measured.Coverage.current()):
                current.save()
            code = 0
        except BaseException as error:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it comes to all, and once more from the first
            if not isinstance(error, KeyboardInterrupt):
                traceback.print_exc(file=sys.__stderr__)
            self._session._setupstate.teardown_exact(None)
        finally:
            os._exit(code)

    def _part(self) -> None:
        """What it has in common with the first process and must not have: the terminal, captured output, a folder."""
        config = self._session.config
        for name in ("terminalreporter", "names-at-once"):
            if plugin := config.pluginmanager.get_plugin(name):
                config.pluginmanager.unregister(plugin)
        config.pluginmanager.register(_Terminal(config), "terminalreporter")
        config.pluginmanager.register(self)
        if capture := config.pluginmanager.get_plugin("capturemanager"):
            capture.stop_global_capturing()
            capture.start_global_capturing()
            capture.suspend_global_capture()
        factory = config._tmp_path_factory  # type: ignore[attr-defined]
        factory._basetemp = factory.getbasetemp() / f"process-{self._which}"
        factory._basetemp.mkdir(mode=0o700, exist_ok=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it until the test is over."""
        config = self._session.config
        self._reports.append(config.hook.pytest_report_to_serializable(config=config, report=report))


def _taken(queue: int, numbers: Sequence[int]) -> Iterator[int]:
    while piece := os.read(queue, PIECE.size):
        yield from numbers[slice(*PIECE.unpack(piece))]
