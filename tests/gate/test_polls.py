"""Polls over real HTTP connections: while they wait, when they end, and with the official Python client."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from devicehive import ApiResponseError, DeviceHive, Handler
from devicehive.api import Api

from tests.gate.devicehive import LOGIN, address, hang_up, unused
from tests.gate.wire import Wire
from tests.running import PATIENCE, RunningGateway


class Device:
    """A device of its own, over HTTP."""

    def __init__(self, gateway: RunningGateway, token: str) -> None:
        self.gateway, self.token = gateway, token
        self.http = gateway.http(token)
        self.id = unused("polled")
        assert self.http.put(f"/device/{self.id}", json={"name": self.id}).status_code == 204

    def order(self, name: str) -> Any:
        """Insert a command."""
        return self.http.post(f"/device/{self.id}/command", json={"command": name}).json()

    def update(self, number: int) -> None:
        """Update a command."""
        answer = self.http.put(f"/device/{self.id}/command/{number}", json={"status": "done"})
        assert answer.status_code == 204

    def get(self, path: str, **asked: Any) -> httpx.Response:
        """What a path answers."""
        return self.http.get(path.format(id=self.id), params=asked)

    def poll(self, path: str) -> Wire:
        """A connection whose request waits."""
        before = self.waiting()
        wire = Wire(self.gateway)
        head = (
            f"GET /api/rest{path.format(id=self.id)} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        )
        wire.send(head.encode())
        self.until_waiting(before + 1)
        return wire

    def waiting(self) -> int:
        """How many polls wait."""
        return waiting(self.gateway)

    def until_waiting(self, number: int) -> None:
        """Until exactly so many do."""
        until_waiting(self.gateway, number)


def waiting(gateway: RunningGateway) -> int:
    """The gauge of polls."""
    lines = httpx.get(gateway.url + "/metrics", timeout=PATIENCE).text.splitlines()
    return int(float(next(line for line in lines if line.startswith("hivewire_polls ")).split()[1]))


def until_waiting(gateway: RunningGateway, number: int) -> None:
    """Until exactly so many polls wait."""
    end = time.monotonic() + PATIENCE
    while waiting(gateway) != number:
        assert time.monotonic() < end


@pytest.fixture
def device(shared_gateway: RunningGateway, admin_token: str) -> Any:
    """A device, and its HTTP client."""
    found = Device(shared_gateway, admin_token)
    yield found
    found.http.close()


def test_the_paths_of_polls(device: Device) -> None:
    """Each answers its own kind; what the path names counts, and unknown parameters are ignored."""
    sent = device.order("on")
    device.http.post(f"/device/{device.id}/notification", json={"notification": "n"})
    after = {"timestamp": "2020-01-01", "waitTimeout": 0, "deviceId": "other", "foo": ["a", "b"]}
    for path in ("/device/{id}/command/poll", "/device/{id}/notification/poll"):
        answer = device.get(path, **after)
        assert answer.status_code == 200
        assert [each["deviceId"] for each in answer.json()] == [device.id]
    for what in ("command", "notification"):
        answer = device.get(f"/device/{what}/poll", **after | {"deviceId": device.id})
        assert [each["deviceId"] for each in answer.json()] == [device.id]
        empty = device.get(f"/device/{what}/poll", **after | {"deviceId": device.id, "names": ""})
        assert (empty.status_code, empty.text) == (200, "[]")
    both = device.get("/device/command/poll", networkIds=["1", "2,3", "x"], waitTimeout=0)
    assert both.json() == {"error": 400, "message": "Invalid request parameters"}
    many = after | {"deviceId": device.id}
    both = device.get("/device/command/poll", networkIds=["1", "1"], names=["x", "on,y"], limit=0, **many)
    assert [each["id"] for each in both.json()] == [sent["id"]]
    wait = f"/device/{{id}}/command/{sent['id']}/poll"
    answer = device.get(wait, waitTimeout=0)
    assert (answer.status_code, answer.content) == (204, b"")
    assert device.get("/device/{id}/command/7/poll").status_code == 204
    assert device.get("/device/{id}/command/x/poll").status_code == 404
    device.update(sent["id"])
    assert device.get(wait).json()["status"] == "done"
    assert device.http.post(f"/device/{device.id}/command/poll").status_code == 405
    refused = device.get("/device/command/poll", waitTimeout=61)
    assert refused.json() == {"error": 400, "message": "Timeout can't be more than 60 seconds. "}


def test_a_device_may_be_named_like_a_part_of_a_path(device: Device) -> None:
    """A device `command` has its own commands and polls."""
    device.id = "command"
    assert device.http.put("/device/command", json={"name": "command"}).status_code == 204
    number = device.order("on")["id"]
    asked = {"timestamp": "2020-01-01", "waitTimeout": 0}
    assert [each["id"] for each in device.get("/device/command/command/poll", **asked).json()] == [number]
    assert [each["id"] for each in device.get("/device/command/command").json()] == [number]
    assert device.http.delete("/device/command").status_code == 204


def test_waiting_polls_are_answered(device: Device) -> None:
    """The next command answers them all, with one element each; an update answers the wait for it."""
    number = device.order("first")["id"]
    polls = [device.poll(path) for path in ("/device/{id}/command/poll", "/device/command/poll?names=on&networkIds=1")]
    wait = device.poll(f"/device/{{id}}/command/{number}/poll?waitTimeout=60")
    device.order("on")
    for poll in polls:
        status, _, body = poll.response()
        assert (status, [each["command"] for each in body]) == (200, ["on"])
    device.update(number)
    assert wait.response()[2]["id"] == number
    device.until_waiting(0)
    for wire in (*polls, wait):
        wire.close()


def test_a_closed_connection_frees_its_poll(device: Device) -> None:
    """A client that goes, or sends no more, is waited for no longer; one that only sends no more gets its answer."""
    device.poll("/device/command/poll").close()
    device.until_waiting(0)
    wire = device.poll("/device/command/poll")
    wire.socket.shutdown(1)
    assert wire.response()[::2] == (200, [])
    assert wire.ended()
    wire.close()
    device.until_waiting(0)


class Follower(Handler):  # type: ignore[misc]  # the client has no types
    """Subscribes, then works, until it has what it waits for."""

    def __init__(self, api: Api, follow: Any, work: Any, expected: int) -> None:
        super().__init__(api)
        self.follow, self.work, self.expected = follow, work, expected
        self.found: list[Any] = []

    def handle_connect(self) -> None:
        self.follow(self.api)
        self.work(self.api)

    def _take(self, event: Any) -> None:
        self.found.append(event)
        if len(self.found) == self.expected:
            self.api.disconnect()

    def handle_command_insert(self, command: Any) -> None:
        self._take(command.command)

    def handle_notification(self, notification: Any) -> None:
        self._take(notification.notification)


def followed(url: str, follow: Any, work: Any, expected: int) -> list[Any]:
    """What the official client got."""
    client = DeviceHive(Follower, follow, work, expected)
    try:
        client.connect(url, **LOGIN)
    finally:
        hang_up(client.transport)
    return list(client.handler.found)


@pytest.mark.parametrize("scope", ["device", "network"])
def test_the_python_client_follows_over_http(device: Device, scope: str) -> None:
    """Its subscriptions poll in a tight loop: every command and notification comes, once and in order."""

    def follow(api: Api) -> None:
        found = api.get_device(device.id)
        if scope == "device":
            found.subscribe_insert_commands(["a", "b"])
            found.subscribe_notifications()
        else:
            network = api.get_network(found.network_id)
            network.subscribe_insert_commands(["a", "b"])
            network.subscribe_notifications(names=["n"])

    def work(api: Api) -> None:
        found = api.get_device(device.id)
        for name in ("a", "c", "b", "a"):
            found.send_command(name)
            found.send_notification("n")

    found = followed(address(device.gateway, "http api"), follow, work, 7)
    assert [each for each in found if each != "n"] == ["a", "b", "a"]
    assert found.count("n") == 4


def test_the_python_client_is_told_of_a_device_that_is_gone(device: Device) -> None:
    """Its subscription fails at the probe."""

    def follow(api: Api) -> None:
        found = api.get_device(device.id)
        found.remove()
        found._id = device.id
        with pytest.raises(ApiResponseError) as refused:
            api.subscribe_insert_commands(device.id)
        assert refused.value.code == 404
        api.disconnect()

    followed(address(device.gateway, "http api"), follow, lambda api: None, 1)
