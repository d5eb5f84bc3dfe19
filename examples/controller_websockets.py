"""A controller, with the library `websockets` alone: sets a thermostat, and shows its temperature until it is reached.

    HIVEWIRE_PASSWORD=... python controller_websockets.py thermostat-1 21.5

A thermostat that is off gets the command as soon as it is back. After a lost connection the controller sends it again:
under one `idempotencyKey` it is inserted, and done, once.

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in plain_socket.py.
"""

import argparse
import uuid
from typing import Any

from plain_socket import ClientConnection, ask, receive, run, send


class Controller:
    """One command for one thermostat."""

    def __init__(self, device: str, target: float) -> None:
        self.device, self.target = device, target
        self.key = str(uuid.uuid4())
        self.command: int | None = None  # its number, once it is sent
        self.status: str | None = None  # how it went

    async def serve(self, socket: ClientConnection) -> None:
        """One connection: follow the thermostat, send the command, and see how it goes."""
        about = {"deviceId": self.device}
        await ask(socket, "notification/subscribe", **about, names=["temperature"])
        await ask(socket, "command/subscribe", **about, names=["set"], returnUpdatedCommands=True)
        command = {"command": "set", "parameters": {"target": self.target}, "idempotencyKey": self.key}
        number = (await ask(socket, "command/insert", **about, command=command))["command"]["id"]
        if self.command is None:
            print(f"sent: set {self.target}", flush=True)
        self.command = number
        await send(socket, "command/get", **about, commandId=number)  # what was done before is not pushed any more
        reached = False
        while self.status is None or not reached:
            frame = await receive(socket)
            if "command" in frame:
                self.show_command(frame["command"])
            elif "notification" in frame:
                reached = self.show_temperature(frame["notification"]["parameters"])

    def show_command(self, command: dict[str, Any]) -> None:
        """Show what became of our command. Others may send some to the same thermostat."""
        if command["id"] != self.command or command["status"] is None or self.status is not None:
            return
        self.status = command["status"]
        print(f"{self.status}: {command['result']}", flush=True)
        if self.status != "done":
            raise SystemExit(1)

    def show_temperature(self, now: dict[str, Any]) -> bool:
        """Show a temperature. Whether it is what was asked for."""
        print(f"{self.device}: {now['temperature']} (target {now['target']})", flush=True)
        return bool(now["temperature"] == now["target"] == self.target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Set a thermostat, and show its temperature until it is reached.")
    parser.add_argument("device", help="the id of the thermostat")
    parser.add_argument("target", type=float, help="degrees")
    options = parser.parse_args()
    run(Controller(options.device, options.target).serve)


if __name__ == "__main__":
    main()
