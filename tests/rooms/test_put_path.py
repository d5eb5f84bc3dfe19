"""How many functions carry a put from the bytes of a frame to a subscriber's socket, and which."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn.server import ServerState

import hivewire
from hivewire.actions import configuration
from hivewire.caller import Caller
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.writer import Writer
from hivewire.transport.admission import Admission
from hivewire.transport.sockets import Sockets
from hivewire.transport.websocket import WebSocket
from tests.gate.wire import frame
from tests.world import World

TO_THE_QUEUE = (
    "transport.websocket.WebSocket.data_received",
    "transport.websocket.WebSocket._handle",
    "session.Session.receive",
    "session.Session._start",
    "dispatch.Dispatcher.start",
    "actions.configuration.put",
    "ledger.writer.Writer.submit",
)
TO_THE_SUBSCRIBERS = (
    "group_commit.GroupCommit._commit",
    "ledger.engines.sqlite.journal.SqliteJournal.append",
    "ledger.writer.Writer.take",
    "hub.hub.Hub._announce",
    "hub.hub.Hub._publish",
    "transport.websocket.WebSocket.push",
)
TO_THE_CALLER = (
    "group_commit.GroupCommit._answer",
    "session.Session._written",
    "session.Session._succeed",
    "session.Session._emit",
    "transport.websocket.WebSocket._send",
)
THEN_WRITTEN = (
    "session.Session._settle",
    "transport.websocket.WebSocket._settled",
    "transport.websocket.WebSocket._flush",
)

MOST = 12
"""Hand-overs from bytes to push: from each function of the path to the next one."""

ENDS = {configuration.put.__code__, Writer.submit.__code__, WebSocket.push.__code__, WebSocket._send.__code__}
"""Where the request has come somewhere. Whoever called these carried it; whoever only returned a value did not."""

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and notes who carried it there."""

    def __init__(self, path: Recorder) -> None:
        super().__init__({"peername": ("10.0.0.1", 1)})
        self.written: list[bytes] = []
        self._path = path

    def write(self, data: Any) -> None:
        self.written.append(data)
        self._path.note(sys._getframe(1))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Recorder:
    """The functions of ours on the stack whenever one of ENDS begins or something is written, in order."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._waiting: set[FrameType] = set()

    def begin(self) -> None:
        """From here on. Tasks that wait for work are begun already: a request is not handed to them."""
        self.found.clear()
        self._waiting = {task.get_coro().cr_frame for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        sys.setprofile(self._profile)

    def _profile(self, called: FrameType, event: str, argument: object) -> None:
        if event == "call" and called.f_code in ENDS:
            self.note(called)

    def note(self, at: FrameType | None) -> None:
        """Add those on the stack that are not there yet."""
        stack: list[str] = []
        while at is not None:
            module = at.f_globals.get("__name__", "")
            if module.startswith(f"{hivewire.__name__}.") and at not in self._waiting:
                stack.append(f"{module.partition('.')[2]}.{at.f_code.co_qualname}")
            at = at.f_back
        self.found += [name for name in reversed(stack) if name not in self.found]


async def test_a_put_is_carried_by_few_functions_from_its_bytes_to_the_push(tmp_path: Path) -> None:
    """Only the functions that the architecture page lists are between the frame and the push or the answer."""
    world = await World(SqliteJournal(tmp_path / "ledger.db")).open()
    recorder = Recorder()
    sockets = Sockets(world.dispatcher, Admission(world.services.settings), lambda: Caller("", ""))
    asker, follower = Wire(recorder), Wire(recorder)
    connection = WebSocket(sockets.shared, asker, world.caller(), ServerState(), 1)
    WebSocket(sockets.shared, follower, world.caller(), ServerState(), 2).data_received(
        frame(b'{"action":"configuration/subscribe","requestId":1}')
    )

    async def put() -> None:
        before = len(asker.written)
        connection.data_received(frame(b'{"action":"configuration/put","requestId":1,"name":"n","value":"v"}'))
        while len(asker.written) == before:
            await asyncio.sleep(0)

    try:
        await put()  # the first one makes the record and decides about rights
        pushed = len(follower.written)
        recorder.begin()
        await put()
    finally:
        sys.setprofile(None)
        await world.close()
    assert len(follower.written) == pushed + 1
    assert recorder.found == [*TO_THE_QUEUE, *TO_THE_SUBSCRIBERS, *TO_THE_CALLER, *THEN_WRITTEN]


UNUSED = ("actions.layered.", "fleet.", "schedules.", "schemas.", "timers.", "tracing.")
"""Beginnings of the names of what a put needs only if it, or the ledger, has layers, schemas and the like."""


async def test_a_put_without_layers_and_schemas_calls_nothing_of_theirs(tmp_path: Path) -> None:
    """Neither a put with a follower nor a get does; a survey of values is looked for once in a commit."""
    world = await World(SqliteJournal(tmp_path / "ledger.db")).open()
    called: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        name = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}".removeprefix("hivewire.")
        if event == "call" and name.startswith((*UNUSED, "actions.configuration.")):
            called.add(name)

    session, outbox = world.connect()
    session.receive(b'{"action":"configuration/subscribe","requestId":1}')
    try:
        sys.setprofile(note)
        session.receive(b'{"action":"configuration/put","requestId":2,"name":"n","value":"v"}')
        while session.pending:
            await asyncio.sleep(0)
        session.receive(b'{"action":"configuration/get","requestId":3,"name":"n"}')
    finally:
        sys.setprofile(None)
        await world.close()
    assert b'"status":"success"' in outbox[-1]
    assert {"actions.configuration.put", "actions.configuration.get"} <= called
    assert {name for name in called if name.startswith(UNUSED)} == {"schemas.schemas.Schemas._tell"}


def test_the_path_of_a_put_stays_short() -> None:
    """At most twelve hand-overs, from the function that gets the bytes to the one that pushes."""
    assert len(TO_THE_QUEUE + TO_THE_SUBSCRIBERS) - 1 <= MOST


def test_the_architecture_page_lists_the_path_of_a_put() -> None:
    """The same functions in the same order."""
    section = ARCHITECTURE.read_text().partition("\n## The life of a put\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| \d+ \| `([\w.]+)` \|", section, re.MULTILINE)
    assert listed == [*TO_THE_QUEUE, *TO_THE_SUBSCRIBERS, *TO_THE_CALLER, *THEN_WRITTEN]
