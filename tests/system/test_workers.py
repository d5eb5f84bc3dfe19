"""`hivewire serve --workers`: several gateways on one port and one file, as processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed

from tests.gate.wire import until
from tests.running import PATIENCE, NotStarted, RunningGateway, Talk
from tests.scheduled import carried_out_once
from tests.workers import FORKS, WORKERS, Site, gone


@pytest.fixture
def main() -> str:
    return FORKS


@pytest.fixture
def site(data: Path, main: str) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(data, stack, main)


def pushed(talk: Talk, name: str) -> Any:
    """The next push of a configuration."""
    while (found := talk.receive().get("configuration", {})).get("name") != name:
        pass
    return found


def test_gateways_under_test_are_forks_of_one_server(site: Site) -> None:
    """None of them has loaded the gateway by itself, which takes longer than most tests."""
    started = [site.gateway.process.pid, *map(site.process, WORKERS)]
    assert len({Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1] for each in started}) == 1


def test_two_gateways_serve_one_ledger(site: Site, data: Path) -> None:
    """What is written on one is read and pushed on the other, conditional writes do not overwrite one another, metrics
    and logs tell which gateway is which; SIGHUP reaches both, and SIGTERM drains both."""
    gateway, sockets, followers = site.gateway, site.sockets(), site.sockets()
    one, two = sockets[1], sockets[2]
    for talk in followers.values():
        assert talk("configuration/subscribe", names=["a"])["status"] == "success"
    for number, talk in enumerate((one, two, one), 1):
        answer = talk("configuration/put", name="a", value=str(number))
        assert answer["configuration"]["entityVersion"] == number
        for talk in (one, two):
            assert pushed(followers[1 if talk is one else 2], "a")["entityVersion"] == number
            assert talk("configuration/get", name="a")["configuration"]["value"] == str(number), "it has been pushed"

    def race(talk: Talk) -> list[int]:
        won = []
        for version in range(40):
            answer = talk("configuration/put", name="race", value="x", entityVersion=version)
            if answer["status"] == "success":
                assert answer["configuration"]["entityVersion"] == version + 1
                won.append(version)
            else:
                assert answer["code"] == 409
        return won

    with ThreadPoolExecutor() as threads:
        mine, other = threads.map(race, (one, two))
    assert sorted(mine + other) == list(range(40)), "each version has one writer"
    assert site.metric("hivewire_ledger_revision").keys() == set(WORKERS)
    assert site.metric("hivewire_gateway_starts_total") == {1: 1, 2: 1}

    os.kill(gateway.process.pid, signal.SIGHUP)
    until(lambda: {line["gateway"] for line in gateway.events("reloaded")} == set(WORKERS))

    assert gateway.stop() == 0
    for talk in (one, two):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                talk.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert [line.get("gateway") for line in gateway.events("stopped")][-1] is None, "the parent is the last"
    with RunningGateway(data) as alone, alone.socket() as talk:
        assert talk("configuration/get", name="race")["configuration"]["entityVersion"] == 40


def test_metrics_tell_what_the_parent_takes(site: Site) -> None:
    """Its memory and processor time are beside those of the gateways, in the same families of the page."""
    page = httpx.get(site.gateway.url + "/metrics").text
    found = [
        (sample.name, sample.labels.get("gateway"))
        for each in text_string_to_metric_families(page)
        for sample in each.samples
    ]
    assert len(set(found)) > 10
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"):
        assert sorted(str(gateway) for sample, gateway in found if sample == name) == ["1", "2", "parent"]
        assert page.count(f"# TYPE {name} ") == 1


def received(talk: Talk, action: str) -> Any:
    """The next frame of this action."""
    while (found := talk.receive()).get("action") != action:
        pass
    return found


def sees_both(talk: Talk) -> bool:
    """Whether the gateway of a socket lists the connections of both."""
    return {each["gateway"] for each in talk("connection/list")["connections"]} == {"1", "2"}


def test_connections_are_seen_and_closed_from_any_gateway(site: Site) -> None:
    """Each gateway lists those of both, by the numbers that the log has; the other one is told which to close."""
    sockets = site.sockets()
    one, two = sockets[1], sockets[2]
    for talk in (one, two):  # which have to hear of one another first
        until(partial(sees_both, talk))
    found = one("connection/list")["connections"]
    assert two("connection/list")["connections"] == found
    for each in found:
        if each["gateway"] == "2":
            assert one("connection/close", connectionId=each["connectionId"])["status"] == "success"
    with pytest.raises(ConnectionClosed) as closed:
        two.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4011
    until(lambda: {each["gateway"] for each in one("connection/list")["connections"]} == {"1"})
    missing = one("connection/close", connectionId=found[-1]["connectionId"][:-1] + "x")
    assert missing["code"] == 404


def test_devices_and_their_users_need_not_be_on_one_gateway(site: Site, data: Path) -> None:
    """A command reaches its device on the other gateway, and what became of it who sent it. Both read and repeat it;
    it is there after a kill of all."""
    sockets = site.sockets()
    user, device = sockets[1], sockets[2]
    assert user("device/save", deviceId="lamp", device={"name": "lamp"})["status"] == "success"
    until(lambda: device("device/get", deviceId="lamp")["status"] == "success")
    assert device("command/subscribe", deviceId="lamp")["status"] == "success"
    until(lambda: site.metric("hivewire_devices_online") == {1: 1, 2: 1})
    assert user("command/subscribe", deviceId="lamp", returnUpdatedCommands=True)["status"] == "success"
    insert = {"deviceId": "lamp", "idempotencyKey": "k", "command": {"command": "on"}}
    sent = user("command/insert", **insert)["command"]["id"]
    assert received(device, "command/insert")["command"]["id"] == sent
    done = device("command/update", deviceId="lamp", commandId=sent, command={"status": "done"})
    assert done["status"] == "success"
    assert received(user, "command/update")["command"]["status"] == "done"
    again = device("command/insert", **insert)
    assert again["command"]["id"] == sent
    assert user("notification/insert", deviceId="lamp", notification={"notification": "t"})["status"] == "success"
    for talk in sockets.values():
        assert talk("command/get", deviceId="lamp", commandId=sent)["command"]["status"] == "done"
    site.gateway.process.kill()
    site.gateway.process.wait(PATIENCE)
    until(lambda: all(gone(site.process(number)) for number in WORKERS))
    with RunningGateway(data) as alone, alone.socket(site.token) as talk:
        assert talk("command/get", deviceId="lamp", commandId=sent)["command"]["status"] == "done"
        assert "t" in {one["notification"] for one in talk("notification/list", deviceId="lamp")["notifications"]}


@pytest.mark.parametrize("main", ["hivewire.cli:main"])
def test_gateways_and_their_parent_may_be_killed(site: Site, data: Path) -> None:
    """When a gateway is killed, the other goes on, and it comes back with everything. When the parent is, both end at
    once, and everything that was answered is there at the next start."""
    sockets = site.sockets()
    for number, talk in sockets.items():
        assert talk("configuration/put", name=f"before.{number}", value="1")["status"] == "success"
    first, second = site.process(1), site.process(2)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        sockets[1]("configuration/get", name="a")
    for number in range(20):
        assert sockets[2]("configuration/put", name="meanwhile", value=str(number))["status"] == "success"
    site.ready(1, starts=2)
    (ended,) = site.gateway.events("a gateway ended; it is started again")
    assert (ended["gateway"], ended["code"]) == (1, -9)
    with site.gateway.socket(site.token) as third:
        assert third("configuration/put", name="after", value="1")["status"] == "success"
    again = site.sockets()
    for talk in again.values():
        found = talk("configuration/list")["configurations"]
        assert {one["name"] for one in found} >= {"before.1", "before.2", "meanwhile"}
    assert again[1]("configuration/get", name="meanwhile")["configuration"]["entityVersion"] == 20
    assert again[1]("configuration/put", name="last", value="1")["status"] == "success"

    processes = [site.process(1), second]
    site.gateway.process.kill()
    site.gateway.process.wait(PATIENCE)
    until(lambda: all(map(gone, processes)))
    with pytest.raises(httpx.TransportError):
        httpx.get(site.gateway.url + "/health/live", timeout=PATIENCE)
    with RunningGateway(data) as alone, alone.socket(site.token) as talk:
        names = {one["name"] for one in talk("configuration/list")["configurations"]}
        assert names == {"before.1", "before.2", "meanwhile", "after", "last"}


def test_several_gateways_start_together_or_not_at_all(data: Path, tmp_path: Path) -> None:
    """A port or a file that another gateway has is refused before a process is started; the parent's error says why."""
    with RunningGateway(data) as alone:
        with pytest.raises(NotStarted, match="in use by another gateway"):
            RunningGateway(data, "--workers=2")
        with pytest.raises(NotStarted, match="cannot listen"):
            RunningGateway(tmp_path / "other.db", "--workers=2", f"--port={alone.port}")
    assert not (tmp_path / "other.db").exists()


def test_what_is_scheduled_is_carried_out_by_one_of_them(site: Site) -> None:
    """Each worker has its own clock and tries: what expires is deleted once, and a transaction is written once."""
    one, two = site.sockets().values()
    carried_out_once(one, two)


def succeeds(talk: Talk, action: str, **members: Any) -> bool:
    """Whether a request does."""
    return bool(talk(action, **members)["status"] == "success")


def test_what_devices_report_is_known_to_both(site: Site) -> None:
    """Counts and who is online are the same on both; a rollout that refusals at one gateway hold is held at both, and
    one that is killed knows all when it is back, with the settings of the other."""
    sockets, followers = site.sockets(), site.sockets()
    user, other = sockets[1], sockets[2]
    for number, talk in followers.items():
        device = f"pump-{number}"
        assert user("device/save", deviceId=device, device={"name": device})["status"] == "success"
        payload = {"userId": 1, "actions": [101], "networkIds": ["*"], "deviceTypeIds": ["*"], "deviceIds": [device]}
        token = user("token/create", payload=payload)["accessToken"]
        until(partial(succeeds, talk, "authenticate", token=token))
        until(partial(succeeds, talk, "configuration/subscribe", deviceId=device))
    started = user(
        "rollout/start",
        layer="global",
        changes=[{"operation": "put", "name": "baud", "value": "9600"}],
        steps=[{"percent": 100}],
        gate={"failures": 0, "minimum": 0, "wait": 0},
    )
    for number, talk in followers.items():
        while (pushed := talk.receive()).get("action") != "configuration/update":
            pass
        entry = {"name": "baud", "tag": pushed["configuration"]["tag"]}
        refused = {"error": "unsupported rate"} if number == 2 else {}
        assert talk("device/report", deviceId=f"pump-{number}", report=[entry | refused])["status"] == "success"

    def counts(talk: Talk) -> list[int]:
        found = talk("fleet/count", rollout=started["rollout"])
        return [found[each] for each in ("devices", "reached", "applied", "refused")]

    def is_held(talk: Talk) -> bool:
        found = talk("rollout/get", rollout=started["rollout"])["rollout"]
        return bool(found["state"] == "held") and counts(talk) == [2, 2, 1, 1]

    for talk in (user, other):
        until(partial(is_held, talk))
        assert talk("fleet/count")["online"] == 2
    site.settings.write_text("value_length = 3")
    os.kill(site.gateway.process.pid, signal.SIGHUP)
    until(lambda: len(site.gateway.events("reloaded")) == len(WORKERS))
    site.settings.write_text('value_length = 2\nhost = "::1"')  # for the next reload, and the next start
    os.kill(site.process(2), signal.SIGKILL)
    site.ready(2, starts=2)
    for talk in site.sockets().values():
        until(partial(is_held, talk))
        assert talk("configuration/put", name="short", value="123")["status"] == "success"
        assert talk("configuration/put", name="short", value="1234")["code"] == 400
