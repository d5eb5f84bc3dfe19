"""A short run of `make soak`."""

from __future__ import annotations

import subprocess
import sys

from tests.faults.disk import reachable


def test_a_gateway_that_is_killed_under_load_keeps_its_promises() -> None:
    """It is restarted, its disk hangs, changes are pushed, and nothing is lost, twice, out of order, half or without an
    order."""
    for seconds in ("3", "12", "48"):  # longer where a busy machine did not get round to everything
        found = subprocess.run(
            [sys.executable, "-m", "bench.soak", "--seconds", seconds], capture_output=True, text=True, timeout=170
        )
        assert found.returncode == 0, found.stdout + found.stderr
        figures = dict(line.rsplit(maxsplit=1) for line in found.stdout.splitlines())
        met = ["writes answered", "calls recorded", "changes pushed", "restarts survived", "resumed by position"]
        if reachable():
            met.append("times that the disk hung")
        if all(figures[name] != "0" for name in met):
            return
    raise AssertionError(found.stdout)
