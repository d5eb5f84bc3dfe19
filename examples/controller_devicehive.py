"""A controller, with DeviceHive's own Python client: sets a thermostat, shows its temperature until it is reached.

    pip install devicehive
    HIVEWIRE_PASSWORD=... python controller_devicehive.py thermostat-2 21.5

A thermostat that is off gets the command as soon as it is back.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   a refresh token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import argparse
import logging
import os
import sys
import time
from contextlib import suppress
from threading import Thread
from threading import enumerate as enumerate_threads
from typing import Any

try:
    from devicehive import ApiResponseError, DeviceHive, Handler, TransportError
    from devicehive.api import Api
except ImportError:
    raise SystemExit("this needs DeviceHive's client: pip install devicehive") from None

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
# The client looks for news a million times a second unless it is told otherwise.
CALM = {"transport_alive_sleep_time": 0.1, "event_queue_sleep_time": 0.02, "response_sleep_time": 0.002, "timeout": 60}


class Task:
    """What is to be done, and how far it is. It outlives a connection."""

    def __init__(self, device: str, target: float) -> None:
        self.device, self.target = device, target
        self.sent: Any = None  # the command, once it is sent
        self.status: str | None = None  # how it went
        self.seen: str | None = None  # the time of the last temperature
        self.reached = False


class Controller(Handler):
    """One connection."""

    def __init__(self, api: Api, task: Task) -> None:
        super().__init__(api)
        self.task = task

    def handle_connect(self) -> None:
        """Follow the thermostat, then send the command unless that is done."""
        device = self.api.get_device(self.task.device)
        # Without `timestamp` the client asks for what came since it connected.
        device.subscribe_notifications(names=["temperature"], timestamp=self.task.seen)
        sent = self.task.sent
        device.subscribe_update_commands(names=["set"], timestamp=sent.timestamp if sent else None)
        if sent is None:
            self.task.sent = device.send_command("set", parameters={"target": self.task.target})
            print(f"sent: set {self.task.target}", flush=True)
        Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        """The client does not tell that the gateway has closed the connection; but its thread that reads has ended."""
        while self.api.connected:
            if not any(thread.name == "websocket-transport-event" for thread in enumerate_threads()):
                with suppress(TransportError):
                    self.api.disconnect()
            time.sleep(0.5)

    def handle_command_update(self, command: Any) -> None:
        """Show what became of our command. Others may send some to the same thermostat."""
        task = self.task
        if command.id == task.sent.id and task.status is None:
            task.status = command.status
            print(f"{command.status}: {command.result}", flush=True)
            self.hang_up_when_done()

    def handle_notification(self, notification: Any) -> None:
        """Show a temperature."""
        task, now = self.task, notification.parameters
        task.seen = notification.timestamp
        print(f"{task.device}: {now['temperature']} (target {now['target']})", flush=True)
        task.reached = now["temperature"] == now["target"] == task.target
        self.hang_up_when_done()

    def hang_up_when_done(self) -> None:
        """The client returns from `connect` when we disconnect."""
        failed = self.task.status not in (None, "done")
        if failed or (self.task.status is not None and self.task.reached):
            self.api.disconnect()


def connect(task: Task) -> None:
    """One connection, until the task is done or it is lost. Raises what it was lost by."""
    credentials = {"refresh_token": os.environ.get("HIVEWIRE_TOKEN")}
    if not credentials["refresh_token"]:
        credentials = {
            "login": os.environ.get("HIVEWIRE_LOGIN", "admin"),
            "password": os.environ.get("HIVEWIRE_PASSWORD"),
        }
        if not credentials["password"]:
            raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    # A client that has lost its connection does not get over the error: each connection has a new one.
    client = DeviceHive(Controller, task)
    try:
        client.connect(URL.replace("http", "ws", 1) + "/api/websocket", max_num_connect=0, **CALM, **credentials)
    finally:
        if client.transport.connected:
            client.transport.disconnect()
        client.transport._websocket.shutdown()  # the client leaves the socket of a lost connection open


def main() -> None:
    parser = argparse.ArgumentParser(description="Set a thermostat, and show its temperature until it is reached.")
    parser.add_argument("device", help="the id of the thermostat")
    parser.add_argument("target", type=float, help="degrees")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # of the client; we say what went wrong
    task = Task(options.device, options.target)
    while task.status is None or (task.status == "done" and not task.reached):
        try:
            connect(task)
        except ApiResponseError as refused:
            raise SystemExit(f"refused: {refused}") from None
        except (TransportError, OSError) as lost:
            print(f"{str(lost) or 'no answer'}; next attempt in 1 s", file=sys.stderr, flush=True)
            time.sleep(1)
    if task.status != "done":
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass  # asked to stop
