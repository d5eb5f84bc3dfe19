"""A thermostat, with the library `websockets` alone: it reports its temperature and obeys the command `set`.

    HIVEWIRE_PASSWORD=... python thermostat_websockets.py thermostat-1

A command that is sent while it is off or without a connection waits at the gateway for a day. It is not done as long as
its status is null, so the thermostat needs no memory. One that it was busy with when it was cut off is done again.

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in plain_socket.py.
"""

import argparse
import asyncio
from collections import deque
from typing import Any

from plain_socket import ClientConnection, Refused, ask, receive, run, send

STEP = 0.5  # degrees between two reports


class Thermostat:
    """What it measures, and what it was told."""

    def __init__(self, device: str, every: float) -> None:
        self.device, self.every = device, every
        self.temperature = self.target = 20.0
        self.done: deque[int] = deque(maxlen=1_000)  # a command may be in the list and be pushed as well

    async def serve(self, socket: ClientConnection) -> None:
        """One connection: register, then report and obey until it is lost."""
        try:
            await ask(socket, "device/get", deviceId=self.device)
        except Refused:  # it is new. A save of one that is there would replace its name and `data`
            await ask(socket, "device/save", deviceId=self.device, device={"name": "Thermostat"})
        await ask(socket, "command/subscribe", deviceId=self.device, names=["set"])
        await send(socket, "command/list", deviceId=self.device, take=1_000)  # what was sent before
        print(f"{self.device} is connected", flush=True)
        reporting = asyncio.create_task(self.report(socket))
        try:
            while True:
                frame = await receive(socket)
                pushed = [frame["command"]] if frame["action"] == "command/insert" else []
                for command in frame.get("commands", pushed):
                    if command["command"] == "set" and command["status"] is None and command["id"] not in self.done:
                        await self.obey(socket, command)
        finally:
            reporting.cancel()

    async def report(self, socket: ClientConnection) -> None:
        """Tell the temperature again and again."""
        while True:
            self.temperature += max(-STEP, min(STEP, self.target - self.temperature))
            parameters = {"temperature": round(self.temperature, 1), "target": self.target}
            notification = {"notification": "temperature", "parameters": parameters}
            await send(socket, "notification/insert", deviceId=self.device, notification=notification)
            await asyncio.sleep(self.every)

    async def obey(self, socket: ClientConnection, command: dict[str, Any]) -> None:
        """Do a command, and say what came of it."""
        target = (command["parameters"] or {}).get("target")
        if isinstance(target, int | float) and 5 <= target <= 30:
            self.target = float(target)
            outcome = {"status": "done", "result": {"target": self.target}}
        else:
            outcome = {"status": "failed", "result": {"reason": "the target must be a number from 5 to 30"}}
        self.done.append(command["id"])
        await send(socket, "command/update", deviceId=self.device, commandId=command["id"], command=outcome)
        print(f"set {target}: {outcome['status']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A thermostat that reports its temperature and can be set.")
    parser.add_argument("device", nargs="?", default="thermostat-1", help="its id (thermostat-1)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="time between two reports (5)")
    options = parser.parse_args()
    run(Thermostat(options.device, options.every).serve)


if __name__ == "__main__":
    main()
