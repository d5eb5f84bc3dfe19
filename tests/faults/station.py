"""One data file, the gateways that are started over it one after the other, and what they have answered."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError

from websockets.exceptions import ConnectionClosed

from tests.faults.disk import Desk
from tests.running import RunningGateway, Talk

MEBI = 1 << 20


class Station:
    """Every put that was answered with success is remembered, and must be there for ever."""

    def __init__(self, data: Path, faults: Literal["disk and clock", "clock", "none"] = "disk and clock") -> None:
        """`faults` are those that orders may bring about; where memory is measured, none of the disk.

        The layer that can lose what was not synced keeps a copy of what was, in the gateway's memory.
        """
        self.data = data
        self._faults = faults
        self.desk = Desk(data.with_name("orders"))
        self.answered: dict[str, tuple[str, int]] = {}
        self._token, self._token_clock = "", 0

    def start(self, *flags: str) -> RunningGateway:
        """A gateway that follows the orders of this test."""
        if self._faults == "none":
            return RunningGateway(self.data, *flags)
        orders = {"FAULTS": str(self.data.with_name("orders")), "FAULTS_OF": self._faults}
        flags += ("--access-token-lifetime", "86400")  # for tests that move the clock
        return RunningGateway(self.data, *flags, env=orders, main="tests.faults.gateway:main")

    def talk(self, gateway: RunningGateway) -> Talk:
        """A socket with the administrator's token, which outlives each gateway, but no setting of the clock."""
        if not self._token or self._token_clock != self.desk.clock:
            self._token, self._token_clock = gateway.token(), self.desk.clock
        return gateway.socket(self._token)

    def put(self, talk: Talk, name: str, value: str) -> dict[str, Any]:
        """Put, and remember it if the answer is success; returns the answer, or the end of the socket as its error."""
        try:
            answer: dict[str, Any] = talk("configuration/put", name=name, value=value)
        except ConnectionClosed as closed:
            return {"status": "closed", "error": str(closed)}
        if answer["status"] == "success":
            self.answered[name] = (value, answer["configuration"]["entityVersion"])
        return answer

    def found(self, gateway: RunningGateway) -> dict[str, tuple[str, int]]:
        """Everything that is there: name to value and version."""
        with self.talk(gateway) as talk:
            listed = talk("configuration/list", take=10_000)["configurations"]
        return {one["name"]: (one["value"], one["entityVersion"]) for one in listed}

    def check(self, gateway: RunningGateway) -> None:
        """Check that the answered puts are there and nothing else, that it is ready, and that a new put works."""
        assert self.found(gateway) == self.answered
        self.check_alive(gateway)

    def check_alive(self, gateway: RunningGateway) -> None:
        """Check that a new client is served: the gateway is ready, a put is written, and can be read."""
        assert status(gateway, "/health/ready") == 200
        with self.talk(gateway) as talk:
            count = self.answered.get("alive", ("0", 0))[1] + 1
            assert self.put(talk, "alive", str(count))["configuration"]["entityVersion"] == count
            assert talk("configuration/get", name="alive")["configuration"]["value"] == str(count)

    def check_after_kill(self, gateway: RunningGateway, *flags: str) -> None:
        """Kill the gateway with SIGKILL; another one over the same file has everything."""
        gateway.process.kill()
        gateway.process.wait()
        with self.start(*flags) as restarted:
            self.check(restarted)
            assert restarted.stop() == 0


def status(gateway: RunningGateway, path: str) -> int:
    """The HTTP status of a GET."""
    try:
        with urllib.request.urlopen(gateway.url + path) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def settles(figure: Callable[[], float], most: float) -> float:
    """Wait until a figure is at most this; the time limit of the test ends the wait."""
    while (found := figure()) > most:
        time.sleep(0.01)
    return found
