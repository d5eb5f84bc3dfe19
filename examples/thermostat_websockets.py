"""A thermostat, with the `websockets` library: a device that reports its temperature and obeys the command `set`.

    HIVEWIRE_PASSWORD=... python thermostat_websockets.py thermostat-1

A command that is sent while it is off or without a connection waits at the gateway for a day. The file of the
thermostat (thermostat-1.json) has the position of the last command that is done, from which it resumes: so it obeys
every command, and in order, also after a restart. One that it was busy with when it was cut off is done again, so a
command should be one that may be: "20.5 degrees", and not "half a degree more".

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in gateway_socket.py.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from gateway_socket import Gateway, Refused, stay_connected, until_told_to_stop

STEP = 0.5  # degrees between two reports


class Thermostat:
    """What it measures, what it was told, and the position of the last command that it has done."""

    def __init__(self, device: str, file: Path, every: float) -> None:
        self.device, self.file, self.every = device, file, every
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.target: float = kept.get("target", 20.0)
        self.position: str | None = kept.get("position")
        self.temperature = 20.0

    async def serve(self, gateway: Gateway) -> None:
        """One connection: register, then report and obey until it is lost."""
        try:
            await gateway.ask("device/get", deviceId=self.device)
        except Refused:  # it is new. A save of one that is there would replace its name and `data`
            await gateway.ask("device/save", deviceId=self.device, device={"name": "Thermostat"})
        since = {"since": self.position} if self.position else {"resumable": True}
        reply = await gateway.ask("command/subscribe", deviceId=self.device, names=["set"], **since)
        print(f"{self.device} is connected", flush=True)
        # After `since` follows what came later; if that cannot be said any more (`reset`), all commands that are kept.
        if reply["mode"] == "live":  # a thermostat without a memory: what is new follows, and this is what is not
            stored = await gateway.ask("command/list", deviceId=self.device, names=["set"], take=1_000)
            for command in stored["commands"]:
                await self.obey(gateway, command)
            self.keep(reply["position"])
        while True:
            await self.report(gateway)
            push = await gateway.push(self.every)
            if push is not None and "position" in push:  # others are about the connection
                if "command" in push:  # and not a bookmark, which says only how far we are
                    await self.obey(gateway, push["command"])
                self.keep(push["position"])

    async def report(self, gateway: Gateway) -> None:
        """Tell the temperature. When the answer is there, the report is stored."""
        self.temperature += max(-STEP, min(STEP, self.target - self.temperature))
        parameters = {"temperature": round(self.temperature, 1), "target": self.target}
        notification = {"notification": "temperature", "parameters": parameters}
        await gateway.ask("notification/insert", deviceId=self.device, notification=notification)

    async def obey(self, gateway: Gateway, command: dict[str, Any]) -> None:
        """Do a command and say what came of it, unless it was done before."""
        # A push has the command as it was sent: after a `reset`, or if we have just read it, it may be done since.
        about = {"deviceId": self.device, "commandId": command["id"]}
        if (await gateway.ask("command/get", **about))["command"]["status"] is not None:
            return
        target = (command["parameters"] or {}).get("target")
        if isinstance(target, int | float) and 5 <= target <= 30:
            self.target = float(target)
            outcome = {"status": "done", "result": {"target": self.target}}
        else:
            outcome = {"status": "failed", "result": {"reason": "the target must be a number from 5 to 30"}}
        self.save()  # before the answer: what is said to be done is done, also after a power cut
        await gateway.ask("command/update", **about, command=outcome)
        print(f"set {target}: {outcome['status']}", flush=True)

    def keep(self, position: str) -> None:
        """Resume from here the next time: everything before it is done."""
        self.position = position
        self.save()

    def save(self) -> None:
        """Replace the file atomically: after a crash it is the old one or the new one."""
        temporary = self.file.with_name(f".{self.file.name}")
        with temporary.open("w") as handle:
            json.dump({"target": self.target, "position": self.position}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(self.file)


def main() -> None:
    parser = argparse.ArgumentParser(description="A thermostat that reports its temperature and can be set.")
    parser.add_argument("device", nargs="?", default="thermostat-1", help="its id (thermostat-1)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="time between two reports (5)")
    parser.add_argument("--file", type=Path, help="what it remembers (DEVICE.json in this directory)")
    options = parser.parse_args()
    thermostat = Thermostat(options.device, options.file or Path(f"{options.device}.json"), options.every)
    asyncio.run(until_told_to_stop(stay_connected(thermostat.serve)))


if __name__ == "__main__":
    main()
