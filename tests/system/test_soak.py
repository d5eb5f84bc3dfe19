"""A short run of `make soak`."""

from __future__ import annotations

import subprocess
import sys


def test_a_gateway_that_is_killed_under_load_keeps_its_promises() -> None:
    """Restarts happen, changes are pushed, and nothing is lost, twice, out of order or half."""
    found = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--seconds", "3"], capture_output=True, text=True, timeout=55
    )
    assert found.returncode == 0, found.stdout + found.stderr
    figures = dict(line.rsplit(maxsplit=1) for line in found.stdout.splitlines())
    for name in ("writes answered", "changes pushed", "restarts survived", "resumed by position"):
        assert figures[name].replace(",", "") != "0", found.stdout
