"""Simulated devices for fleet.sh: each registers itself, follows its configurations, and reports.

Every 20th refuses a baud rate over 38400, and every 25th falls silent after it got one.
"""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress

from hivewire_client import Hivewire


def hivewire(*arguments: str) -> str:
    """What the command prints."""
    return subprocess.run(["hivewire", *arguments], check=True, capture_output=True, text=True).stdout.strip()


async def main(count: int, layer: str) -> None:
    """Run so many devices until they are stopped, and delete them then."""
    if (running := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    url = json.loads(hivewire("status", "--json"))["url"]
    ids = [f"{layer}-{number}" for number in range(count)]
    async with Hivewire(url, token=hivewire("token", "--action", "*"), names=[]) as hw:
        user = (await hw.call("user/getCurrent"))["current"]["id"]
        rights = {"actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"], "deviceIds": ids}
        try:
            for device in ids:
                await hw.call("device/save", deviceId=device, device={"name": device})
                await hw.call("device/label", deviceId=device, labels={"fleet": layer})
            token = (await hw.call("token/create", payload={"userId": user, **rights}))["accessToken"]
            await asyncio.gather(*(simulate(url, token, device, number) for number, device in enumerate(ids)))
        finally:
            for device in ids:
                await hw.call("device/delete", deviceId=device)


async def simulate(url: str, token: str, name: str, number: int) -> None:
    """One device, on a connection of its own."""
    async with Hivewire(url, token=token, names=[]) as hw, hw.device(name) as device:
        async for change in device.configuration():
            fast = change.name == "baud" and int(change.value or 0) > 38_400
            if fast and number % 25 == 1:
                continue  # it has killed the device, which says nothing any more
            if fast and number % 20 == 0:
                change.refused("unsupported rate")
            else:
                change.applied()


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
