"""`python -m bench.fleet`: a fleet of devices over real sockets, to see how a gateway does with them.

Each device has a socket of its own, registers, follows its commands, reports every few seconds, and does each command
that it gets. A controller sends commands to devices at random and follows what becomes of them. Progress is printed
each second, a summary at the end or at Ctrl-C; the exit code is 1 when anything went wrong.

Without --url it starts a gateway of its own, on a core of its own where there are two. With --url it logs in with
HIVEWIRE_TOKEN, or HIVEWIRE_LOGIN (admin) and HIVEWIRE_PASSWORD, as an administrator; the devices are in a network of
their own, which is deleted at the end. All connections come from one address: the gateway's `connections`,
`connections_per_address` and limit of open files have to allow them.

    python -m bench.fleet --devices 5000
    python -m bench.fleet --devices 200 --every 0.2 --commands 500 --seconds 60
    HIVEWIRE_PASSWORD=... python -m bench.fleet --url https://gateway.example --devices 1000
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import resource
import secrets
import signal
import ssl
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench import servers
from bench.generator import PING, PONG, TEXT, masked
from bench.watchers import masked_long

ANSWER = 30.0
"""Seconds after which a gateway that has not answered counts as gone."""
AT_ONCE = 100
"""Devices that connect at the same time."""
CONNECTING = 120.0
"""Seconds until all devices have to be connected."""
LAST_ANSWERS = 10.0
"""Seconds at the end for the commands that are still on their way."""
KEPT = 100_000
"""Times of the latest commands, for the percentiles."""

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """The gateway refused a request."""


class Socket(asyncio.Protocol):
    """Requests with their answers, by raw frames; pushes go to a callable. All of it ends with `ConnectionError`."""

    def __init__(self, host: str, token: str, pushed: Callable[[dict[str, Any]], None]) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host, self._token, self._pushed = host, token, pushed
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._rest = b""
        self._open = False

    async def ask(self, action: str, **members: Any) -> dict[str, Any]:
        """One request and its answer. Raises Refused, ConnectionError, TimeoutError."""
        if self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        self._transport.write(masked_long(encode({"action": action, "requestId": self._number, **members})))
        async with asyncio.timeout(ANSWER):
            return await answer

    def close(self) -> None:
        """End it without waiting."""
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        head = ["GET /api/websocket HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade"]
        head += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        if self._token:
            head.append(f"Authorization: Bearer {self._token}")
        transport.write("\r\n".join([*head, "\r\n"]).encode())

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self._open:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._end(ConnectionError(head.partition(b"\r\n")[0].decode()))
                return
            self._open, self._rest = True, rest
            self.ready.set_result(None)
        for kind, payload in self._frames():
            if kind == TEXT:
                self._take(decode(payload))
            elif kind == PING:
                self._transport.write(masked(payload, PONG))
            else:
                self._end(ConnectionError(f"closed: {payload[2:].decode(errors='replace')}"))

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete."""
        data, position = self._rest, 0
        while len(data) - position >= 2:
            length, start = data[position + 1], position + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[position + 2 : start])
            if len(data) < start + length:
                break
            yield data[position], data[start : start + length]
            position = start + length
        self._rest = data[position:]

    def _take(self, frame: dict[str, Any]) -> None:
        number = frame.get("requestId")
        if number is None:
            self._pushed(frame)
        elif (answer := self._waiting.pop(number, None)) is not None and not answer.done():
            if frame["status"] == "success":
                answer.set_result(frame)
            else:
                answer.set_exception(Refused(f"{frame['code']} {frame['error']}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError(str(exc or "closed")))

    def _end(self, error: ConnectionError) -> None:
        self._transport.abort()
        waiting: list[asyncio.Future[Any]] = [self.ready, *self._waiting.values()]
        self._waiting.clear()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # whoever waits still gets it; nobody has to


class Fleet:
    """The devices and the controller of a run, and what has been counted so far."""

    def __init__(self, options: argparse.Namespace, url: str) -> None:
        self.options = options
        self.address = urllib.parse.urlsplit(url)
        self.tls = ssl.create_default_context() if self.address.scheme == "https" else None
        self.token = ""
        self.network = 0
        self.names = [f"fleet-{secrets.token_hex(4)}-{number}" for number in range(options.devices)]
        self.began = ""
        self.done: dict[str, str] = {}
        self.position = ""
        self.connecting = asyncio.Semaphore(AT_ONCE)
        self.online: set[str] = set()
        self.reports = self.sent = self.answered = 0
        self.times: deque[float] = deque(maxlen=KEPT)
        self.waiting: dict[int, float] = {}
        self.errors: Counter[str] = Counter()
        self.sending = self.ending = False

    async def begin(self, login: str, password: str, token: str) -> None:
        """Log in and make the network of the devices, and a token that lasts for the run."""
        socket = await self.connect(lambda push: None)
        token = token or (await socket.ask("token", login=login, password=password))["accessToken"]
        await socket.ask("authenticate", token=token)
        user = (await socket.ask("user/getCurrent"))["current"]["id"]
        end = datetime.now(UTC) + timedelta(seconds=self.options.seconds + 3_600)
        everything = {"actions": ["*"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
        given = {"userId": user, "expiration": end.strftime("%Y-%m-%dT%H:%M:%S"), **everything}
        self.token = (await socket.ask("token/create", payload=given))["accessToken"]
        self.began = (await socket.ask("server/info"))["info"]["serverTimestamp"]
        network = {"name": self.names[0].rpartition("-")[0], "description": "Simulated devices"}
        self.network = (await socket.ask("network/insert", network=network))["network"]["id"]
        socket.close()

    async def end(self) -> None:
        """Remove what the run has made."""
        socket = await self.connect(lambda push: None)
        await socket.ask("network/delete", networkId=self.network, force=True)
        socket.close()

    async def connect(self, pushed: Callable[[dict[str, Any]], None]) -> Socket:
        """A socket that is logged in."""
        host, port = self.address.hostname or "", self.address.port or (443 if self.tls else 80)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER):
            _, socket = await loop.create_connection(
                lambda: Socket(self.address.netloc, self.token, pushed), host, port, ssl=self.tls
            )
            await socket.ready
        return socket

    def failed(self, error: BaseException) -> None:
        """Count an error, unless it is the end of the run."""
        if not self.ending:
            self.errors[str(error) or type(error).__name__] += 1

    async def device(self, name: str) -> None:
        """One device, over as many connections as it takes."""
        while not self.ending:
            socket = None
            commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            try:
                async with self.connecting:
                    socket = await self.connect(commands.put_nowait)
                    about = {"name": "Simulated", "networkId": self.network}
                    await socket.ask("device/save", deviceId=name, device=about)
                    # A device that comes back gets the commands of meanwhile first.
                    await socket.ask("command/subscribe", deviceId=name, timestamp=self.done.get(name), limit=0)
                self.done.setdefault(name, self.began)
                self.online.add(name)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.report(name, socket))
                    group.create_task(self.obey(name, socket, commands))
            except* (OSError, TimeoutError, Refused) as group_error:
                for error in group_error.exceptions:
                    self.failed(error)
            finally:
                self.online.discard(name)
                if socket is not None:
                    socket.close()
            await asyncio.sleep(random.uniform(0.5, 2))  # not all at once

    async def report(self, name: str, socket: Socket) -> None:
        """Report for as long as the connection lasts."""
        temperature = 20.0
        await asyncio.sleep(random.uniform(0, self.options.every))
        while True:
            temperature += random.uniform(-0.5, 0.5)
            notification = {"notification": "temperature", "parameters": {"temperature": round(temperature, 1)}}
            await socket.ask("notification/insert", deviceId=name, notification=notification)
            self.reports += 1
            await asyncio.sleep(self.options.every)

    async def obey(self, name: str, socket: Socket, commands: asyncio.Queue[dict[str, Any]]) -> None:
        """Do the commands one after the other."""
        while True:
            command = (await commands.get())["command"]
            outcome = {"status": "done", "result": command["parameters"]}
            await socket.ask("command/update", deviceId=name, commandId=command["id"], command=outcome)
            self.done[name] = command["timestamp"]

    async def control(self) -> None:
        """Send commands to devices that are online, over as many connections as it takes."""
        while not self.ending:
            socket = None
            try:
                socket = await self.connect(self.updated)
                about = {"networkIds": [self.network], "returnUpdatedCommands": True}
                since = {"since": self.position} if self.position else {"resumable": True}
                reply = await socket.ask("command/subscribe", **about, **since)
                self.position = self.position or reply["position"]
                async with asyncio.TaskGroup() as group:
                    due = time.perf_counter()
                    while True:
                        due += 1 / self.options.commands
                        await asyncio.sleep(max(0, due - time.perf_counter()))
                        if self.sending:
                            self.sent += 1
                            self.waiting[self.sent] = time.perf_counter()
                            group.create_task(self.send(socket, self.sent))
            except* (OSError, TimeoutError, Refused) as group_error:
                for error in group_error.exceptions:
                    self.failed(error)
            finally:
                if socket is not None:
                    socket.close()
            await asyncio.sleep(1)

    async def send(self, socket: Socket, number: int) -> None:
        """Send one command."""
        command = {"command": "set", "parameters": {"number": number}}
        try:
            await socket.ask("command/insert", deviceId=random.choice(self.names), command=command)
        except Refused as error:
            self.waiting.pop(number, None)
            self.failed(error)
        except BaseException:
            self.waiting.pop(number, None)  # nobody knows whether it was inserted
            raise

    def updated(self, push: dict[str, Any]) -> None:
        """A device has done a command, unless it is a bookmark."""
        self.position = push["position"]
        if "command" not in push:
            return
        started = self.waiting.pop(push["command"]["parameters"]["number"], None)
        if started is not None:
            self.answered += 1
            self.times.append(time.perf_counter() - started)

    def percentiles(self) -> str:
        """Of the latest commands."""
        if len(self.times) < 2:
            return "p50 -, p99 -"
        cuts = statistics.quantiles(self.times, n=100)
        return f"p50 {1_000 * cuts[49]:.1f} ms, p99 {1_000 * cuts[98]:.1f} ms"

    async def progress(self) -> None:
        """A line each second."""
        reports, answered, second = self.reports, self.answered, 0
        while True:
            await asyncio.sleep(1)
            second += 1
            rates = f"{self.reports - reports:,} reports/s   {self.answered - answered:,} commands/s"
            online = f"{len(self.online):,} of {len(self.names):,} online"
            print(
                f"{second:4} s   {online}   {rates}   {self.percentiles()}   {self.errors.total():,} errors", flush=True
            )
            reports, answered = self.reports, self.answered


async def run(fleet: Fleet, memory: Callable[[], int] | None) -> bool:
    """Run the fleet until its time is over or a signal comes, and print the summary. Whether all went well."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    before = memory() if memory else 0
    began = time.perf_counter()
    tasks = [asyncio.create_task(fleet.device(name)) for name in fleet.names]
    tasks.append(asyncio.create_task(fleet.progress()))
    while len(fleet.online) < len(fleet.names) and not stopped.is_set() and time.perf_counter() - began < CONNECTING:
        await asyncio.sleep(0.05)
    connected, joining = len(fleet.online), time.perf_counter() - began
    grown = memory() - before if memory else 0
    first, reports = time.perf_counter(), fleet.reports
    if fleet.options.commands:
        fleet.sending = True
        tasks.append(asyncio.create_task(fleet.control()))
    with suppress(TimeoutError):
        async with asyncio.timeout(fleet.options.seconds):
            await stopped.wait()
    seconds, reports = time.perf_counter() - first, fleet.reports - reports
    fleet.sending = False
    end = time.perf_counter() + LAST_ANSWERS
    while fleet.waiting and time.perf_counter() < end:
        await asyncio.sleep(0.02)
    fleet.ending = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    print(f"{connected:,} of {len(fleet.names):,} devices connected within {joining:.1f} s")
    print(f"{reports / seconds:,.0f} reports/s for {seconds:.0f} s ({reports:,}, each durable before its answer)")
    done = f"{fleet.answered:,} of them done, {len(fleet.waiting):,} not yet"
    print(f"{fleet.sent:,} commands sent, {done}; from request to result: {fleet.percentiles()}")
    if memory and connected:
        print(f"{grown / connected:.1f} KiB of the gateway's memory for each device, its connection included")
    for text, count in fleet.errors.most_common(5):
        print(f"{count:,} x {text}")
    print(f"{fleet.errors.total():,} errors")
    return connected == len(fleet.names) and not fleet.errors and not fleet.waiting


async def simulate(options: argparse.Namespace) -> bool:
    """The whole run, on a gateway that is there or on one of its own."""
    if options.url:
        fleet = Fleet(options, options.url)
        login, password = os.environ.get("HIVEWIRE_LOGIN", "admin"), os.environ.get("HIVEWIRE_PASSWORD", "")
        await fleet.begin(login, password, os.environ.get("HIVEWIRE_TOKEN", ""))
        try:
            return await run(fleet, None)
        finally:
            await fleet.end()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hivewire-fleet-")))
        server = stack.enter_context(servers.gateway(folder / "fleet.db", own_group=True))
        servers.pin(servers.GENERATOR_CORES)
        fleet = Fleet(options, f"http://127.0.0.1:{server.port}")
        await fleet.begin("admin", servers.PASSWORD, "")
        return await run(fleet, server.rss)


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1_000, metavar="N", help="how many (1000)")
    parser.add_argument("--seconds", type=float, default=20, help="how long, once all are connected (20)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="between reports of a device (5)")
    parser.add_argument("--commands", type=float, default=50, metavar="RATE", help="commands a second, 0 for none (50)")
    parser.add_argument("--url", default="", help="a gateway that is running; default: one of its own")
    options = parser.parse_args()
    if options.devices < 1 or options.seconds <= 0 or options.every <= 0 or options.commands < 0:
        parser.error("--devices, --seconds and --every must be positive, --commands not negative")
    if options.url and not (os.environ.get("HIVEWIRE_PASSWORD") or os.environ.get("HIVEWIRE_TOKEN")):
        parser.error("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        well = uvloop.run(simulate(options))
    except (OSError, Refused, RuntimeError) as error:
        raise SystemExit(f"the fleet could not start: {error or 'no answer'}") from None
    sys.exit(not well)


if __name__ == "__main__":
    main()
