"""Many devices at one gateway: lists that stream, a network that goes with thousands, a device that was away."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import msgspec
import pytest

from hivewire.clocks import now
from hivewire.devices.index import KIND, DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Transaction, Write
from hivewire_protocol.nouns.configuration import MAX_TRANSACTION
from tests.gate.wire import dial, gauge, memory, until
from tests.running import PATIENCE, RunningGateway

MEBI = 1 << 20

STAYING, GOING = 1, 2
"""The networks, by id."""

READERS = 8
STORED = 96 * MEBI
"""What a hundred thousand commands of one device, and the answers with them, may take; most of them are on the disk."""

GROWTH = 48 * MEBI
"""What eight lists that are read slowly may take: they are not rendered at once, but refer to devices."""


class Fleet:
    """A file with so many devices in one network, and a tenth of that in another."""

    def __init__(self, path: Path, devices: int) -> None:
        self.path, self.devices, self.going = path, devices, devices // 10

    async def register(self) -> None:
        """Write the file."""
        ledger = Ledger(SqliteJournal(self.path), now)
        await ledger.open()
        await ledger.commit(Transaction(insert(DEVICE_TYPE, GroupingContent("type"))))
        for name in ("staying", "going"):
            await ledger.commit(Transaction(insert(NETWORK, GroupingContent(name))))
        ids = [f"s-{number}" for number in range(self.devices)] + [f"g-{number}" for number in range(self.going)]
        for start in range(0, len(ids), MAX_TRANSACTION):
            writes = []
            for device in ids[start : start + MAX_TRANSACTION]:
                network = STAYING if device.startswith("s") else GOING
                content = DeviceContent(name=device, data=msgspec.Raw(b'{"k":1}'), network=network, type=1)
                writes.append(Write(KIND, device, msgspec.json.encode(content), "application/json"))
            await ledger.commit(Transaction(writes, "admin"))
        await ledger.close()


@pytest.fixture(
    scope="module", params=[pytest.param(3_000, id="short"), pytest.param(100_000, id="long", marks=pytest.mark.long)]
)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Its file is there."""
    found = Fleet(tmp_path_factory.mktemp("fleet") / "hivewire.db", request.param)
    asyncio.run(found.register())
    return found


@pytest.fixture(scope="module")
def gateway(fleet: Fleet) -> Iterator[RunningGateway]:
    """Over it, without a rate for each device."""
    with RunningGateway(fleet.path, "--device-messages-rate", "0") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")


@pytest.mark.timeout(600)
def test_a_list_of_all_devices_streams(fleet: Fleet, gateway: RunningGateway, record_property: Any) -> None:
    """To several clients at a time, who read slowly: whole, in bounded memory, and others are served meanwhile."""
    token = gateway.token()
    head = f"GET /api/rest/device HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    path = f"/device/s-{fleet.devices - 1}"

    def read(number: int) -> list[str]:
        with gateway.http(token) as client, client.stream("GET", "/device") as answer:
            assert answer.status_code == 200
            return [device["id"] for device in json.loads(b"".join(answer.iter_raw(4_096)))]

    with gateway.http(token) as http:
        http.get("/device").raise_for_status()  # what the first one leaves is not theirs
        before = memory(gateway)
        stuck = [dial(gateway, receive_buffer=4_096) for _ in range(READERS)]
        wires = [context.__enter__() for context in stuck]
        for wire in wires:
            wire.send(head.encode())
            assert wire.head()[0] == 200
        with ThreadPoolExecutor(READERS) as pool:
            lists = list(pool.map(read, range(READERS)))
        assert http.get(path).json()["id"] == path.removeprefix("/device/")
        grown = memory(gateway, "VmHWM") - before
        record_property("MiB for 16 lists", f"{grown / MEBI:.1f}")
        for context in stuck:
            context.__exit__(None, None, None)
    expected = [f"s-{number}" for number in range(fleet.devices)]
    for found in lists:
        assert [device for device in found if device.startswith("s-")] == expected
    assert grown < GROWTH


@pytest.mark.timeout(600)
def test_a_network_goes_with_its_devices_beside_traffic(
    fleet: Fleet, gateway: RunningGateway, record_property: Any
) -> None:
    """They are hidden at once, and removed a thousand at a time, while others insert and read."""
    inserted, longest, stop = [0], [0.0], threading.Event()

    def insert_all_the_time() -> None:
        with gateway.socket() as talk:
            while not stop.is_set():
                began = perf_counter()
                sent = talk("notification/insert", deviceId="s-0", notification={"notification": "on"})
                longest[0] = max(longest[0], perf_counter() - began)
                assert sent["status"] == "success"
                inserted[0] += 1

    with gateway.http() as http, ThreadPoolExecutor(1) as pool:
        traffic = pool.submit(insert_all_the_time)
        try:
            until(lambda: inserted[0] or traffic.done())
            assert gauge(gateway, "devices") >= fleet.devices + fleet.going
            number = next(each["id"] for each in http.get("/network").json() if each["name"] == "going")
            assert http.delete(f"/network/{number}").status_code == 400
            assert http.delete(f"/network/{number}", params={"force": True}).status_code == 204
            assert http.get("/device/g-0").status_code == 404
            assert http.get("/device", params={"networkName": "going"}).json() == []
            until(lambda: gauge(gateway, "devices") <= fleet.devices + 1)
            before = inserted[0]
            until(lambda: inserted[0] > before or traffic.done())
        finally:
            stop.set()
        traffic.result(PATIENCE)
        record_property("longest insert meanwhile, ms", f"{longest[0] * 1_000:.0f}")
        assert http.get("/device/s-1").status_code == 200


@pytest.mark.timeout(600)
def test_a_device_that_was_away_gets_everything(fleet: Fleet, gateway: RunningGateway, record_property: Any) -> None:
    """As many commands as there are devices, in order, once: by polling from the last one on, and by resuming. Memory
    is bounded."""
    number = fleet.devices
    before = memory(gateway)
    with gateway.socket() as talk:
        position = talk("command/subscribe", deviceId="s-2", resumable=True)["position"]
    with gateway.http() as http, gateway.socket() as talk:
        for start in range(0, number, 500):
            for order in range(start, min(number, start + 500)):
                command = {"command": str(order), "parameters": {"text": "x" * 100}}
                frame = {"action": "command/insert", "requestId": order, "deviceId": "s-2", "command": command}
                talk.connection.send(json.dumps(frame), text=True)
            for _ in range(start, min(number, start + 500)):
                assert talk.receive()["status"] == "success"
        stored = memory(gateway)
        names: list[str] = []
        last = "2020-01-01"
        while found := polled(http, last):
            names += [each["command"] for each in found]
            last = found[-1]["timestamp"]
        after = memory(gateway)
        assert names == [str(order) for order in range(number)]
        with gateway.socket() as device:
            assert device("command/subscribe", deviceId="s-2", since=position)["mode"] == "resumed"
            pushes = iter(device.receive, None)
            inserts = (push for push in pushes if push["action"] == "command/insert")
            assert [push["command"]["command"] for push in islice(inserts, number)] == names
            assert device.receive()["live"] is True
        grown = [f"{(figure - before) / MEBI:.1f}" for figure in (stored, after, memory(gateway))]
        record_property("MiB after the inserts, after the polls, after resuming", ", ".join(grown))
        assert memory(gateway) - before < STORED
        newest = http.get("/device/s-2/command", params={"take": 1}).json()
        assert [each["command"] for each in newest] == [str(number - 1)]


def polled(http: httpx.Client, last: str) -> list[Any]:
    """What is stored after a time."""
    answer = http.get("/device/s-2/command/poll", params={"timestamp": last, "limit": 0, "waitTimeout": 0})
    assert answer.status_code == 200
    found: list[Any] = answer.json()
    return found
