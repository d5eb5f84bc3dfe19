"""The load of devices, against a gateway: each kind in a small form."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.generator import device_of
from bench.measures import log_in

from bench import messages, servers


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The options of a load on a gateway with 200 devices in two networks, and a raw fan-out."""
    path = tmp_path_factory.mktemp("bench") / "devices.db"
    asyncio.run(messages.register(path, 200, networks=2))
    with servers.gateway(path) as server, servers.plain("fanout", messages.NOTIFICATION_BYTES) as raw:
        options = {"port": server.port, "path": server.path, "token": log_in(server)}
        yield {**options, "raw_port": raw.port, "devices": 100, "messages": 20}


@pytest.mark.parametrize(
    ("kind", "measured"),
    [
        ("latency", {"insert", "put", "twice", "loop"}),
        ("each", {"followed", "alone"}),
        ("fan", {"raw", "fan", "alone"}),
    ],
)
def test_whoever_follows_gets_each_message_once(kind: str, measured: set[str], load: dict[str, Any]) -> None:
    """The generator counts every frame, and ends with an error at one too many or too few."""
    found = servers.generate("bench.devices", kind, **load)
    assert set(found) == measured
    assert {len(times) for times in found.values()} == {2 if kind == "each" else 20}


def test_devices_and_polls_are_held(load: dict[str, Any]) -> None:
    """Sockets subscribe with a line of input; polls wait, as many as each line says."""
    with servers.prompted(servers.command("bench.devices", "hold", **load), greets=True) as ask:
        assert ask() == "100\n"
    with servers.prompted(servers.command("bench.devices", "polls", **load)) as ask:
        assert (ask(10), ask(20)) == ("10\n", "30\n")


def test_inserts_take_turns(load: dict[str, Any]) -> None:
    """As puts and gets do; with `insert` each connection inserts for all devices, so some are not there: it ends."""
    few = {name: load[name] for name in ("port", "path", "token")}
    with pytest.raises(RuntimeError, match="not found"):
        servers.generate("bench.generator", "insert", seconds=0.1, **few)


def test_a_gateway_finds_all_messages_that_were_stored(tmp_path: Path) -> None:
    """What `make bench` starts over is there: messages of each device in turn."""
    path = tmp_path / "stored.db"
    asyncio.run(messages.register(path, 10))
    asyncio.run(messages.store(path, 10, 3_000))
    with servers.gateway(path) as server:
        url = f"http://127.0.0.1:{server.port}/api/rest/device/{device_of(9)}/command?take=1000"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {log_in(server)}"})
        with urllib.request.urlopen(request) as answer:
            assert len(json.loads(answer.read())) == 300
