"""Hooks of pytest: each failure is reported with its name, whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Generator

import pytest
from pluggy import PluggyTeardownRaisedWarning


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that prints does so; the others tell it what they found."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(NamesAtOnce(config))


class NamesAtOnce:
    """Prints the name of each failure at once: a run that dies does not reach its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and isinstance(reporter, pytest.TerminalReporter):
            reporter.write(f"\nFAILED {report.nodeid} ({report.when})\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure whose source cannot be shown is reported by its places.

    pytest parses the source of each frame, and CPython 3.11 may answer that with "SystemError: AST constructor
    recursion depth mismatch". The failure of the test would end its worker, and with it the whole run.
    """
    try:
        return (yield)
    except (SystemError, PluggyTeardownRaisedWarning) as error:  # the warning of it, where warnings are errors
        assert call.excinfo is not None
        assert call.when != "collect"
        frames = traceback.walk_tb(call.excinfo.tb)
        places = [f"{frame.f_code.co_filename}:{line}: in {frame.f_code.co_name}" for frame, line in frames]
        told = "\n".join([*places, call.excinfo.exconly(), f"(the source is not shown: {error})"])
        return pytest.TestReport(
            item.nodeid, item.location, {}, "failed", told, call.when, (), call.duration, call.start, call.stop
        )
