"""The device of the documentation, as it stands there, through connections that drop (fleet.md, section 5)."""

from __future__ import annotations

import asyncio
import json
import random
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.running import RunningGateway, Talk

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
MINT = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}


def documented() -> Any:
    """The function `run` of the page."""
    found = re.search(r"```python\n(async def run\(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"json": json, "websockets": websockets}
    exec(found[1], names)
    return names["run"]


async def end(device: asyncio.Task[Any]) -> None:
    """End a device. It leaves its connection to the event loop, which closes it in a task of its own."""
    device.cancel()
    with suppress(asyncio.CancelledError):
        await device
    await asyncio.sleep(0)  # that task begins
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


class Link:
    """A connection between a device and the gateway that can be cut, at any byte."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: list[asyncio.Task[None]] = []
        self.accepted = 0

    async def serve(self) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._carrying.append(asyncio.create_task(self._carry(reader, writer)))

        return await asyncio.start_server(accept, "127.0.0.1", 0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, far_writer}
        self.accepted += 1  # from here on `cut` ends it
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        for each in (writer, far_writer):
            with suppress(OSError):
                await each.wait_closed()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._open.discard(writer)

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def end(self) -> None:
        """Cut also what is only being opened. Left alone, its end is that of the event loop, which closes nothing."""
        while not all(each.done() for each in self._carrying):
            self.cut()
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("drops", [25, pytest.param(1_000, marks=pytest.mark.long)])
async def test_the_device_of_the_page_ends_with_what_counts(
    shared_gateway: RunningGateway, talk: Talk, monkeypatch: pytest.MonkeyPatch, drops: int
) -> None:
    """However often its connection drops while values change: it applies what counts, and says so at the end."""
    device = f"drops-{drops}"
    talk("device/save", deviceId=device, device={"name": device})
    token = talk("token/create", payload=MINT | {"deviceIds": [device]})["accessToken"]
    link = Link(shared_gateway.port)
    applied: dict[str, str | None] = {}
    store: dict[str, Any] = {}
    chance = random.Random(7)
    connected = asyncio.Event()

    def apply(name: str, value: str | None) -> str | None:
        applied[name] = value
        if value is None:
            del applied[name]
        connected.set()
        return "odd" if value is not None and value.startswith("bad") else None

    async with await link.serve() as server:
        port = server.sockets[0].getsockname()[1]
        task = asyncio.create_task(documented()(f"ws://127.0.0.1:{port}/api/websocket", token, device, store, apply))
        for number in range(drops):
            name = f"n{chance.randrange(6)}"
            layer = chance.choice(["global", f"device/{device}"])
            change: dict[str, Any] = {
                "operation": "put",
                "name": f"drops.{name}",
                "layer": layer,
                "value": f"v{number}",
            }
            await asyncio.to_thread(talk, "configuration/transact", changes=[change])
            if chance.random() < 0.5:
                await asyncio.to_thread(talk, "device/label", deviceId=device, labels={"n": str(number)})
            accepted = link.accepted
            link.cut()
            while link.accepted == accepted:
                await asyncio.sleep(0.001)
        await asyncio.to_thread(talk, "configuration/put", name="drops.n0", value="bad", layer=f"device/{device}")
        pause = 0.25
        while True:
            found = await asyncio.to_thread(talk, "device/effective", deviceId=device, names=["drops.*"])
            rows = {each["name"]: each for each in found["configurations"]}
            if all(each["state"] in ("applied", "refused") for each in rows.values()):
                break
            connected.clear()
            link.cut()  # a report may have been refused, or lost with its connection: each connection reports again
            await asyncio.sleep(pause)
            pause *= 1.5  # on a busy machine a connection needs longer to come as far as its report
        server.close()
        link.cut()
        await asyncio.sleep(0.2)  # until it waits to try again
        await end(task)
        await link.end()
    assert applied == {name: each["value"] for name, each in rows.items()}
    assert {name for name, each in rows.items() if each["state"] == "refused"} == {"drops.n0"}
    assert rows["drops.n0"]["reported"]["error"] == "odd"
    for name in talk("configuration/list", layer="global", names=["drops.*"])["configurations"]:
        talk("configuration/delete", name=name["name"], layer="global")
    talk("device/delete", deviceId=device)


async def test_the_device_of_the_page_may_have_very_many_names(shared_gateway: RunningGateway, talk: Talk) -> None:
    """More than fit into a report: it says them in several."""
    device = "many-names"
    talk("device/save", deviceId=device, device={"name": device})
    layer = f"device/{device}"
    puts = [{"operation": "put", "name": f"many.{n:03}", "value": "v", "layer": layer} for n in range(300)]
    talk("configuration/transact", changes=puts)
    token = talk("token/create", payload=MINT | {"deviceIds": [device]})["accessToken"]
    url = f"ws://127.0.0.1:{shared_gateway.port}/api/websocket"
    task = asyncio.create_task(documented()(url, token, device, {}, lambda name, value: None))
    states: set[str] = set()
    while states != {"applied"} and not task.done():
        found = await asyncio.to_thread(talk, "device/effective", deviceId=device, names=["many.*"])
        states = {each["state"] for each in found["configurations"]}
    await end(task)
    assert len(found["configurations"]) == 300
    talk("device/delete", deviceId=device)


def test_a_device_reads_over_http(shared_gateway: RunningGateway, talk: Talk) -> None:
    """With its own token it sees names, values and tags; 304 while it has them all; or it follows an event stream."""
    talk("device/save", deviceId="by-http", device={"name": "by-http"})
    talk("configuration/put", name="http.n", value="1", layer="device/by-http")
    token = talk("token/create", payload=MINT | {"deviceIds": ["by-http"]})["accessToken"]
    with shared_gateway.http(token) as client:
        path = "/device/by-http/configuration"
        first = client.get(path, params={"names": "http.*"})
        [shown] = first.json()["configurations"]
        assert {*shown} == {"name", "value", "tag"}
        known = {"If-None-Match": first.headers["etag"]}
        again = client.get(path, params={"names": "http.*"}, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        etag = first.headers["etag"]
        for compressed in (f"W/{etag}", f'{etag[:-1]}-gzip"', f'"other", W/{etag}', "*"):  # nginx, mod_deflate
            headers = {"If-None-Match": compressed}
            assert client.get(path, params={"names": "http.*"}, headers=headers).status_code == 304
        talk("configuration/put", name="http.n", value="2", layer="device/by-http")
        assert client.get(path, params={"names": "http.*"}, headers=known).status_code == 200
        stream = {"Accept": "text/event-stream"}
        with client.stream("GET", path, params={"names": "http.*"}, headers=stream) as events:
            lines = events.iter_lines()
            data = next(line for line in lines if line.startswith("data: "))
            assert '"value":"2"' in data
            talk("configuration/put", name="http.n", value="3", layer="device/by-http")
            data = next(line for line in lines if line.startswith("data: "))
            assert '"value":"3"' in data
        assert client.get("/device/other/configuration").status_code in (403, 404)
    talk("device/delete", deviceId="by-http")


def test_an_operator_is_not_told_that_nothing_changed_when_a_report_came(
    shared_gateway: RunningGateway, talk: Talk
) -> None:
    """What an operator is shown over HTTP has an etag of its own: states and reports change without a tag."""
    talk("device/save", deviceId="watched", device={"name": "watched"})
    talk("configuration/put", name="watched.n", value="1", layer="device/watched")
    path, params = "/device/watched/configuration", {"names": "watched.*"}
    device = talk("token/create", payload=MINT | {"deviceIds": ["watched"]})["accessToken"]
    with shared_gateway.http() as operator, shared_gateway.http(device) as client:
        first = operator.get(path, params=params)
        known = {"If-None-Match": first.headers["etag"]}
        talk("configuration/put", name="other.n", value="1")
        assert operator.get(path, params=params, headers=known).status_code == 304
        [shown] = first.json()["configurations"]
        report = [{"name": "watched.n", "tag": shown["tag"]}]
        assert client.post("/device/watched/report", json={"report": report}).status_code in (200, 204)
        again = operator.get(path, params=params, headers=known)
        assert again.status_code == 200
        assert [each["state"] for each in again.json()["configurations"]] == ["applied"]
    talk("device/delete", deviceId="watched")
