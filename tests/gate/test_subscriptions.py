"""Subscriptions over real sockets: what stands between the hub and the wire."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import suppress
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.gate.wire import CLOSE, TEXT, Wire, frame, gauge, memory, opened, until
from tests.running import RunningGateway, Talk, brief_tokens

BIG = "x" * 60_000


def ask(wire: Wire, action: str, **members: Any) -> Any:
    """Send a request, return the next message."""
    wire.send(frame(json.dumps({"action": action, "requestId": 1, **members}).encode()))
    return wire.answer()


def versions_until(wire: Wire, last: int) -> list[int]:
    """The versions of the updates that come, up to this one."""
    found: list[int] = []
    while not found or found[-1] < last:
        message = wire.answer()
        if message["action"] == "configuration/update":
            found.append(message["configuration"]["entityVersion"])
    return found


def test_a_socket_that_does_not_read_is_bounded_and_loses_nothing(data: Path) -> None:
    """12 MB are put for it; the gateway keeps no more than its budget; when it reads, it gets every change in order."""
    with (
        RunningGateway(data, "--outbox-bytes", "65536") as gateway,
        gateway.socket() as writer,
        opened(gateway, gateway.token(), 4_096) as wire,
    ):
        assert ask(wire, "configuration/subscribe", snapshot=False)["mode"] == "live"
        before = memory(gateway)
        for _ in range(200):
            writer("configuration/put", name="big", value=BIG)
        assert gauge(gateway, "outbox_bytes") < 400_000
        # The end of the log in memory has a bound of its own, 8 MiB; all that was put is 12 MB.
        assert memory(gateway) - before < 24 << 20
        assert versions_until(wire, 200) == list(range(1, 201))


def test_a_slow_socket_gets_the_latest_only(data: Path) -> None:
    """After a while without reading it gets conflated frames; the last one has the position."""
    flags = ("--outbox-bytes", "1024", "--conflate-after", "3", "--conflate-seconds", "0.1")
    with (
        RunningGateway(data, *flags) as gateway,
        gateway.socket() as writer,
        opened(gateway, gateway.token(), 4_096) as wire,
    ):
        ask(wire, "configuration/subscribe", snapshot=False)
        rounds, end = 0, monotonic() + 0.5
        while rounds < 30 or monotonic() < end:
            rounds += 1
            for number in range(3):
                writer("configuration/put", name=f"big.{number}", value=BIG)
        messages = [wire.answer()]
        while not ("conflated" in messages[-1] and "position" in messages[-1]):
            messages.append(wire.answer())
        assert len(messages) < 3 * rounds
        last = {m["configuration"]["name"]: m["configuration"]["entityVersion"] for m in messages}
        assert last == {"big.0": rounds, "big.1": rounds, "big.2": rounds}


def test_requests_and_pushes_of_a_reader_that_stops_and_goes_on(data: Path) -> None:
    """Replies are never dropped: they come between the pushes, in the order of the requests."""
    with (
        RunningGateway(data, "--outbox-bytes", "65536") as gateway,
        gateway.socket() as writer,
        opened(gateway, gateway.token(), 4_096) as wire,
    ):
        ask(wire, "configuration/subscribe", snapshot=False)
        requests = [json.dumps({"action": "configuration/get", "requestId": n, "name": "big"}) for n in range(50)]
        writer("configuration/put", name="big", value=BIG)
        wire.send(*(frame(request.encode()) for request in requests))
        for _ in range(50):
            writer("configuration/put", name="big", value=BIG)
        answers: list[Any] = []
        versions: list[int] = []
        while len(answers) < 50 or versions[-1] < 51:
            message = wire.answer()
            if "requestId" in message:
                answers.append(message["requestId"])
            else:
                versions.append(message["configuration"]["entityVersion"])
        assert answers == list(range(50))
        assert versions == list(range(1, 52))


def test_a_token_expires_on_an_open_socket(data: Path) -> None:
    """It gets `token/expiring`, pushes stop at the expiry, and another token of the user resumes."""
    with RunningGateway(data) as gateway, gateway.socket() as writer, subscribed(gateway, writer) as reader:
        assert [reader.receive()["action"] for _ in range(2)] == ["token/expiring", "subscription/paused"]
        assert reader("configuration/get", name="none")["code"] == 401
        assert writer("configuration/put", name="a", value="v")["status"] == "success"
        assert reader("configuration/get", name="a")["error"] == "Token expired"
        assert reader("authenticate", token=gateway.token())["status"] == "success"
        assert reader.receive()["configuration"] == {"name": "a", "value": "v", "entityVersion": 1}


def subscribed(gateway: RunningGateway, writer: Talk) -> Talk:
    """A socket that has subscribed to everything, and whose token is over soon."""
    for token in brief_tokens(writer):
        with suppress(InvalidStatus):
            reader = gateway.socket(token)
            if reader("configuration/subscribe", snapshot=False)["status"] == "success":
                return reader
            reader.__exit__()
    raise AssertionError("all tokens were over too soon")


def test_subscribers_are_told_when_the_gateway_stops(data: Path) -> None:
    """Committed changes are pushed first, then `server/draining`, then comes the close frame: 1001 with the same time
    after which to reconnect."""
    flags = ("--alternatives", "https://b.example")
    with RunningGateway(data, *flags) as gateway, gateway.socket() as writer, opened(gateway, gateway.token()) as wire:
        ask(wire, "configuration/subscribe", snapshot=False)
        writer("configuration/put", name="a", value="v")
        gateway.process.send_signal(signal.SIGTERM)
        opcode, payload = wire.frame()
        assert opcode == TEXT
        assert json.loads(payload)["configuration"]["name"] == "a"
        _, told = wire.frame()
        opcode, payload = wire.frame()
        assert opcode == CLOSE
        assert int.from_bytes(payload[:2]) == 1001
        draining = json.loads(told)
        assert (draining["action"], draining["alternatives"]) == ("server/draining", ["https://b.example"])
        assert payload[2:].decode() == f"server going away; retry={draining['retry']}"


def test_a_subscription_ends_with_its_socket(data: Path) -> None:
    """A subscription ends when its socket is closed, with or without a close frame."""
    with RunningGateway(data) as gateway:
        for goodbye in (frame(b"\x03\xe8", CLOSE), b""):
            with opened(gateway, gateway.token()) as wire:
                ask(wire, "configuration/subscribe")
                assert gauge(gateway, "subscriptions") == 1
                wire.send(goodbye)
            until(lambda: gauge(gateway, "subscriptions") == 0)


@pytest.mark.parametrize("restart", ["TERM", "KILL"])
def test_positions_outlive_the_process(data: Path, restart: str) -> None:
    """A position of one run resumes in the next."""
    with RunningGateway(data) as gateway, gateway.socket() as socket:
        position = socket("configuration/subscribe", snapshot=False)["position"]
        for number in range(5):
            socket.connection.send(json.dumps({"action": "configuration/put", "name": f"n{number}", "value": "v"}))
        while socket.receive().get("configuration", {}).get("name") != "n4":
            pass
        gateway.stop(signal.Signals[f"SIG{restart}"])
    with RunningGateway(data) as gateway, gateway.socket() as socket:
        assert socket("configuration/subscribe", since=position)["mode"] == "resumed"
        assert [socket.receive()["configuration"]["name"] for _ in range(5)] == [f"n{n}" for n in range(5)]


@pytest.mark.parametrize("lost", [False, True])
def test_positions_of_messages_outlive_the_process(data: Path, lost: bool) -> None:
    """Commands and notifications resume after a kill; they are reset when the file of messages is gone."""
    kinds = ("command", "notification")
    with RunningGateway(data) as gateway, gateway.socket() as socket:
        socket("device/save", deviceId="lamp", device={"name": "lamp"})
        before = {kind: socket(f"{kind}/subscribe", deviceId="lamp", resumable=True)["position"] for kind in kinds}
        for number, kind in product(range(3), kinds):
            message = {"action": f"{kind}/insert", "deviceId": "lamp", kind: {kind: f"m{number}"}}
            socket.connection.send(json.dumps(message))
        pushed: list[Any] = []
        while len(pushed) < 6:
            frame = socket.receive()
            pushed += [frame] if "subscriptionId" in frame else []
        gateway.stop(signal.SIGKILL)
    if lost:
        for file in data.parent.glob(f"{data.name}.messages*"):
            file.unlink()
    with RunningGateway(data) as gateway, gateway.socket() as socket:
        for kind in kinds:
            reply = socket(f"{kind}/subscribe", deviceId="lamp", since=before[kind])
            frames = [socket.receive() for _ in range(1 if lost else 4)]
            assert reply["mode"] == ("reset" if lost else "resumed")
            assert (frames[0].get("reset"), frames[-1]["live"]) == (lost or None, True)
            assert [frame[kind][kind] for frame in frames[:-1]] == ([] if lost else ["m0", "m1", "m2"])
            assert {frame["position"] for frame in frames[:-1]} <= {frame["position"] for frame in pushed}


def test_a_half_closed_socket_gets_no_more_pushes(shared_gateway: RunningGateway) -> None:
    """The peer half-closes without a close frame in the middle of many snapshots."""
    request = frame(b'{"action":"configuration/subscribe","requestId":1}')
    for _ in range(5):
        with opened(shared_gateway, shared_gateway.token()) as wire:
            wire.send(request * 100)
            wire.socket.shutdown(socket.SHUT_WR)
            while wire.socket.recv(65_536):
                pass
    until(lambda: gauge(shared_gateway, "subscriptions") == 0)
    assert not shared_gateway.events("unexpected error")
