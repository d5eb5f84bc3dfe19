"""The load of subscribers: what one put costs with many of them, and how fast changes come live and after a resume.

Like `bench.generator` it speaks raw frames from a process of its own, checks every one, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import Any

from bench.generator import SUCCESS, VALUE, Connection, masked
from bench.servers import obey
from bench.turns import fail, finish, lines

PUT = {"action": "configuration/put", "requestId": 12345, "name": "fan.1", "value": "v" * 20}
UPDATE, BOOKMARK = b'"action":"configuration/update"', b'"action":"configuration/bookmark"'


class Watcher(Connection):
    """A connection that counts down a latch, shared with others, for each frame that it receives.

    Replies have to be successes, and updates to have the value. Bookmarks are not counted, because they come by time.
    """

    def __init__(self, options: argparse.Namespace, latch: Latch, requests: list[bytes] | None = None) -> None:
        super().__init__(options.path, options.token or None, requests or [], None)
        self._watched = latch

    def _count(self, data: bytes) -> None:
        found, whole = self._texts(data)
        updates, bookmarks = whole.count(UPDATE), whole.count(BOOKMARK)
        if whole.count(SUCCESS) + updates + bookmarks != found or whole.count(VALUE) < updates:
            fail(whole)
        if found > bookmarks:
            self._watched.take(found - bookmarks, whole, self)

    def ask(self, **request: Any) -> None:
        self._transport.write(masked_long(json.dumps(request).encode()))


def masked_long(text: bytes) -> bytes:
    """A client's frame, masked with zeros where it is long: masking costs time and proves nothing here."""
    if len(text) < 126:
        return masked(text)
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text


class Latch:
    """Waits for a number of frames from all watchers together."""

    def __init__(self) -> None:
        self.left = 0
        self.done: asyncio.Future[None] | None = None
        self.data: dict[Watcher, bytes] = {}
        self.keep = False

    def expect(self, frames: int) -> asyncio.Future[None]:
        """A future that is done when that many frames have arrived."""
        self.left = frames
        self.done = asyncio.get_running_loop().create_future()
        if not frames:
            self.done.set_result(None)
        return self.done

    def take(self, frames: int, data: bytes, watcher: Watcher) -> None:
        if self.keep:
            self.data[watcher] = self.data.get(watcher, b"") + data
        self.left -= frames
        if self.left < 0:
            fail(b"more than was expected: " + data)
        if not self.left and self.done is not None and not self.done.done():
            self.done.set_result(None)


async def watch(options: argparse.Namespace, latch: Latch, count: int, patterns: list[str | None]) -> list[Watcher]:
    """This many watchers, subscribed without a snapshot (with pattern None: connected only)."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        _, watcher = await loop.create_connection(lambda: Watcher(options, latch), "127.0.0.1", options.port)
        await watcher.ready
        found.append(watcher)
    if options.token and patterns != [None]:
        ready = latch.expect(count)
        for number, watcher in enumerate(found):
            pattern = patterns[number % len(patterns)]
            watcher.ask(action="configuration/subscribe", requestId=1, names=[pattern], snapshot=False)
        await ready
    return found


async def fan(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from sending a put until the last push of it has come, for each of `puts` one after the other."""
    latch, answers = Latch(), Latch()
    matching = options.kind != "others"
    patterns: list[str | None] = ["fan.*"] if matching else [f"other.{n}.*" for n in range(options.watchers)]
    watchers = await watch(options, latch, options.watchers, patterns if options.watchers else [None])
    there = argparse.Namespace(**{**vars(options), "port": options.writer_port or options.port})
    (writer,) = await watch(there, answers, 1, [None])
    stalled = await stop_reading(options) if options.stalled else []
    if options.fill:
        await fill(writer, answers, options.fill)
    frame = masked_long(json.dumps(PUT).encode())
    pushed, answered = [], []
    for number in range(options.puts + 10):
        everything = latch.expect(len(watchers) if matching else 0)
        answer = answers.expect(1)
        started = time.perf_counter()
        writer._transport.write(frame)
        await everything
        last = time.perf_counter()
        await answer
        if number >= 10:
            pushed.append(last - started)
            answered.append(time.perf_counter() - started)
    finish([*watchers, writer, *stalled])
    return {"pushed": pushed, "answered": answered}


async def stop_reading(options: argparse.Namespace) -> list[Watcher]:
    """One more watcher, of everything, that does not read."""
    latch = Latch()
    (stalled,) = await watch(options, latch, 1, ["*"])
    stalled._transport.pause_reading()
    return [stalled]


async def fill(writer: Watcher, answers: Latch, megabytes: int) -> None:
    """Put this many megabytes, in large values, under a name that only the slow reader watches."""
    value = "v" * 60_000
    text = json.dumps({**PUT, "name": "big", "value": value}).encode()
    frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
    for _ in range((megabytes << 20) // len(value)):
        answer = answers.expect(1)
        writer._transport.write(frame)
        await answer


async def hold(options: argparse.Namespace) -> dict[str, Any]:
    """Hold idle connections; each line of input is a number of subscriptions that each of them makes, of its own."""
    latch, made = Latch(), 0
    watchers = await watch(options, latch, options.watchers, [None])
    print(len(watchers), flush=True)
    reader = await lines()
    while line := await reader.readline():
        for _ in range(int(line)):
            ready, made = latch.expect(len(watchers)), made + 1
            for number, watcher in enumerate(watchers):
                names = [f"held.{number}.{made}.*"]
                watcher.ask(action="configuration/subscribe", requestId=1, names=names, snapshot=False)
            await ready
        print(made, flush=True)
    finish(watchers)
    return {}


async def resume(options: argparse.Namespace) -> dict[str, Any]:
    """Changes a second: pushed live, and after a resume behind `puts` missed ones."""
    latch, answers = Latch(), Latch()
    (live,) = await watch(options, latch, 1, [None])
    latch.keep = True
    subscribed = latch.expect(1)
    live.ask(action="configuration/subscribe", requestId=1, names=["fan.*"], snapshot=False)
    await subscribed
    position = re.search(rb'"position":"([^"]+)"', latch.data[live])
    if position is None:
        fail(latch.data[live])
        raise AssertionError
    latch.keep = False
    writers = await watch(options, answers, 50, [None])
    frame = masked_long(json.dumps(PUT).encode()) * 16
    rounds = options.puts // (50 * 16)
    everything = latch.expect(rounds * 50 * 16)
    started = time.perf_counter()
    for _ in range(rounds):
        written = answers.expect(50 * 16)
        for writer in writers:
            writer._transport.write(frame)
        await written
    await everything
    live_rate = rounds * 50 * 16 / (time.perf_counter() - started)
    (late,) = await watch(options, latch, 1, [None])
    everything = latch.expect(1 + rounds * 50 * 16)
    started = time.perf_counter()
    late.ask(action="configuration/subscribe", requestId=1, names=["fan.*"], since=position[1].decode())
    await everything
    resume_rate = rounds * 50 * 16 / (time.perf_counter() - started)
    finish([live, late, *writers])
    return {"live": live_rate, "resume": resume_rate}


if __name__ == "__main__":
    obey(
        {"resume": resume, "hold": hold, "fan": fan, "others": fan},
        writer_port=0,
        watchers=1_000,
        puts=200,
        stalled=False,
        fill=0,
    )
