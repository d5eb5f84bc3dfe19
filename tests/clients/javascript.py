"""What the JavaScript suite needs around it: a gateway behind a proxy that cuts connections, both done over HTTP.

The suite (`clients/js/test/suite.js`) runs in Node and in a browser. Neither can start a gateway or kill it, so it asks
here: `POST /world/<command>` with the members as JSON. The same server has the files of the client, for the browser.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt

from tests.running import PASSWORD, PATIENCE, SECRET, RunningGateway, Talk

CLIENT = Path(__file__).parents[2] / "clients" / "js"


class Proxy:
    """Two ports that lead to a gateway, wherever it is now; `cut` breaks all connections."""

    def __init__(self) -> None:
        self.port = 0
        """Of the gateway; 0: nobody answers."""
        self.hushed = False
        """Whether what the gateway sends is dropped."""
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers = [self._do(asyncio.start_server(self._accept, "127.0.0.1", 0)) for _ in range(2)]
        self.urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in self._servers]

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            self._abort(writer)
            return
        self._writers.add(to_writer)
        await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer, back=True))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if not (back and self.hushed):
                    writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        with suppress(OSError):
            writer.close()

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            self._abort(writer)

    def cut(self) -> None:
        """Break all connections, without a word."""
        self._do(self._cut())

    async def _close(self) -> None:
        await self._cut()
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)  # their connections are gone

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class World:
    """A gateway that can be changed, killed and replaced. Each public method is a command.

    `kill_each`: where connections end again and again, the gateway is killed each so many times.
    """

    def __init__(self, folder: Path, kill_each: int) -> None:
        self._folder = folder
        self._kill_each = kill_each
        self._proxy = Proxy()
        self._ledger = 0
        self._down = self._alone = False
        self._one_by_one = threading.Lock()
        self._start()

    def _start(self) -> None:
        others = () if self._alone else ("--alternatives", self._proxy.urls[1])
        self._gateway = RunningGateway(self._folder / f"{self._ledger}.db", "--drain-spread", "0.1", *others)
        if not self._down:
            self._proxy.port = self._gateway.port

    def _end(self) -> None:
        self._proxy.port = 0
        self._talk.__exit__()
        del self._talk

    @cached_property
    def _token(self) -> str:
        return self._gateway.token()  # its secret is the same in all gateways of the tests

    @cached_property
    def _talk(self) -> Talk:
        return self._gateway.socket(self._token)

    def info(self) -> Any:
        """Where the gateway is, and who may do everything there."""
        found = {"urls": self._proxy.urls, "login": "admin", "password": PASSWORD, "token": self._token}
        return {**found, "killEach": self._kill_each}

    def ask(self, action: str, **members: Any) -> Any:
        """Any request of an administrator, past the proxy."""
        with self._one_by_one:
            return self._talk(action, **members)

    def mint(self, names: list[str] | None, seconds: float, user: int, refresh: bool) -> str:
        """A token that ends to the millisecond; `token/create` has whole seconds."""
        claims = {"a": [0], "e": int((time.time() + seconds) * 1_000), "t": int(not refresh), "u": user}
        names_only = {} if names is None else {"c": names}
        payload = {**claims, "n": ["*"], "dt": ["*"], "i": int(time.time() * 1_000), **names_only}
        return jwt.encode({"payload": payload}, SECRET, "HS256")

    def cut(self) -> None:
        """Break all connections of clients."""
        self._proxy.cut()

    def hush(self) -> None:
        """What the gateway sends does not arrive any more, until it is `up`."""
        self._proxy.hushed = True

    def down(self) -> None:
        """The gateway is gone, until it is `up`."""
        self._down = True
        self._proxy.port = 0
        self._proxy.cut()

    def up(self) -> None:
        """It is there again."""
        self._down = self._proxy.hushed = False
        self._proxy.port = self._gateway.port

    def kill(self) -> None:
        """Kill the gateway and start it again."""
        with self._one_by_one:
            self._end()
            self._gateway.stop(9)
            self._start()

    def stop(self) -> None:
        """Stop the gateway, which tells its clients, and start it again."""
        with self._one_by_one:
            self._end()
            self._gateway.stop()
            self._alone = False
            self._start()

    def alone(self) -> None:
        """The gateway that is stopped next names no other one."""
        self._alone = True
        self.kill()

    def lose(self) -> None:
        """The same with another ledger in its place."""
        self._ledger += 1
        self.kill()

    def _close(self) -> None:
        self._end()
        self._gateway.stop(9)
        self._proxy.close()


class Handler(SimpleHTTPRequestHandler):
    """The files of the client, and the commands."""

    def __init__(self, world: World, *given: Any) -> None:
        self.world = world
        super().__init__(*given, directory=str(CLIENT))

    def do_POST(self) -> None:
        members = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        command = self.path.rpartition("/")[2]
        assert not command.startswith("_")
        found = json.dumps(getattr(self.world, command)(**members)).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving_world(folder: Path, kill_each: int = 10) -> Iterator[str]:
    """The address of the commands and files."""
    world = World(folder, kill_each)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, world))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        world._close()
