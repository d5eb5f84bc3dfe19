"""Whole gateways that share a log: a client may use any of them, and each ends when it cannot follow any more."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from bench.nodes import PASSWORD, _request

from hivewire.ledger import cluster
from hivewire.nats.entry import Envelope
from hivewire.settings import Settings
from tests.command import Run
from tests.gate.wire import until
from tests.running import PATIENCE, NotStarted, RunningGateway
from tests.scheduled import carried_out_once


class Site:
    """A name on a server, and the gateways that serve it."""

    def __init__(self, store: str, folder: Path, stack: ExitStack) -> None:
        self.name = secrets.token_hex(8)
        self.store = store.format(site=self.name)
        self._folder = folder
        self._stack = stack

    def gateway(self, name: str, *flags: str) -> RunningGateway:
        environment = {"HIVEWIRE_STORE_PASSWORD": PASSWORD}
        data = self._folder / f"{name}.db"
        return self._stack.enter_context(RunningGateway(data, f"--store={self.store}", *flags, env=environment))

    def ask(self, subject: str, body: Any = b"") -> Any:
        """The answer of the server to a request."""
        port = urlsplit(self.store).netloc.rpartition(":")[2]
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return msgspec.json.decode(_request(int(port), subject, data))


@pytest.fixture
def site(clusters: Callable[[int], str], tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        found = Site(clusters(1), tmp_path, stack)
        yield found
        for kind in ("HW", "HWB", "HWC", "HWN"):
            found.ask(f"$JS.API.STREAM.DELETE.{kind}_{found.name}")


def test_gateways_share_users_tokens_records_and_audit(site: Site) -> None:
    """What one wrote is read on the other; both sign with one secret; a watcher of one gets what the other wrote; each
    says in its log who it is."""
    mine, other = site.gateway("a"), site.gateway("b")
    token = mine.token()
    with mine.socket(token) as here, other.socket(token) as there, other.socket(token) as watcher:
        assert watcher("configuration/subscribe", snapshot=False)["status"] == "success"
        revision = here("configuration/put", name="a", value="1")["revision"]
        pushed = watcher.receive()
        assert (pushed["configuration"]["name"], pushed["revision"]) == ("a", revision)
        assert there("configuration/get", name="a")["configuration"]["value"] == "1"
        assert there("configuration/put", name="a", value="2", entityVersion=1)["status"] == "success"
        refused = here("configuration/put", name="a", value="3", entityVersion=1)
        assert (refused["status"], refused["code"]) == ("error", 409)
    with other.http(token) as client:
        until(lambda: "login" in {row["kind"] for row in client.get("/audit").json()["rows"]})
    metrics = httpx.get(f"{other.url}/metrics", timeout=PATIENCE).text
    for log, name in product(
        ("log", "commands_log", "notifications_log"), ("tip", "lag", "append_seconds", "lost_rounds", "feed_gaps")
    ):
        assert f"\nhivewire_{log}_{name} " in metrics
    assert "\nhivewire_log_checkpoint_seconds " in metrics
    _, found = asyncio.run(cluster.check(Settings(store=site.store, store_password=PASSWORD)))
    assert len(found.gateways) == 2, "both have the records that follow from the log"
    assert all(line["gateway"].endswith(str(other.process.pid)) for line in other.log)
    assert mine.stop() == other.stop() == 0


def test_what_is_scheduled_is_carried_out_by_one_of_them(site: Site) -> None:
    """Each gateway has its own clock and tries; the first revision stands, and both show the same end."""
    mine, other = site.gateway("a"), site.gateway("b")
    token = mine.token()
    with mine.socket(token) as here, other.socket(token) as there:
        carried_out_once(here, there)
    assert mine.stop() == other.stop() == 0


def test_a_device_and_who_sends_to_it_may_be_on_different_gateways(site: Site) -> None:
    """Commands and their updates reach each other, both know that the device is online, and positions are the same."""
    mine, other = site.gateway("a"), site.gateway("b")
    token = mine.token()
    with mine.http(token) as client:
        assert client.put("/device/lamp", json={"name": "Lamp"}).is_success
        with mine.socket(token) as person, other.socket(token) as device:
            assert device("command/subscribe", deviceId="lamp", resumable=True)["status"] == "success"
            until(lambda: client.get("/device/lamp", params={"presence": "true"}).json()["online"])
            assert person("command/subscribe", deviceId="lamp", returnUpdatedCommands=True)["status"] == "success"
            sent = person("command/insert", deviceId="lamp", command={"command": "on"})["command"]
            pushed = device.receive()
            assert pushed["command"]["id"] == sent["id"]
            done = {"deviceId": "lamp", "commandId": sent["id"], "command": {"status": "done"}}
            assert device("command/update", **done)["status"] == "success"
            assert person.receive()["command"]["status"] == "done"
        assert other.stop() == 0
        client.post("/device/lamp/command", json={"command": "off"})
        with mine.socket(token) as device:
            again = device("command/subscribe", deviceId="lamp", since=pushed["position"])
            assert again["mode"] == "resumed"
            assert device.receive()["command"]["command"] == "off"


def test_a_gateway_restarts_with_a_log_that_was_recreated(site: Site, run: Run, tmp_path: Path) -> None:
    """Its clients are closed, and it serves what is there now, under another epoch. What it had is kept in a file."""
    gateway = site.gateway("a", "--port=0")
    with gateway.socket() as talk:
        assert talk("configuration/put", name="a", value="1")["status"] == "success"
    name = f"HW_{site.name}"
    configuration = site.ask(f"$JS.API.STREAM.INFO.{name}")["config"]
    site.ask(f"$JS.API.STREAM.DELETE.{name}")
    configuration["metadata"]["hivewire.epoch"] = "0123456789abcdef"
    site.ask(f"$JS.API.STREAM.CREATE.{name}", configuration)
    until(lambda: len(gateway.events("started")) == 2)
    assert gateway.events("the log is not followed any more")[0]["starts_again"]
    url = gateway.events("started")[1]["url"]
    ready = httpx.get(f"{url}/health/ready", timeout=PATIENCE).json()
    assert ready["status"] == "ready"
    assert gateway.events("started")[1]["configurations"] == 0
    assert gateway.stop() == 0
    [kept] = gateway.data.parent.glob(f"{gateway.data.name}.set-aside-*")
    made = tmp_path / "made.db"
    assert run("backup", str(made), "--data", str(kept)).code == 0
    with RunningGateway(made) as alone, alone.socket() as talk:
        assert talk("configuration/get", name="a")["configuration"]["value"] == "1"


@pytest.mark.parametrize(("stream", "subject"), [("HW", "log"), ("HWC", "commands")])
def test_a_gateway_ends_when_a_newer_one_wrote_what_it_cannot_read(site: Site, stream: str, subject: str) -> None:
    """To the ledger or only to a log of messages: it stops cleanly and says what to do; so does a start."""
    gateway = site.gateway("a")
    gateway.token()
    config = site.ask(f"$JS.API.STREAM.INFO.{stream}_{site.name}")["config"]
    entry = Envelope(2, config["metadata"]["hivewire.epoch"], b"next", b"", "new", msgspec.Raw(b"\xc0"))
    site.ask(f"hw.{site.name}.{subject}", msgspec.msgpack.encode(entry))
    assert gateway.ended() == 1
    assert any("has the format 2, and this version of Hivewire reads 1" in line for line in gateway.noise)
    with pytest.raises(NotStarted, match="upgrade this one"):
        site.gateway("a")
