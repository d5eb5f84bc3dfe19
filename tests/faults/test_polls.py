"""Thousands of requests that wait for a message: what they cost, and what ends them."""

from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from tests.gate.wire import Wire, gauge, memory, until
from tests.running import RunningGateway

SHORT, MOST = 60, 10_000
WARM = 50
"""Polls that wait before the memory of the others is measured."""

KIB_EACH = 12
"""A connection of uvicorn, its request, and the coroutines that wait."""

ADDRESS = "127.0.0.2"
WAIT = "waitTimeout=60"


class Crowd:
    """A gateway with two devices, and the connections whose requests wait."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway, self.token = gateway, gateway.token()
        self.http = gateway.http(self.token)
        for device in ("gone", "kept"):
            assert self.http.put(f"/device/{device}", json={"name": device, "networkId": 1}).status_code == 204
        user = {"login": "ann", "password": "ann's password", "role": 1, "status": 0}
        self.user = self.http.post("/user", json=user).json()["id"]
        other = self.http.post("/network", json={"name": "other"}).json()["id"]
        for network in (1, other):
            assert self.http.put(f"/user/{self.user}/network/{network}").status_code == 204
        self.ann = gateway.token("ann", "ann's password")
        self.command = self.http.post("/device/kept/command", json={"command": "old"}).json()["id"]

    def poll(self, path: str, token: str, source: str = ADDRESS) -> Wire:
        """A connection whose request waits."""
        wire = Wire(self.gateway, source=source)
        wire.send(f"GET /api/rest{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        return wire

    def waits(self, number: int) -> None:
        """Return when so many do."""
        until(lambda: gauge(self.gateway, "polls") == number)


def answers(wires: Iterable[Wire]) -> Counter[tuple[int, str]]:
    """How many got which status and body."""
    found: Counter[tuple[int, str]] = Counter()
    for wire in wires:
        status, _, body = wire.response()
        found[status, json.dumps(body)] += 1
    return found


@pytest.mark.parametrize("number", [SHORT, pytest.param(MOST, marks=(pytest.mark.long, pytest.mark.timeout(600)))])
def test_polls_take_little_and_end_when_they_must(tmp_path: Path, number: int, record_property: Any) -> None:
    """With their device, with their user, with their scope, with a message, and at a stop, as section 6 of the addendum
    says. Connections of one address are limited by a setting."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number + 500:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    flags = ("--connections", str(number + 100), "--connections-per-address", str(number))
    with RunningGateway(tmp_path / "data", *flags) as gateway, ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        crowd = Crowd(gateway)
        stack.callback(crowd.http.close)
        ways = (
            (f"/device/gone/command/poll?{WAIT}", crowd.token),
            (f"/device/notification/poll?{WAIT}", crowd.ann),
            (f"/device/command/poll?networkIds=1&{WAIT}", crowd.ann),
            (f"/device/kept/notification/poll?names=on&{WAIT}", crowd.token),
            (f"/device/kept/command/{crowd.command}/poll?{WAIT}", crowd.token),
            (f"/device/command/poll?{WAIT}", crowd.token),
        )
        wires: list[list[Wire]] = [[] for _ in ways]
        before = 0
        for index in range(number):
            wire = crowd.poll(*ways[index % len(ways)])
            stack.callback(wire.close)
            wires[index % len(ways)].append(wire)
            if index + 1 == WARM:
                crowd.waits(WARM)
                before = memory(gateway)
        crowd.waits(number)
        each = (memory(gateway) - before) / (number - WARM) / 1024
        record_property("KiB for each waiting poll", f"{each:.2f}")
        if number == MOST:
            assert each <= KIB_EACH

        # One more connection of this address gets no place; another address does.
        with closing(crowd.poll(*ways[0])) as refused:
            assert refused.response()[0] == 503
        other = crowd.poll(*ways[3], source="127.0.0.3")
        stack.callback(other.close)
        crowd.waits(number + 1)

        by_device, of_ann, by_network, by_name, for_one, of_all = wires
        assert crowd.http.delete("/device/gone").status_code == 204
        text = '{"error": 404, "message": "Device with such deviceId = gone not found"}'
        assert answers(by_device) == {(404, text): len(by_device)}
        assert crowd.http.delete(f"/user/{crowd.user}/network/1").status_code == 204
        assert {status for status, _ in answers(by_network)} == {403}
        assert crowd.http.put(f"/user/{crowd.user}", json={"status": 1}).status_code == 204
        assert {status for status, _ in answers(of_ann)} == {401}
        crowd.waits(number + 1 - len(by_device) - len(by_network) - len(of_ann))
        assert crowd.http.post("/device/kept/notification", json={"notification": "on"}).status_code == 201
        assert [status for (status, body) in answers([*by_name, other]) if '"on"' in body] == [200]
        crowd.waits(len(for_one) + len(of_all))
        gateway.process.send_signal(SIGTERM)
        assert answers(of_all) == {(200, "[]"): len(of_all)}
        assert answers(for_one) == {(204, "null"): len(for_one)}
        assert gateway.stop() == 0
