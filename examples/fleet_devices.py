"""Simulated devices for fleet.sh: each registers itself, follows its configurations, and reports.

Every 20th refuses a baud rate over 38400, and every 25th falls silent after it got one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import websockets


def hivewire(*arguments: str) -> str:
    """What the command prints."""
    return subprocess.run(["hivewire", *arguments], check=True, capture_output=True, text=True).stdout.strip()


async def main(count: int, layer: str) -> None:
    """Run so many devices until they are stopped, and delete them then."""
    if (running := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    url = json.loads(hivewire("status", "--json"))["url"].replace("http", "ws", 1) + "/api/websocket"
    admin = hivewire("token", "--action", "*")
    ids = [f"{layer}-{number}" for number in range(count)]
    async with websockets.connect(url) as socket:

        async def ask(action: str, **members: object) -> dict[str, object]:
            await socket.send(json.dumps({"action": action, **members}))
            reply = json.loads(await socket.recv())
            if reply["status"] != "success":
                raise RuntimeError(reply["error"])
            return dict(reply)

        await ask("authenticate", token=admin)
        user = (await ask("user/getCurrent"))["current"]["id"]
        rights = {"actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"], "deviceIds": ids}
        try:
            for device in ids:
                await ask("device/save", deviceId=device, device={"name": device})
                await ask("device/label", deviceId=device, labels={"fleet": layer})
            token = (await ask("token/create", payload={"userId": user, **rights}))["accessToken"]
            await asyncio.gather(*(simulate(url, token, device, number) for number, device in enumerate(ids)))
        finally:
            for device in ids:
                await ask("device/delete", deviceId=device)


async def simulate(url: str, token: object, device: str, number: int) -> None:
    """One device, which connects again whenever its connection is lost."""
    async for socket in websockets.connect(url):
        try:
            await socket.send(json.dumps({"action": "authenticate", "token": token}))
            await socket.send(json.dumps({"action": "configuration/subscribe", "deviceId": device}))
            async for text in socket:
                if report := answer(json.loads(text), number):
                    await socket.send(json.dumps({"action": "device/report", "deviceId": device, "report": report}))
        except websockets.ConnectionClosed:
            continue


def answer(frame: dict[str, Any], number: int) -> list[dict[str, object]]:
    """What a device says of the configurations in a frame."""
    report = []
    for each in frame.get("configurations", []) + [frame[name] for name in frame if name == "configuration"]:
        fast = each["name"] == "baud" and int(each["value"] or 0) > 38_400
        if fast and number % 25 == 1:
            continue  # it has killed the device, which says nothing any more
        refusal = {"error": "unsupported rate"} if fast and number % 20 == 0 else {}
        report.append({"name": each["name"], "tag": each["tag"], **refusal})
    return report


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
