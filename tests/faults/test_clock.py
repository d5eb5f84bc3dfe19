"""A clock that is set: nothing is lost, nothing goes backwards, nobody is locked out, no token lives for longer."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.faults.station import MEBI, Station
from tests.gate.wire import gauge, guess, memory, until
from tests.protocol import tenants
from tests.running import PASSWORD

HOUR = 3_600


@pytest.fixture
def station(data: Path) -> Station:
    return Station(data)


def test_versions_and_times_go_on(station: Station) -> None:
    """Versions and revisions go up, the time of a name never down, and a watcher resumes without a gap."""
    flags = ("--log-days", "0.02", "--compact-seconds", "0.1")
    with station.start(*flags) as gateway:
        with station.talk(gateway) as talk:
            for number in range(20):
                station.put(talk, "a", str(number))
            begun = talk("configuration/subscribe", names=["a"])
            assert begun["mode"] == "snapshot"
            position = talk.receive()["position"]
            before = talk("configuration/history", name="a")["changes"][0]

        station.desk.give(clock=-HOUR)
        with station.talk(gateway) as talk:  # with a token of this hour: those of a later one do not count
            put = station.put(talk, "a", "an hour ago")
            assert put["revision"] > before["revision"]
            station.put(talk, "b", "new")
            changes = talk("configuration/history", name="a", take=100)["changes"]
        assert [change["configuration"]["entityVersion"] for change in changes] == list(range(21, 0, -1))
        assert changes[0]["modified"] == before["modified"]
        assert gauge(gateway, "ledger_oldest") == 1, "nothing left the log early"

        with station.talk(gateway) as late:
            assert late("configuration/subscribe", names=["*"], since=position)["mode"] == "resumed"
            assert [late.receive()["configuration"]["name"] for _ in range(2)] == ["a", "b"]
        station.desk.give(clock=HOUR)
        until(lambda: gauge(gateway, "ledger_oldest") > 20)  # the log is shortened when its time has come
        station.check(gateway)
        station.desk.give(clock=-HOUR)
        station.check_after_kill(gateway)


def test_changes_are_not_kept_in_memory(data: Path) -> None:
    """28 MiB of changes of one name, all too young to leave the log, are in the file only."""
    station = Station(data, faults="clock")
    with station.start() as gateway, station.talk(gateway) as talk:

        def write(changes: int) -> None:
            for number in range(changes):
                station.put(talk, "a", f"{number:06}" * 10_000)

        write(600)  # what SQLite keeps of its file
        before = memory(gateway)
        station.desk.give(clock=-HOUR)
        write(500)
        assert memory(gateway) < before + 16 * MEBI
        station.check(gateway)
        station.check_after_kill(gateway)


def test_tokens_and_logins_are_good(station: Station) -> None:
    """New tokens are valid at once; a login that has to wait waits a second and not an hour."""
    with station.start() as gateway:
        station.check_alive(gateway)
        with gateway.http("") as http:

            def login(password: str) -> int:
                return http.post("/token", json={"login": "admin", "password": password}).status_code

            def waits() -> bool:
                guess(lambda: login("wrong password"))
                return login(PASSWORD) == 429

            until(waits)
            station.desk.give(clock=-HOUR)
            until(lambda: login(PASSWORD) == 201)
            station.check_alive(gateway)
        with gateway.http() as http:
            assert http.get("/user/current").status_code == 200
        station.check_after_kill(gateway)


def test_tokens_of_a_clock_that_was_ahead_end_when_it_is_set_right(station: Station) -> None:
    """400 days: tokens and sessions from that time are refused, on open sockets too; the operator is told."""
    days = 400 * 24 * HOUR
    with station.start() as gateway:
        old = gateway.token()
        station.desk.give(clock=days)
        site = gateway.url + "/@api/deki/"
        session = httpx.get(site + "users/authenticate", auth=("admin", PASSWORD)).text
        with station.talk(gateway) as talk, gateway.http() as http:
            assert talk("configuration/subscribe", snapshot=False)["status"] == "success"
            assert http.put("/configuration/a", json={"value": "1"}).status_code == 200
            assert talk.receive()["action"] == "configuration/update"
            until(lambda: gateway.events("the clock was set"))
            station.desk.give()
            assert talk.receive() == {"action": "subscription/paused", "subscriptionId": 1, "reason": "Unauthorized"}
            assert talk("configuration/list")["code"] == 401
            assert http.get("/configuration/a").status_code == 401
        assert httpx.get(site + "site/properties", headers={"X-Authtoken": session}).status_code == 403
        assert httpx.get(gateway.url + "/health/ready").status_code == 200
        ready = httpx.get(gateway.url + "/health/ready?for=writes")
        assert (ready.status_code, "days behind" in ready.json()["reason"]) == (503, True)
        until(lambda: gateway.events("the clock is behind the last change"))
        assert [round(told["seconds"] / days) for told in gateway.events("the clock was set")] == [1, -1]
        with gateway.http(old) as http:
            assert http.get("/configuration/a").status_code == 200
            assert http.put("/configuration/b", json={"value": "1"}).status_code == 200
        assert httpx.get(gateway.url + "/health/ready?for=writes").status_code == 200
        gateway.process.kill()
        gateway.process.wait()


def test_a_clock_that_was_never_set(station: Station) -> None:
    """A new data file in 1970: tokens are good, but the gateway is not ready for writes until the clock is set."""
    station.desk.give(clock=30 - int(time.time()))
    with station.start() as gateway:
        with gateway.http(gateway.token()) as http:
            assert http.get("/user/current").status_code == 200
            ready = httpx.get(gateway.url + "/health/ready?for=writes")
            assert (ready.status_code, ready.json()["reason"]) == (503, "the clock is before 2020; set it")
            assert gateway.events("the clock is before 2020; is it set?")
            station.desk.give()
            until(lambda: http.get("/user/current").status_code == 401)
        assert httpx.get(gateway.url + "/health/ready?for=writes").status_code == 200
        station.check_after_kill(gateway)


def test_a_tenants_document_keeps_its_seconds(station: Station) -> None:
    """Each save is dated a second after the previous one, so that `If-Unmodified-Since` still detects a late writer."""
    with station.start() as gateway, gateway.http() as http:
        assert http.post("/tenant", json={"tenantId": "t"}).status_code == 201
        url = f"{gateway.url}/reltio/api/t/configuration"

        def save(label: str, since: str | None = None) -> httpx.Response:
            headers = {"If-Unmodified-Since": since} if since is not None else {}
            return http.put(url, json=tenants.document(label=label), headers=headers)

        first = save("first")
        station.desk.give(clock=-HOUR)
        http.headers["Authorization"] = f"Bearer {gateway.token()}"
        second = save("second", first.headers["last-modified"])
        assert second.status_code == 200
        assert second.json()["updatedTime"] // 1_000 == first.json()["updatedTime"] // 1_000 + 1
        assert save("late", first.headers["last-modified"]).status_code == 412
        third = save("third", second.headers["last-modified"])
        assert third.status_code == 200
        gateway.process.kill()
        gateway.process.wait()
    with station.start() as gateway, gateway.http() as http:
        assert http.get(url.replace(url[: url.index("/reltio")], gateway.url)).json() == third.json()
        station.check(gateway)
