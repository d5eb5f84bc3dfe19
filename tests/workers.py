"""Two gateways under one parent, for tests that have to know which connection leads to which."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.gate.wire import until
from tests.running import RunningGateway, Talk

WORKERS = (1, 2)
FORKS = "tests.forked:fork_workers"
"""The command, whose workers are forks of what is loaded already."""


class Site:
    """Two gateways under one parent, and sockets of which it is known whom they lead to."""

    def __init__(self, data: Path, stack: ExitStack, main: str = FORKS) -> None:
        """`main` is the command; with that of users each gateway is loaded by itself, which takes longer."""
        folder = stack.enter_context(TemporaryDirectory(prefix="hivewire-"))  # a killed parent leaves its own there
        self.settings = data.with_name("settings.toml")
        self.settings.touch()
        env = {"TMPDIR": folder, "HIVEWIRE_CONFIG": str(self.settings)}
        self.gateway = stack.enter_context(RunningGateway(data, "--workers=2", env=env, main=main))
        self.token = self.gateway.token()
        self._stack = stack

    def metric(self, name: str) -> dict[int, float]:
        """The value of a metric in each gateway."""
        page = ""
        while not page:
            with suppress(httpx.TransportError):  # the request went to a gateway that was just killed
                page = httpx.get(self.gateway.url + "/metrics").text
        return {int(number): float(value) for number, value in re.findall(rf'{name}{{gateway="(\d)"}} (\S+)', page)}

    def sockets(self) -> dict[int, Talk]:
        """A socket to each gateway."""
        found: dict[int, Talk] = {}
        for _ in range(64):
            before = self.metric("hivewire_sockets")
            talk = self._stack.enter_context(self.gateway.socket(self.token))
            after = self.metric("hivewire_sockets")
            (number,) = [number for number in after if after[number] > before.get(number, 0)]
            found.setdefault(number, talk)
            if len(found) == len(WORKERS):
                return found
        raise AssertionError("all connections lead to one gateway")

    def process(self, number: int) -> int:
        """The process of a gateway, as it was started last."""
        lines = self.gateway.events("gateway started")
        return int([line["process"] for line in lines if line["gateway"] == number][-1])

    def ready(self, number: int, starts: int) -> None:
        """Wait until a gateway is started so many times and serves."""
        until(lambda: self.metric("hivewire_gateway_starts_total").get(number) == starts)
        until(lambda: number in self.metric("hivewire_sockets"))


def gone(process: int) -> bool:
    """Whether a process has ended; what nobody waits for any more is a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
