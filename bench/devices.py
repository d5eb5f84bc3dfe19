"""The load of devices and of those who follow them.

Like `bench.watchers` it speaks raw frames from a process of its own, checks every one, and prints one JSON object. What
is compared takes turns within the process, after each message: the speed of a shared machine changes from second to
second.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from bench.generator import SUCCESS, device_of, insert_of
from bench.servers import obey
from bench.turns import fail, finish, lines
from bench.watchers import BOOKMARK, PUT, Latch, Watcher, masked_long

COUNTED = (SUCCESS, b'insert","subscriptionId"', b'update","subscriptionId"')
"""One of them is exactly once in every reply that is a success, and in every push. They are looked for one by one: an
expression for all took longer to look through a push than the gateway takes to make it."""
COMMANDED = re.compile(rb'"command/insert","subscriptionId":\d+,"command":{"id":(\d+),.*?"deviceId":"([^"]+)"')
"""The push of a new command: its number and its device."""

WARM = 10
"""Messages before those that are measured."""
WRITERS = 50
"""Connections that insert one message for each of many devices, so many in flight on each that all are sent at once."""


class Client(Watcher):
    """A client or a device: counts replies and pushes, and sees that they are nothing else."""

    def _count(self, data: bytes) -> None:
        found, whole = self._texts(data)
        bookmarks = whole.count(BOOKMARK)
        if sum([whole.count(one) for one in COUNTED]) + bookmarks != found:
            fail(whole)
        if found > bookmarks:
            self.received(found - bookmarks, whole)

    def received(self, frames: int, whole: bytes) -> None:
        """So many frames have come."""
        self._watched.take(frames, whole, self)

    def write(self, data: bytes) -> None:
        """Send frames that were made before."""
        self._transport.write(data)


class Device(Client):
    """A device that obeys: it updates each command that it is pushed."""

    def received(self, frames: int, whole: bytes) -> None:
        for number, device in COMMANDED.findall(whole):
            update = b'{"action":"command/update","requestId":2,"deviceId":"%b","commandId":%b,"command":%b}'
            self.write(masked_long(update % (device, number, b'{"status":"done","result":{"t":20.5}}')))
        super().received(frames, whole)


async def joined(options: Namespace, latch: Latch, count: int, kind: type[Client] = Client) -> list[Client]:
    """So many clients that have logged in."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: kind(options, latch), "127.0.0.1", options.port)
        await client.ready
        found.append(client)
    return found


async def following(clients: Sequence[Client], latch: Latch, request: Callable[[int], dict[str, Any]]) -> None:
    """Have each client subscribe to what the request for its number says."""
    ready = latch.expect(len(clients))
    for number, client in enumerate(clients):
        client.ask(**request(number))
    await ready


def commands_of(number: int, *, updated: bool = False) -> dict[str, Any]:
    """The subscription of a device to its own commands, or of a client to their updates."""
    return {"action": "command/subscribe", "deviceId": device_of(number), "returnUpdatedCommands": updated}


async def latency(options: Namespace) -> dict[str, Any]:
    """Seconds of an insert and a put until a subscriber has it, of two inserts one after the other, and of a command
    that its device updates, until its client has the update."""
    pushes, answers = Latch(), Latch()
    (follower,) = await joined(options, pushes, 1)
    (writer,) = await joined(options, answers, 1)
    (device,) = await joined(options, obeyed := Latch(), 1, Device)
    (client,) = await joined(options, updates := Latch(), 1)
    await following([follower], pushes, lambda _: {"action": "notification/subscribe", "deviceId": device_of(0)})
    put = {"action": "configuration/subscribe", "names": ["fan.*"], "snapshot": False}
    await following([follower], pushes, lambda _: put)
    await following([device], obeyed, lambda _: commands_of(1))
    await following([client], updates, lambda _: commands_of(1, updated=True))

    async def pushed(frame: bytes) -> float:
        everything, answer = pushes.expect(1), answers.expect(1)
        started = time.perf_counter()
        writer.write(frame)
        await everything
        taken = time.perf_counter() - started
        await answer
        return taken

    async def twice(frame: bytes) -> float:
        started = time.perf_counter()
        for _ in range(2):
            answer = answers.expect(1)
            writer.write(frame)
            await answer
        return time.perf_counter() - started

    async def loop(frame: bytes) -> float:
        updated, at_device = updates.expect(2), obeyed.expect(2)  # a push and a reply each
        started = time.perf_counter()
        client.write(frame)
        await updated
        taken = time.perf_counter() - started
        await at_device
        return taken

    notify, command, other = (
        masked_long(insert_of(what, at)) for what, at in (("notification", 0), ("command", 1), ("command", 2))
    )
    works = {
        "insert": functools.partial(pushed, notify),
        "put": functools.partial(pushed, masked_long(json.dumps(PUT).encode())),
        "twice": functools.partial(twice, other),
        "loop": functools.partial(loop, command),
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(options.messages + WARM):
        for name, work in works.items():
            taken = await work()
            if number >= WARM:
                found[name].append(taken)
    finish([follower, writer, device, client])
    return found


async def each(options: Namespace) -> dict[str, Any]:
    """Seconds until each of many devices has a command and all are answered, and of as many inserts for devices that
    nobody follows."""
    latch, answers, count = Latch(), Latch(), options.devices
    devices = await joined(options, latch, count)
    await following(devices, latch, commands_of)
    writers = await joined(options, answers, WRITERS)
    share = count // WRITERS

    def frames(first: int) -> list[bytes]:
        return [
            b"".join(masked_long(insert_of("command", first + writer * share + at)) for at in range(share))
            for writer in range(WRITERS)
        ]

    works = {"followed": (frames(0), count), "alone": (frames(count), 0)}
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(options.messages // 10 + 1):
        for name, (batches, pushes) in works.items():
            everything, answered = latch.expect(pushes), answers.expect(count)
            started = time.perf_counter()
            for writer, batch in zip(writers, batches, strict=True):
                writer.write(batch)
            await everything
            await answered
            if number:
                found[name].append(time.perf_counter() - started)
    finish([*devices, *writers])
    return found


async def fan(options: Namespace) -> dict[str, Any]:
    """Seconds until all who follow a network have a notification, of the same in a network that nobody follows, and
    of a raw fan-out by the server at `raw_port`."""
    latch, answers, count = Latch(), Latch(), options.devices
    raw = Namespace(port=options.raw_port, path="/", token="")
    members = await joined(raw, latch, count)
    followers = await joined(options, latch, count)
    await following(followers, latch, lambda _: {"action": "notification/subscribe", "networkIds": [1]})
    (raw_writer,), (writer,) = await joined(raw, answers, 1), await joined(options, answers, 1)
    notify = [masked_long(insert_of("notification", number)) for number in (0, 1)]
    works = {"raw": (raw_writer, notify[0], count), "fan": (writer, notify[0], count), "alone": (writer, notify[1], 0)}
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(options.messages + WARM):
        for name, (sender, frame, pushes) in works.items():
            everything, answer = latch.expect(pushes), answers.expect(1)
            started = time.perf_counter()
            sender.write(frame)
            await everything
            if not pushes:
                await answer
            taken = time.perf_counter() - started
            await answer
            if number >= WARM:
                found[name].append(taken)
    finish([*members, *followers, raw_writer, writer])
    return found


async def hold(options: Namespace) -> dict[str, Any]:
    """Hold sockets; with a line of input each subscribes as a device to its commands."""
    latch = Latch()
    devices = await joined(options, latch, options.devices)
    print(len(devices), flush=True)
    reader = await lines()
    while await reader.readline():
        await following(devices, latch, commands_of)
        print(len(devices), flush=True)
    finish(devices)
    return {}


class Poll(asyncio.Protocol):
    """A long poll of a device for its commands, which nothing may end."""

    def __init__(self, token: str, number: int) -> None:
        self.finished = False
        self._request = (
            f"GET /api/rest/device/{device_of(number)}/command/poll?waitTimeout=60 HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        )

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        fail(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished:
            fail(b"the server gave up a poll")


async def polls(options: Namespace) -> dict[str, Any]:
    """Hold long polls; each line of input says how many more, each line of output how many there are."""
    loop, reader = asyncio.get_running_loop(), await lines()
    held: list[Poll] = []
    while line := await reader.readline():
        for number in range(len(held), len(held) + int(line)):
            make = functools.partial(Poll, options.token, number)
            _, poll = await loop.create_connection(make, "127.0.0.1", options.port)
            held.append(poll)
        print(len(held), flush=True)
    for poll in held:
        poll.finished = True
    return {}


if __name__ == "__main__":
    obey(
        {"latency": latency, "each": each, "fan": fan, "hold": hold, "polls": polls},
        devices=1_000,
        messages=100,
        raw_port=0,
    )
