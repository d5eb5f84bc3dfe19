"""The connections that fail on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import pairwise

from bench.links import Link, Messages, Network
from hypothesis import given
from hypothesis import strategies as st

FEED = b"HMSG hw.site.feed 1 12 14\r\nNATS/1.0\r\n\r\nab\r\n"
OTHER = b"MSG _INBOX.1 2 13\r\nMSG x 1 0\r\n\r\n\r\n"
"""Its payload looks like another message."""


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it gets."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionResetError):
            while data := await reader.read(1_000):
                writer.write(data)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the connection has ended; whether it did so without another byte."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@given(st.lists(st.sampled_from([FEED, OTHER, b"PING\r\n", b'INFO {"a":"b"}\r\n'])), st.lists(st.integers(0, 300)))
def test_only_messages_of_a_feed_are_lost_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    """All other bytes arrive, in their order."""
    stream = b"".join(sent)
    messages = Messages(lambda subject: not subject.endswith(b".feed"))
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    got = b"".join(messages.take(stream[one:other]) for one, other in pairwise(edges))
    assert got == b"".join(each for each in sent if each is not FEED)


async def test_what_is_held_arrives_late() -> None:
    """Nobody is told meanwhile: the connection stays open, and so does a new one."""
    async with echo() as port:
        network = Network()
        there = network.link("gateway", "node", port)
        await network.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", there)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        network.part({"gateway"})
        writer.write(b"two")
        fresh, opened = await asyncio.open_connection("127.0.0.1", there)
        opened.write(b"new")
        late = [asyncio.ensure_future(each.readexactly(3)) for each in (reader, fresh)]
        done, _ = await asyncio.wait(late, timeout=0.05)
        assert not done
        network.heal(cut=False)
        assert await asyncio.gather(*late) == [b"two", b"new"]
        await network.close()
        assert await ended(reader)
        writer.close()
        opened.close()


async def test_what_is_cut_is_lost() -> None:
    """The connection ends, and a new one passes."""
    async with echo() as port:
        network = Network()
        there = network.link("gateway", "node", port)
        network.link("node", "node", port)
        await network.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", there)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        network.part({"node"})
        writer.write(b"two")
        network.heal(cut=True)
        assert await ended(reader)
        again, other = await asyncio.open_connection("127.0.0.1", there)
        other.write(b"new")
        assert await again.readexactly(3) == b"new"
        await network.close()
        writer.close()
        other.close()


async def test_a_link_to_nobody_ends_its_connections() -> None:
    """As the port itself would."""
    async with echo() as port:
        pass
    link = Link(port)
    await link.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    with closing(writer):
        assert await ended(reader)
    await link.close()
