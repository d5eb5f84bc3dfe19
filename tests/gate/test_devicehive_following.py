"""Following commands and notifications with the official Python client of DeviceHive."""

from __future__ import annotations

from typing import Any

from devicehive import DeviceHive
from devicehive.api import Api

from tests.gate.devicehive import LOGIN, Job, address, hang_up, unused
from tests.running import RunningGateway


class Follower(Job):
    """Subscribes, and hangs up when it has got as many events as it waits for."""

    def __init__(self, api: Api, work: Any, events: int) -> None:
        super().__init__(api, work)
        self.left = events
        self.got: list[tuple[Any, ...]] = []

    def handle_connect(self) -> None:
        self.result = self.work(self.api)

    def handle_command_insert(self, command: Any) -> None:
        self._note("insert", command.command, command.status)

    def handle_command_update(self, command: Any) -> None:
        self._note("update", command.command, command.status)

    def handle_notification(self, notification: Any) -> None:
        self._note("notification", notification.notification, notification.parameters)

    def _note(self, *event: Any) -> None:
        self.got.append(event)
        self.left -= 1
        if not self.left:
            self.api.disconnect()


def follow(gateway: RunningGateway, work: Any, events: int, endpoint: str = "ws dh") -> list[tuple[Any, ...]]:
    """The first events that the client gets after this work."""
    client = DeviceHive(Follower, work, events)
    try:
        client.connect(address(gateway, endpoint), **LOGIN)
    finally:
        hang_up(client.transport)
    got: list[tuple[Any, ...]] = client.handler.got
    return got


def test_the_client_follows_a_device(shared_gateway: RunningGateway) -> None:
    """Commands, what becomes of them, and notifications: those sent before it subscribed too, which it asks for from
    the time of its connection on. The gateway's own notification of the device is not among them."""

    def work(api: Api) -> None:
        device = api.put_device(unused("device"))
        device.send_notification("before", parameters={"t": 1})
        device.subscribe_notifications()
        device.subscribe_insert_commands(names=["on"])
        device.subscribe_update_commands()
        device.send_command("off")
        command = device.send_command("on")
        command.status = "done"
        command.save()
        device.send_notification("after", parameters=None)

    events = follow(shared_gateway, work, 4)
    assert sorted(events, key=lambda event: event[0]) == [
        ("insert", "on", None),
        ("notification", "before", {"t": 1}),
        ("notification", "after", None),
        ("update", "on", "done"),
    ]


def test_the_client_follows_a_network_and_a_device_type(shared_gateway: RunningGateway) -> None:
    """It gets what was sent before it subscribed, oldest first, and nothing after it has unsubscribed."""

    def work(api: Api) -> None:
        network, kind = (create(unused("group"), "") for create in (api.create_network, api.create_device_type))
        device = api.put_device(unused("device"), network_id=network.id, device_type_id=kind.id)
        for number in range(3):
            device.send_notification(f"before {number}")
        ended = network.subscribe_notifications(names=["after"])
        ended.remove()
        api.subscribe_notifications(network_ids=[network.id], device_type_ids=[kind.id])
        device.send_notification("after")

    assert [name for _, name, _ in follow(shared_gateway, work, 4)] == ["before 0", "before 1", "before 2", "after"]


def test_the_client_follows_over_http(shared_gateway: RunningGateway) -> None:
    """It polls again and again, from the time of the last message on: each comes once, those before it too."""

    def work(api: Api) -> None:
        network, kind = (create(unused("group"), "") for create in (api.create_network, api.create_device_type))
        device = api.put_device(unused("device"), network_id=network.id, device_type_id=kind.id)
        device.send_notification("before")
        network.subscribe_notifications(names=["before", "after"])
        device.subscribe_insert_commands(names=["on"])
        for number in range(3):
            device.send_command("on", status=str(number))
            device.send_command("off")
        device.send_notification("after", parameters={"t": 1})

    events = follow(shared_gateway, work, 5, "http dh")
    assert [event for event in events if event[0] == "insert"] == [("insert", "on", str(number)) for number in range(3)]
    assert [event[1] for event in events if event[0] == "notification"] == ["before", "after"]


def test_over_http_the_client_asks_for_updates_and_gets_new_commands(shared_gateway: RunningGateway) -> None:
    """It follows with polls of many devices, for which DeviceHive ignores `returnUpdatedCommands` (devices, 2.8). Such
    a poll does so here, because the JavaScript client would get a stored update without end: it continues from the
    time of the insert."""

    def work(api: Api) -> None:
        device = api.put_device(unused("device"))
        device.subscribe_update_commands()
        command = device.send_command("on")
        command.status = "done"
        command.save()
        device.send_command("off")

    events = follow(shared_gateway, work, 2, "http dh")
    assert [name for _, name, _ in events] == ["on", "off"]
    assert events[1] == ("update", "off", None)
