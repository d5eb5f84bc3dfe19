"""Processes that die at every operation of the disk; disks that are full or broken; torn files: nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage

from hivewire.devices.seeds import SAMPLE_DEVICE
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from tests.faults.disk import Fault, reachable
from tests.faults.station import Station, status
from tests.gate.wire import gauge, memory, until
from tests.running import PATIENCE, NotStarted, RunningGateway

OLD = Path(__file__).parents[1] / "ledger" / "files"
"""Files that gateways with an earlier schema made."""

pytestmark = pytest.mark.skipif(not reachable(), reason="the SQLite of this Python hides its functions")


@pytest.fixture
def station(data: Path) -> Station:
    return Station(data)


# Dying. Each gateway finds what the one before it left behind, and is the next to die.


@pytest.mark.parametrize("action", ["kill", "power cut"])
def test_a_gateway_that_dies_anywhere_in_a_commit_loses_nothing_answered(
    station: Station, action: Literal["kill", "power cut"]
) -> None:
    """Killed half way in each write, before and after the sync: the current put is there completely or not at all."""
    last = ("nothing", 0)
    met: list[str] = []
    for skip in range(20):
        station.desk.give()
        with station.start() as gateway:
            found = station.found(gateway)
            if met and met[-1] == "return":
                assert found["last"] == last, "it was durable, though nobody was told"
            elif action == "power cut":
                assert found.get("last") == station.answered.get("last"), "what was not synced came back"
            assert found.get("last") in (station.answered.get("last"), last)
            station.answered |= {"last": found["last"]} if "last" in found else {}
            station.check(gateway)
            with station.talk(gateway) as talk:
                for number in range(3):
                    station.put(talk, f"before.{number}", f"{skip}")
                station.desk.give(Fault(action, during="append", skip=skip))
                last = (f"value {skip}", station.answered.get("last", ("", 0))[1] + 1)
                if station.put(talk, "last", last[0])["status"] == "success":
                    break
                met += station.desk.met()
                assert gateway.process.wait(PATIENCE) == -9
    assert met == ["write .db-wal", "write .db-wal", "sync .db-wal", "return"]


LONG = (pytest.mark.long, pytest.mark.timeout(600))


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=LONG)])
@pytest.mark.parametrize("action", ["kill", "power cut"])
def test_writes_that_share_a_commit_are_there_in_order_and_each_of_them_whole(
    station: Station, action: Literal["kill", "power cut"], step: int
) -> None:
    """Of a put, a transaction of five names and a put in progress at once, a prefix is there after the restart.

    Mostly they are one commit, and now and then two, which have more operations.
    """
    states: list[dict[str, str]] = [{}]
    answered = skip = 0
    met: list[str] = []
    while True:
        station.desk.give()
        with station.start() as gateway:
            found = {name: value for name, (value, _) in station.found(gateway).items()}
            assert found in states[answered:], "a transaction in part, one before the other, or an answered one lost"
            whole = {f"n{number}": f"{skip} " * 1_000 for number in range(5)}
            changes = [{"operation": "put", "name": name, "value": value} for name, value in whole.items()]
            requests: list[dict[str, object]] = [
                {"action": "configuration/put", "name": "first", "value": f"{skip}"},
                {"action": "configuration/transact", "changes": changes},
                {"action": "configuration/put", "name": "last", "value": f"{skip}"},
            ]
            states = [found]
            for written in ({"first": f"{skip}"}, whole, {"last": f"{skip}"}):
                states.append(states[-1] | written)
            answered = 0
            with station.talk(gateway) as talk:
                station.desk.give(Fault(action, during="append", skip=skip))
                try:
                    for request in requests:
                        talk.connection.send(json.dumps(request))
                    for _ in requests:
                        assert talk.receive()["status"] == "success"
                        answered += 1
                    if step > 1 or "return" in met:
                        break
                    skip -= 1  # fewer than in the rounds before: which one is the last has to be found
                except ConnectionClosed:
                    met += station.desk.met()
                    assert gateway.process.wait(PATIENCE) == -9
                    skip += step
    assert len(met) >= 10 // step


def dies_in_a_start(station: Station, fault: Fault) -> list[str] | None:
    """The error of a start that died of the fault, None if it did not die. The next start has all that was answered."""
    station.desk.give(fault)
    try:
        station.start().stop()
        return None
    except NotStarted:
        met = station.desk.met()
    station.desk.give()
    with station.start() as gateway:
        station.check(gateway)
    return met


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 13), pytest.param("kill", 1, marks=LONG), pytest.param("power cut", 1, marks=LONG)]
)
def test_a_start_that_dies_while_it_makes_the_file_is_begun_again(
    tmp_path: Path, action: Literal["kill", "power cut"], step: int
) -> None:
    """A start killed at any operation of the only change of schema is followed by one that works."""
    met = []
    for skip in range(0, 1_000, step):
        folder = tmp_path / str(skip)
        folder.mkdir()
        station = Station(folder / "hivewire.db")
        died_at = dies_in_a_start(station, Fault(action, during="load", skip=skip))
        if died_at is None:
            break
        met += died_at
    assert len(met) >= 14 // step
    assert step > 1 or met[-1] == "return"


@pytest.mark.parametrize(
    ("action", "step"),
    [("kill", 9), ("power cut", 14), *(pytest.param(one, 1, marks=LONG) for one in ("kill", "power cut"))],
)
def test_a_start_that_dies_on_a_file_that_was_killed_is_begun_again(
    station: Station, action: Literal["kill", "power cut"], step: int
) -> None:
    """A start writes back the WAL of the killed gateway and begins a run. When it is killed at any operation, the next
    start has everything, and clients resume where they were."""
    met: list[str] = []
    epochs = set()
    for skip in range(0, 1_000, step):
        station.desk.give()
        with station.start() as gateway, station.talk(gateway) as talk:
            with station.talk(gateway) as watcher:
                epochs.add(watcher("configuration/subscribe", snapshot=False)["position"][:16])
            for number in range(3):
                station.put(talk, f"name {number}", f"{skip} {number}")
            gateway.process.kill()
            gateway.process.wait()
        died_at = dies_in_a_start(station, Fault(action, during="load", skip=skip))
        if died_at is None:
            break
        met += died_at
    assert len(met) >= 20 // step
    assert step > 1 or met[-1] == "return"
    assert len(epochs) == 1


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 13), *(pytest.param(one, 3, marks=LONG) for one in ("kill", "power cut"))]
)
def test_a_migration_that_dies_is_begun_again(tmp_path: Path, action: Literal["kill", "power cut"], step: int) -> None:
    """A start on a file of an earlier schema, killed anywhere within it: the next one has everything."""
    met: list[str] = []
    epochs = set()
    for skip in range(0, 1_000, step):
        folder = tmp_path / str(skip)
        folder.mkdir()
        station = Station(folder / "hivewire.db")
        shutil.copy(OLD / "2-killed.ledger", station.data)
        shutil.copy(OLD / "2-killed.ledger-wal", folder / "hivewire.db-wal")
        station.answered = {
            "limits.max": ("3", 3),
            "greeting": ("grüß dich", 1),
            "again": ("new", 1),
            "a": ("1", 1),
            "b": ("2", 1),
        }
        station.desk.give(Fault(action, during="load", skip=skip))
        try:
            station.start().stop()
            break
        except NotStarted:
            met += station.desk.met()
        station.desk.give()
        with station.start() as gateway:
            station.check(gateway)
            with station.talk(gateway) as talk:
                epochs.add(talk("configuration/subscribe", snapshot=False)["position"][:16])
    assert len(met) >= 40 // step
    assert len(epochs) == 1, "clients can go on where they were"


COMPACTING = ("--log-changes", "10", "--history", "1", "--compact-seconds")


@pytest.fixture
def overgrown(station: Station) -> Station:
    """A file with 1,500 changes of 500 names; 500 of the changes are needed."""
    with station.start(*COMPACTING, "86400") as gateway, station.talk(gateway) as talk:
        for turn in range(3):
            changes = [{"operation": "put", "name": f"n{n}", "value": f"{turn}" * 500} for n in range(500)]
            assert talk("configuration/transact", changes=changes)["status"] == "success"
        station.answered = {f"n{n}": ("2" * 500, 3) for n in range(500)}
        assert gateway.stop() == 0
    return station


POINTS = [
    *(("remember", call, skip) for call, skip in (("write", 0), ("write", 1), ("sync", 0), ("return", 0))),
    *(("remove", "write", skip) for skip in (0, 1, 5, 20, 80)),
    *(("remove", call, 0) for call in ("sync", "return")),
]


def test_a_gateway_that_dies_while_it_compacts_loses_nothing(overgrown: Station) -> None:
    """Killed while it notes where the log begins and while it removes: needed changes stay, and compaction
    continues."""
    points = [("remember", 0), ("remove", 0), ("remove", 20)]
    met = compacted_to_the_end(overgrown, [Fault("kill", during=during, skip=skip) for during, skip in points])
    assert len(met) == 3


@pytest.mark.long
@pytest.mark.parametrize("action", ["kill", "power cut"])
@pytest.mark.parametrize(("during", "call", "skip"), POINTS)
def test_a_compaction_can_be_cut_short_anywhere(
    overgrown: Station, action: Literal["kill", "power cut"], during: str, call: str, skip: int
) -> None:
    """The long form of the previous test: each operation by itself."""
    assert len(compacted_to_the_end(overgrown, [Fault(action, during=during, call=call, skip=skip)])) == 1


def compacted_to_the_end(station: Station, faults: list[Fault]) -> list[str]:
    """Let one gateway after the other die of these faults, until one survives; where they died."""
    met: list[str] = []
    for fault in [*faults, None]:
        station.desk.give(fault)
        with station.start(*COMPACTING, "0.1") as gateway:
            until(partial(dead_or_compacted, station, gateway))
            if gateway.process.poll() is not None:
                met += station.desk.met()
                continue
            station.desk.give()
            station.check(gateway)
            with station.talk(gateway) as talk:
                for name in ("n0", "n499"):  # where little is left to be removed, that waits for more
                    kept = talk("configuration/history", name=name)["changes"]
                    assert [change["configuration"]["entityVersion"] for change in kept] in ([3], [3, 2])
            station.check_after_kill(gateway, *COMPACTING, "0.1")
            return met
    raise AssertionError("none survived")


def dead_or_compacted(station: Station, gateway: RunningGateway) -> bool:
    """Whether the gateway has died, or has compacted everything."""
    return gateway.process.poll() is not None or compacted(station, gateway)


def compacted(station: Station, gateway: RunningGateway) -> bool:
    """Whether the last change of the first name is all that is left of it: the sweep goes through the log in order."""
    try:
        with station.talk(gateway) as talk:
            return len(talk("configuration/history", name="n0")["changes"]) == 1
    except (OSError, ConnectionClosed, InvalidMessage):
        return False  # it is dead


KILL, CUT = "kill", "power cut"
CHECKPOINTS = [
    *((KILL, "write", 20), (CUT, "write", 20), (CUT, "return", 0)),
    *(pytest.param(action, "write", n, marks=LONG) for action in (KILL, CUT) for n in (0, 1, 3, 10, 40, 80)),
    *(pytest.param(*point, 0, marks=LONG) for point in ((KILL, "sync"), (CUT, "sync"), (KILL, "return"))),
]


@pytest.mark.parametrize(("action", "call", "skip"), CHECKPOINTS)
def test_a_gateway_that_dies_in_a_checkpoint_loses_nothing(
    station: Station, action: Literal["kill", "power cut"], call: str, skip: int
) -> None:
    """The log's pages go from the WAL to the file at a stop; a stop that dies within, or right after, loses none."""
    with station.start() as gateway:
        with station.talk(gateway) as talk:
            for number in range(30):
                station.put(talk, f"name {number}", f"{number}" * 10_000)
        station.desk.give(Fault(action, call=call, during="close", file=".db", skip=skip))
        assert gateway.stop() == -9
        assert station.desk.met() == ["return" if call == "return" else f"{call} .db"]
    station.desk.give()
    with station.start() as gateway:
        station.check(gateway)
        assert gateway.stop() == 0


CHECKPOINTS_AT_WORK = [
    *((KILL, "write", 0), (CUT, "sync", 0)),
    *(pytest.param(action, "write", n, marks=LONG) for action in (KILL, CUT) for n in (1, 20, 400)),
    *(pytest.param(*point, 0, marks=LONG) for point in ((KILL, "sync"), (CUT, "write"))),
]


@pytest.mark.parametrize(("action", "call", "skip"), CHECKPOINTS_AT_WORK)
def test_a_gateway_that_dies_in_a_checkpoint_at_work_loses_nothing(
    station: Station, action: Literal["kill", "power cut"], call: str, skip: int
) -> None:
    """The same during puts: SQLite writes the WAL back within the put that made it long enough."""
    # On a slow machine a commit may take long, and no put may be refused for that before the checkpoint.
    with station.start("--stall-seconds", "600") as gateway, station.talk(gateway) as talk:
        station.desk.give(Fault(action, call=call, during="append", file=".db", skip=skip))
        for number in range(200):
            value = f"{number:3}" * 20_000
            if station.put(talk, f"name {number % 5}", value)["status"] != "success":
                break
        assert gateway.process.wait(PATIENCE) == -9
        assert station.desk.met() == [f"{call} .db"]
    station.desk.give()
    with station.start() as gateway:
        # The checkpoint comes behind the sync of a commit. Was it that of the put, and not of something that the
        # gateway notes for itself, then the put was durable, and nobody was told.
        name = f"name {number % 5}"
        untold = (value, station.answered[name][1] + 1)
        if station.found(gateway)[name] == untold:
            station.answered[name] = untold
        station.check(gateway)
        station.check_after_kill(gateway)


# Full and broken.


class Full:
    """A disk that SQLite is told is full."""

    def __init__(self, station: Station) -> None:
        self._desk = station.desk

    def fill(self) -> None:
        self._desk.give(Fault("ENOSPC", call="write"))

    def free(self) -> None:
        self._desk.give()


class Small:
    """A disk of 4 MiB that is full: a file takes what is left of it."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError:
                pass  # not one page more

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture(params=["a small disk", pytest.param("told so", marks=LONG)])
def full(request: pytest.FixtureRequest, station: Station) -> Iterator[Full | Small]:
    """A full disk: a real one where the tests may mount one, else a limit inside SQLite."""
    folder = station.data.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if request.param == "told so" or subprocess.run(mount, capture_output=True).returncode:
        yield Full(station)
    else:
        yield Small(folder)
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_puts_and_loses_nothing(station: Station, full: Full | Small) -> None:
    """Puts get 503 and gets work; with space again puts work; a refused write never appears, even after kill -9."""
    refused = unavailable(station, full.fill, full.free)
    assert "full; nothing was written" in refused["error"]


@pytest.mark.parametrize("call", ["sync", pytest.param("write", marks=LONG)])
def test_a_disk_that_fails_refuses_puts_and_loses_nothing(station: Station, call: str) -> None:
    """The same for input/output errors of a write and of a sync. After the latter a start would find the puts, until
    another write is done: nobody is told that nothing was written."""
    fault, said = Fault("EIO", call=call), {"sync": "not known", "write": "I/O error; nothing was written"}
    refused = unavailable(station, lambda: station.desk.give(fault), station.desk.give)
    assert said[call] in refused["error"]


REFUSALS = 2_000


def unavailable(station: Station, break_: Callable[[], None], mend: Callable[[], None]) -> dict[str, Any]:
    """A gateway whose disk takes nothing for a while; how it refused a put."""
    with station.start() as gateway, station.talk(gateway) as talk:
        assert station.put(talk, "before", "1")["status"] == "success"
        station.desk.give()
        break_()
        for number in range(50):  # SQLite writes into the room that its file has before it asks for more
            refused = station.put(talk, f"full {number}", "x" * 20_000)
            if refused["status"] == "error":
                break
        assert refused["code"] == 503
        assert station.put(talk, "before", "x" * 20_000)["code"] == 503
        before = memory(gateway)
        for number in range(REFUSALS):
            assert station.put(talk, f"refused {number}", "x" * 20_000)["code"] == 503
        assert memory(gateway) < before + REFUSALS * 20_000 // 4, "refused puts are kept"
        assert status(gateway, "/health/ready?for=writes") == 503
        assert status(gateway, "/health/ready") == 200, "it serves reads"
        assert status(gateway, "/health/live") == 200
        assert talk("configuration/get", name="before")["configuration"]["value"] == "1"
        mend()
        assert station.put(talk, "before", "2")["configuration"]["entityVersion"] == 2
        station.check(gateway)
        station.check_after_kill(gateway)
    return refused


def test_a_failed_checkpoint_affects_no_put(station: Station) -> None:
    """The WAL takes what the file itself does not; puts are answered, and all are there after kill -9."""
    with station.start() as gateway, station.talk(gateway) as talk:
        station.desk.give(Fault("EIO", call="write", file=".db"))
        for number in range(150):
            assert station.put(talk, f"name {number % 5}", f"{number}" * 20_000)["status"] == "success"
        assert station.desk.met(), "no checkpoint was tried"
        station.desk.give()
        station.check(gateway)
        station.check_after_kill(gateway)


def test_an_unreadable_disk_fails_only_requests_that_read_it(station: Station) -> None:
    """A history that cannot be read is an error for its caller, and puts are refused; gets still work."""
    with station.start() as gateway, station.talk(gateway) as talk:
        for number in range(300):
            station.put(talk, f"name {number % 3}", f"{number}" * 5_000)
        station.desk.give(Fault("EIO", call="read"))
        asked = talk("configuration/history", name="name 0", before=80, take=20)
        assert (asked["status"], asked["code"]) == ("error", 500)
        assert station.desk.met()
        assert talk("configuration/get", name="name 1")["status"] == "success"
        station.put(talk, "name 1", "newer")  # which may be refused: it reads where in the file it has to write
        station.desk.give()
        assert station.put(talk, "name 1", "new")["status"] == "success"
        assert len(talk("configuration/history", name="name 0", before=80, take=20)["changes"]) == 20
        station.check(gateway)
        until(lambda: gateway.events("unexpected error") or gateway.noise)  # its lines are read by a thread
        assert (len(gateway.events("unexpected error")), gateway.noise) == (1, []), "the operator is told"
        station.check_after_kill(gateway)


@pytest.mark.long
def test_a_start_on_a_broken_disk_says_so_and_changes_nothing(station: Station) -> None:
    """It ends with one readable line, and the next start finds everything."""
    with station.start() as gateway, station.talk(gateway) as talk:
        station.put(talk, "before", "1")
        gateway.process.kill()
        gateway.process.wait()
    station.desk.give(Fault("EIO", call="read"))
    with pytest.raises(NotStarted, match=r"\(1\).*hivewire: error: .*I/O error"):
        station.start()
    station.desk.give()
    with station.start() as gateway:
        station.check(gateway)


def test_a_disk_that_hangs_holds_nobody_up(station: Station) -> None:
    """Its writers are told that the outcome is unknown, later ones are refused at once, and gets work all the time."""
    gateway = station.start("--stall-seconds", "3")  # at its start a disk that works must not seem to hang
    with gateway, station.talk(gateway) as talk, station.talk(gateway) as other:
        assert station.put(talk, "before", "1")["status"] == "success"
        station.desk.give(Fault("hang", call="sync", during="append"))
        hung = talk("configuration/put", name="hung", value="1")
        assert (hung["code"], hung["error"]) == (503, "not known whether this was written; read before trying again")
        refused = other("configuration/put", name="refused", value="1")
        assert (refused["code"], "nothing was written" in refused["error"]) == (503, True)
        assert other("configuration/get", name="before")["configuration"]["value"] == "1"
        assert other("configuration/get", name="hung")["code"] == 404, "what may not be durable is not shown"
        assert (status(gateway, "/health/ready"), status(gateway, "/health/ready?for=writes")) == (200, 503)
        assert gauge(gateway, "commit_waiting_seconds") >= 3
        assert gauge(gateway, "writable") == 0
        [told] = gateway.events("writes fail")
        assert told["level"] == "error"
        station.desk.give()
        until(lambda: status(gateway, "/health/ready?for=writes") == 200)
        station.answered["hung"] = ("1", 1)
        assert gauge(gateway, "commit_waiting_seconds") == 0
        assert gauge(gateway, "writable") == 1
        station.check(gateway)
        station.check_after_kill(gateway)


def test_a_gateway_whose_messages_are_not_written_is_not_ready_for_writes(station: Station) -> None:
    """Puts and gets work; when the disk works again it is ready, although nobody has inserted anything."""
    with station.start() as gateway, station.talk(gateway) as talk:
        station.desk.give(Fault("ENOSPC", call="write", file=".messages-wal"))
        insert = {"deviceId": SAMPLE_DEVICE, "notification": {"notification": "n"}}
        assert talk("notification/insert", **insert)["code"] == 503
        assert station.put(talk, "before", "1")["status"] == "success"
        reason = "commands or notifications are not written: "
        with httpx.Client(base_url=gateway.url) as http:
            ready, for_writes = (http.get(f"/health/ready{query}") for query in ("", "?for=writes"))
        assert (ready.status_code, ready.json()["writesRefused"].startswith(reason)) == (200, True)
        assert (for_writes.status_code, for_writes.json()["reason"].startswith(reason)) == (503, True)
        station.desk.give()
        until(lambda: status(gateway, "/health/ready?for=writes") == 200)
        assert talk("notification/insert", **insert)["status"] == "success"


def test_a_commit_whose_sync_failed_is_overwritten_before_its_writers_are_told(station: Station) -> None:
    """A put whose fsync failed is answered with 503; a gateway killed right then starts without it."""
    with station.start() as gateway, station.talk(gateway) as talk:
        assert station.put(talk, "before", "1")["status"] == "success"
        station.desk.give(Fault("EIO", call="sync", during="append", times=1))
        refused = station.put(talk, "refused", "1")
        gateway.process.kill()
        gateway.process.wait()
        assert (refused["code"], "nothing was written" in refused["error"]) == (503, True)
        assert station.desk.met()
    station.desk.give()
    with station.start() as restarted:
        station.check(restarted)


def test_a_commit_whose_sync_failed_is_answered_though_the_disk_then_hangs(station: Station) -> None:
    """The write over it is waited for a second at most, also where `stall_seconds` are long. Until then a start may
    find the commit, so nobody is told that nothing was written."""
    with station.start("--stall-seconds", "600") as gateway, station.talk(gateway) as talk:
        assert station.put(talk, "before", "1")["status"] == "success"
        station.desk.give(Fault("EIO", call="sync", during="append", times=1, then=Fault("hang", during="remember")))
        refused = station.put(talk, "refused", "1")
        assert (refused["code"], "not known whether this was written" in refused["error"]) == (503, True)
        assert len(station.desk.met()) == 2
        assert talk("configuration/get", name="before")["configuration"]["value"] == "1"
        station.desk.give()
        until(lambda: station.put(talk, "after", "1")["status"] == "success")
        station.check(gateway)
        station.check_after_kill(gateway)


# Torn.


@pytest.mark.parametrize("step", [1_031, pytest.param(53, marks=LONG)])
async def test_a_torn_end_of_the_wal_costs_only_the_commit_in_it(station: Station, tmp_path: Path, step: int) -> None:
    """Cut off or damaged anywhere after the answered writes, the WAL still has all of those, and no part of others."""
    with station.start() as gateway, station.talk(gateway) as talk:
        for number in range(5):
            station.put(talk, f"name {number}", f"{number}" * 3_000)
        wal = station.data.with_name("hivewire.db-wal")
        whole = wal.stat().st_size
        assert talk("configuration/put", name="torn", value="x" * 9_000)["status"] == "success"
        gateway.process.kill()
        gateway.process.wait()
    content = wal.read_bytes()
    expected = {name: (value.encode(), version) for name, (value, version) in station.answered.items()}
    for cut in range(whole, len(content), step):
        before = content[:cut]
        garbled = before + os.urandom(40) + content[cut + 40 :]
        for number, torn in enumerate((before, garbled, before + bytes(5_000), before + before)):
            folder = tmp_path / f"{cut}-{number}"
            folder.mkdir()
            shutil.copy(station.data, folder)
            (folder / wal.name).write_bytes(torn)
            ledger = Ledger(SqliteJournal(folder / station.data.name), lambda: 1)
            await ledger.open()
            live = ledger.kind("configuration").live
            assert {name: (change.content, change.version) for name, change in live.items()} == expected
            await ledger.close()
            shutil.rmtree(folder)
    wal.write_bytes(content[: whole + 1_000])
    with station.start() as gateway:
        station.check(gateway)
        station.check_after_kill(gateway)
