"""Connections that fail on purpose: TCP proxies between gateways and NATS nodes, and between the nodes.

A `Network` has one `Link` for each direction in which somebody connects. A link can hold everything (the two sides are
parted, and neither is told), cut its connections, delay, and lose messages of a feed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import suppress

from bench.nodes import steady_port

CHUNK = 65_536


class Link:
    """A proxy on a port of its own, which leads to another port."""

    def __init__(self, target: int, feeds: bool = False) -> None:
        """`feeds`: the other side sends messages to clients, some of which can be lost."""
        self.port = steady_port()
        self.target = target
        self._feeds = feeds
        self.delay = 0.0
        """Seconds by which all bytes are late."""
        self.loss = 0.0
        """The part of the messages of a feed that does not arrive."""
        self.lost = 0
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    @property
    def held(self) -> bool:
        """Whether nothing passes."""
        return not self._passes.is_set()

    def hold(self) -> None:
        """Nothing goes on from here, in either direction, and nobody is told."""
        self._passes.clear()

    def release(self) -> None:
        """What was held goes on."""
        self._passes.set()

    def cut(self) -> None:
        """End its connections, without what is under way."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.release()
        self.cut()
        if self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._passes.wait()
            ahead, behind = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(behind)
        filtered = Messages(self._arrives).take if self._feeds else bytes
        ways = (self._pass(reader, behind, bytes), self._pass(ahead, writer, filtered))
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, behind):
            end.transport.abort()
            self._writers.discard(end)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passes.wait()
                writer.write(change(data))
                await writer.drain()

    def _arrives(self, subject: bytes) -> bool:
        if ".feed" not in subject.decode(errors="replace") or random.random() >= self.loss:
            return True
        self.lost += 1
        return False


class Messages:
    """Cuts what a NATS server sends to a client into messages, and leaves out those that do not arrive."""

    def __init__(self, arrives: Callable[[bytes], bool]) -> None:
        """`arrives` is asked for the subject of each message."""
        self._arrives = arrives
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """What goes on of these bytes and of those before; a message goes on when it is complete."""
        data = self._rest + data
        kept, at = [], 0
        while (end := data.find(b"\r\n", at)) >= 0:
            fields = data[at:end].split()
            after = end + 2
            if fields and fields[0] in (b"MSG", b"HMSG"):
                after += int(fields[-1]) + 2
                if after > len(data):
                    break
            if not fields or fields[0] not in (b"MSG", b"HMSG") or self._arrives(fields[1]):
                kept.append(data[at:after])
            at = after
        self._rest = data[at:]
        return b"".join(kept)


class Network:
    """All links, by the names of their two ends."""

    def __init__(self) -> None:
        self.links: dict[tuple[str, str], Link] = {}

    def link(self, one: str, other: str, port: int, feeds: bool = False) -> int:
        """The port at which `one` reaches a port of `other`. The link is opened by `open`."""
        link = self.links[one, other] = Link(port, feeds)
        return link.port

    async def open(self) -> None:
        """Open all links."""
        for link in self.links.values():
            await link.open()

    def part(self, names: Collection[str]) -> None:
        """Nothing passes any more between these and all others."""
        for (one, other), link in self.links.items():
            if (one in names) != (other in names):
                link.hold()

    def heal(self, cut: bool) -> None:
        """Everything passes again: what was held arrives late, or (`cut`) its connections end without it."""
        for link in self.links.values():
            if link.held:
                if cut:
                    link.cut()
                link.release()

    async def close(self) -> None:
        """Close all links."""
        await asyncio.gather(*(link.close() for link in self.links.values()))
