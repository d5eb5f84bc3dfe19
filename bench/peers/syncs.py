"""Whether a put is durable: how often a server has its files synced while it is sent puts one after the other."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.compare import Effort, loaded
from bench.peers.load import WARM_PUTS
from bench.peers.peer import Peer

CALLS = "fsync,fdatasync,msync,sync_file_range,syncfs"
COUNTED = re.compile(rf"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*\b(?:{CALLS.replace(',', '|')})$", re.MULTILINE)
"""A line of what `strace -c` prints: per cent, seconds, microseconds each, calls, errors if any, name."""


def measure(folder: Path, peers: dict[str, Peer], effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """`puts` one after the other, and of each store the `calls` that synced a file meanwhile; empty without `strace`.

    What such a call costs is no matter here: nothing is timed under `strace`. Raises RuntimeError when it may not look.
    """
    if shutil.which("strace") is None:
        return {}
    puts, calls = 10 * effort.puts, {}
    for program, peer in peers.items():
        say(f"syncs of {puts:,} puts, {peer.name}")
        with loaded(peer, folder / f"{program}-syncs") as load:
            report = folder / f"{program}.strace"
            with _traced(load.server.pid, report):
                load.run("fan", connections=0, puts=puts - WARM_PUTS)
            calls[program] = sum(int(count) for count in COUNTED.findall(report.read_text()))
    return {"puts": puts, "calls": calls}


@contextmanager
def _traced(pid: int, report: Path) -> Iterator[None]:
    """All threads of a process are looked at; the counts are in the file afterwards."""
    command = ["strace", "-f", "-c", "-e", f"trace={CALLS}", "-o", str(report), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            raise RuntimeError(f"strace: {line.strip()}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)
