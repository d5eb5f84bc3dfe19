"""A controller, with the Python client: sets a thermostat, and shows its temperature until it is reached.

    HIVEWIRE_PASSWORD=... python controller_client.py thermostat-1 21.5

A thermostat that is off gets the command as soon as it is back. The controller may lose its connection meanwhile: the
command is sent once all the same, and no temperature is missed.

HIVEWIRE_URL, HIVEWIRE_TOKEN, HIVEWIRE_LOGIN and HIVEWIRE_PASSWORD are as in connected.py.
"""

import argparse
import asyncio

from connected import connected
from hivewire_client import Hivewire


async def control(hw: Hivewire, device: str, target: float) -> None:
    """Send the command, show what became of it, then the temperatures."""
    temperatures = hw.notifications(device, names=["temperature"])
    await temperatures.follow()  # from here on nothing is missed
    updates = hw.commands(device, names=["set"], updates=True)
    await updates.follow()
    number = await hw.insert_command(device, "set", {"target": target})
    print(f"sent: set {target}", flush=True)
    async for command in updates:
        if command.id == number:  # others may send some to the same thermostat
            print(f"{command.status}: {command.result}", flush=True)
            break
    if command.status != "done":
        raise SystemExit(1)
    async for notification in temperatures:
        now = notification.parameters
        print(f"{device}: {now['temperature']} (target {now['target']})", flush=True)
        if now["temperature"] == now["target"] == target:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description="Set a thermostat, and show its temperature until it is reached.")
    parser.add_argument("device", help="the id of the thermostat")
    parser.add_argument("target", type=float, help="degrees")
    options = parser.parse_args()
    asyncio.run(connected(lambda hw: control(hw, options.device, options.target)))


if __name__ == "__main__":
    main()
