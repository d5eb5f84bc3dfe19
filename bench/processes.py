"""A process that is killed, paused and started again, such as a gateway or a NATS node of a cluster.

What is started once and stopped at the end is a context manager of `bench.servers` instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.servers import pin

START_SECONDS, STOP_SECONDS = 60, 40


class Process:
    """A server, and the file with what it writes to standard error."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        cores: set[int] | None = None,
        health: str,
    ) -> None:
        """`cores`: the processor cores that it is pinned to. `health`: the URL that answers 200 once it is ready."""
        self.name: Final = name
        self.log: Final = log
        self._command, self._environment, self._cores = command, environment, cores
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process, also of one that has ended."""
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it, without waiting for anything."""
        cores = self._cores
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                process_group=0,  # Ctrl-C at the terminal is for whoever started it
                preexec_fn=None if cores is None else lambda: pin(cores),
            )

    def wait_until_ready(self) -> None:
        """Return once it is healthy. Raises RuntimeError, with the end of its log, if it ends or takes too long."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.running:
            with suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(self._health, timeout=1).close()
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not become ready:\n{self.log.read_text(errors='replace')[-2_000:]}")

    def pause(self) -> None:
        """Stop it without ending it: connections stay open and get nothing. Returns once all threads stand still."""
        self._send(signal.SIGSTOP)
        if self.running:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def end(self, number: int) -> None:
        """Send it a signal that ends it, and wait until it has ended."""
        self._send(number)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait; one that takes too long is killed."""
        self.resume()
        try:
            self.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def _send(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
