"""A thermostat, with the Python client: a device that reports its temperature and obeys the command `set`.

    HIVEWIRE_PASSWORD=... python thermostat_client.py thermostat-1

A command that is sent while it is off or without a connection waits at the gateway for a day. The file of the
thermostat (thermostat-1.json) has the position of the last command that is done, from which it resumes: so it obeys
every command, and in order, also after a restart. One that it was busy with when it was cut off is done again, so a
command should be one that may be: "20.5 degrees", and not "half a degree more".

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in connected.py.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from connected import connected
from hivewire_client import Hivewire, Refused, Unavailable

STEP = 0.5  # degrees between two reports


class Thermostat:
    """What it measures, what it was told, and the position of the last command that it has done."""

    def __init__(self, device: str, file: Path, every: float) -> None:
        self.device, self.file, self.every = device, file, every
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.target: float = kept.get("target", 20.0)
        self.position: str | None = kept.get("position")
        self.temperature = 20.0

    async def work(self, hw: Hivewire) -> None:
        """Register, then report and obey."""
        try:
            await hw.call("device/get", deviceId=self.device)
        except Refused:  # it is new. A save of one that is there would replace its name and `data`
            await hw.call("device/save", deviceId=self.device, device={"name": "Thermostat"})
        commands = hw.commands(self.device, names=["set"], since=self.position)
        await commands.follow()
        print(f"{self.device} is connected", flush=True)
        if self.position is None:  # a thermostat without a memory: what is new follows, and this is what is not
            stored = await hw.call("command/list", deviceId=self.device, names=["set"], take=1_000)
            for each in stored["commands"]:
                await self.obey(hw, each["id"], each["parameters"])
        reporting = asyncio.create_task(self.report(hw))
        try:
            async for command in commands:
                await self.obey(hw, command.id, command.parameters)
                self.keep(command.position)
        finally:
            reporting.cancel()

    async def report(self, hw: Hivewire) -> None:
        """Tell the temperature again and again. When the answer is there, it is stored."""
        while True:
            self.temperature += max(-STEP, min(STEP, self.target - self.temperature))
            parameters = {"temperature": round(self.temperature, 1), "target": self.target}
            try:
                await hw.insert_notification(self.device, "temperature", parameters)
            except Unavailable:
                pass  # no gateway for a while: the next temperature is newer
            await asyncio.sleep(self.every)

    async def obey(self, hw: Hivewire, number: int, parameters: dict[str, Any] | None) -> None:
        """Do a command and say what came of it, unless it was done before."""
        # A push has the command as it was sent: after a `reset`, or if we have just read it, it may be done since.
        about = {"deviceId": self.device, "commandId": number}
        if (await hw.call("command/get", **about))["command"]["status"] is not None:
            return
        target = (parameters or {}).get("target")
        if isinstance(target, int | float) and 5 <= target <= 30:
            self.target = float(target)
            outcome = {"status": "done", "result": {"target": self.target}}
        else:
            outcome = {"status": "failed", "result": {"reason": "the target must be a number from 5 to 30"}}
        self.save()  # before the answer: what is said to be done is done, also after a power cut
        await hw.call("command/update", **about, command=outcome)
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
    asyncio.run(connected(thermostat.work))


if __name__ == "__main__":
    main()
