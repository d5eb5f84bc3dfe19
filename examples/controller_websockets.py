"""A controller, with the `websockets` library: sets a thermostat, and shows its temperature until it is reached.

    HIVEWIRE_PASSWORD=... python controller_websockets.py thermostat-1 21.5

A thermostat that is off gets the command as soon as it is back. The controller may lose its connection meanwhile: it
repeats a command that was not answered, which is done once all the same, and resumes from the last temperature.

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in gateway_socket.py.
"""

import argparse
import asyncio
import uuid
from typing import Any

from gateway_socket import Gateway, stay_connected, until_told_to_stop


class Controller:
    """One command for one thermostat."""

    def __init__(self, device: str, target: float) -> None:
        self.device, self.target = device, target
        self.key = str(uuid.uuid4())  # under one key a command is inserted once, however often it is sent
        self.command: int | None = None  # its number, once it is sent
        self.status: str | None = None  # how it went
        self.position: str | None = None  # behind the last temperature
        self.reached = False

    async def serve(self, gateway: Gateway) -> None:
        """One connection: follow the thermostat, send the command unless that is done, and see how it goes."""
        since = {"since": self.position} if self.position else {"resumable": True}
        reply = await gateway.ask("notification/subscribe", deviceId=self.device, names=["temperature"], **since)
        self.position = self.position or reply["position"]
        await gateway.ask("command/subscribe", deviceId=self.device, names=["set"], returnUpdatedCommands=True)
        if self.command is None:
            command = {"command": "set", "parameters": {"target": self.target}, "idempotencyKey": self.key}
            self.command = (await gateway.ask("command/insert", deviceId=self.device, command=command))["command"]["id"]
            print(f"sent: set {self.target}", flush=True)
        # What was done before we subscribed is not pushed any more.
        found = await gateway.ask("command/get", deviceId=self.device, commandId=self.command)
        self.take_command(found["command"])
        while self.status is None or not self.reached:
            push = await gateway.push()
            if push is not None and "command" in push:
                self.take_command(push["command"])
            elif push is not None and "position" in push:  # others are about the connection
                if "notification" in push:  # and not a bookmark, which says only how far we are
                    self.take_temperature(push["notification"])
                self.position = push["position"]

    def take_command(self, command: dict[str, Any]) -> None:
        """Show what became of our command. Others may send some to the same thermostat."""
        if command["id"] != self.command or command["status"] is None or self.status is not None:
            return
        self.status = command["status"]
        print(f"{self.status}: {command['result']}", flush=True)
        if self.status != "done":
            raise SystemExit(1)

    def take_temperature(self, notification: dict[str, Any]) -> None:
        """Show a temperature."""
        now = notification["parameters"]
        print(f"{self.device}: {now['temperature']} (target {now['target']})", flush=True)
        self.reached = now["temperature"] == now["target"] == self.target


def main() -> None:
    parser = argparse.ArgumentParser(description="Set a thermostat, and show its temperature until it is reached.")
    parser.add_argument("device", help="the id of the thermostat")
    parser.add_argument("target", type=float, help="degrees")
    options = parser.parse_args()
    asyncio.run(until_told_to_stop(stay_connected(Controller(options.device, options.target).serve)))


if __name__ == "__main__":
    main()
