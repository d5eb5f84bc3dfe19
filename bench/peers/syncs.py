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

from bench.peers.compare import Effort, Load
from bench.peers.load import WARM_PUTS

CALLS = "fsync,fdatasync,msync,sync_file_range,syncfs"
COUNTED = re.compile(rf"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*\b(?:{CALLS.replace(',', '|')})$", re.MULTILINE)
"""A line of what `strace -c` prints: per cent, seconds, microseconds each, calls, errors if any, name."""


def measure(folder: Path, loads: dict[str, Load], effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """`puts` one after the other, and of each store the `calls` that synced a file meanwhile.

    Empty where `strace` is missing or not permitted. Its overhead does not matter, because nothing is timed meanwhile.
    """
    puts, calls = 10 * effort.puts, {}
    for program, load in loads.items():
        say(f"syncs of {puts:,} puts, {program}")
        report = folder / f"{program}.strace"
        with _traced(load.server.pid, report) as works:
            if not works:
                return {}
            load.run("fan", connections=0, puts=puts - WARM_PUTS)
        calls[program] = sum(int(count) for count in COUNTED.findall(report.read_text()))
    return {"puts": puts, "calls": calls}


@contextmanager
def _traced(pid: int, report: Path) -> Iterator[bool]:
    """All threads of a process are looked at, if that may be; the counts are in the file afterwards."""
    if shutil.which("strace") is None:
        yield False
        return
    command = ["strace", "-f", "-c", "-e", f"trace={CALLS}", "-o", str(report), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        yield "attached" in tracer.stderr.readline()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)
