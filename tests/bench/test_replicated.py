"""Short runs of what starts and measures several gateways on one log."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from bench.cluster import Cluster
from bench.processes import Process

from bench import nodes

pytestmark = pytest.mark.skipif(nodes.find() is None, reason="no `nats-server` here: it is a package of PyPI")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", [pytest.param("rates", marks=pytest.mark.long), "reads"])
def test_the_short_form_measures_each_part(part: str) -> None:
    """Its rows are printed, with their bounds."""
    command = [sys.executable, "-m", "bench.replicated", "--quick", "--only", part]
    found = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    wanted = {
        "rates": ["R3, 3 gateways, 300 clients each, puts", "R3, 1 gateway / SQLite, 300 clients"],
        "reads": ["put here, get there with atLeast, p50"],
    }
    assert all(row in found.stdout for row in wanted[part]), found.stdout


def test_a_cluster_on_one_machine_starts_what_was_killed_and_ends_as_a_whole(tmp_path: Path) -> None:
    """`make cluster`: the password that it names works at a gateway that was killed, too."""
    folder = tmp_path / "cluster"
    command = [sys.executable, "-m", "bench.cluster", "--folder", str(folder), "--port", str(three_ports())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as cluster:
        try:
            greeting = printed(cluster, "Ctrl-C stops everything")
            processes = re.findall(r"process (\d+)", greeting)
            url, process = re.findall(r"gateway-1  (\S+)  process (\d+)", greeting)[0]
            os.kill(int(process), signal.SIGKILL)
            assert "gateway-1 has ended (SIGKILL)" in printed(cluster, "gateway-1 is started again")
            credentials = {"login": "admin", "password": (folder / "password").read_text().strip()}
            with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
                assert client.post(f"{url}/api/rest/token", json=credentials).status_code == 201
        finally:
            cluster.send_signal(signal.SIGINT)
        assert "stopping" in printed(cluster, "stopped")
        assert cluster.wait() == 0
    assert not [each for each in processes if Path(f"/proc/{each}").exists()]


def test_a_cluster_that_is_told_to_end_while_it_starts_stops_what_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that comes while a process starts counts once that is known; others do not interrupt the stop."""
    cluster = Cluster(tmp_path, three_ports(), "secret")
    started: list[str] = []
    stopped: list[str] = []

    def note(names: list[str], process: Process) -> None:
        cluster.end(signal.SIGTERM, None)
        names.append(process.name)

    monkeypatch.setattr(Process, "start", lambda process: note(started, process))
    monkeypatch.setattr(Process, "stop", lambda process: note(stopped, process))
    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        cluster.start(stack)
    assert started == stopped == ["n1"]


def printed(process: subprocess.Popen[str], last: str) -> str:
    """What a process prints, up to the line with these words."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or last not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], f"it has ended: {lines}"
    return "".join(lines)


def three_ports() -> int:
    """The first of three ports that are free."""
    while True:
        port = nodes.steady_port()
        with suppress(OSError), ExitStack() as stack:
            for number in range(port, port + 3):
                stack.enter_context(socket.create_server(("127.0.0.1", number)))
            return port
