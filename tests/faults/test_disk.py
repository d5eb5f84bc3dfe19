"""Processes that die at every operation of the disk; disks that are full or broken; torn files: nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.sqlite import SqliteJournal
from tests.faults.disk import Fault, reachable
from tests.faults.station import Station
from tests.gate.wire import until
from tests.running import NotStarted, RunningGateway

pytestmark = pytest.mark.skipif(not reachable(), reason="the SQLite of this Python hides its functions")


@pytest.fixture
def station(data: Path) -> Station:
    return Station(data)


# Dying. Each gateway finds what the one before it left behind, and is the next to die.


@pytest.mark.parametrize("action", ["kill", "power cut"])
def test_a_gateway_that_dies_anywhere_in_a_commit_loses_nothing_answered(station: Station, action: str) -> None:
    """Killed half way in each write, before and after the sync: the put under way is there whole or not at all."""
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
                assert gateway.process.wait(20) == -9
    assert met == ["write .db-wal", "write .db-wal", "sync .db-wal", "return"]


LONG = (pytest.mark.long, pytest.mark.timeout(600))


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 9), pytest.param("kill", 1, marks=LONG), pytest.param("power cut", 1, marks=LONG)]
)
def test_a_start_that_dies_while_it_makes_the_file_is_begun_again(station: Station, action: str, step: int) -> None:
    """The one change of schema that there is: a start killed within it is followed by one that works."""
    assert cut_short(station, action, step) >= 20 // step


def cut_short(station: Station, action: str, step: int) -> int:
    """Let the first start die at every so many-th operation, always over what the one before left; how many died."""
    for died in range(1_000):
        station.desk.give(Fault(action, during="load", skip=died * step))
        try:
            gateway = station.start()
        except NotStarted:
            assert len(station.desk.met()) == 1
            continue
        with gateway:
            station.desk.give()
            station.check(gateway)
            station.check_after_kill(gateway)
            return died
    raise AssertionError("it never started")


COMPACTING = ("--log-changes", "10", "--history", "1", "--compact-seconds")


@pytest.fixture
def overgrown(station: Station) -> Station:
    """A file with 1,500 changes of 500 names, of which 500 are needed."""
    with station.start(*COMPACTING, "86400") as gateway, station.talk(gateway) as talk:
        for turn in range(3):
            changes = [{"operation": "put", "name": f"n{n}", "value": f"{turn}" * 500} for n in range(500)]
            assert talk("configuration/transact", changes=changes)["status"] == "success"
        station.answered = {f"n{n}": ("2" * 500, 3) for n in range(500)}
        assert gateway.stop() == 0
    return station


@pytest.mark.parametrize("action", ["kill", pytest.param("power cut", marks=LONG)])
def test_a_gateway_that_dies_while_it_compacts_loses_nothing(overgrown: Station, action: str) -> None:
    """Killed while it notes where the log begins and while it removes: the needed stays, and the next one goes on."""
    points = [("remember", 0), ("remove", 0), ("remove", 20), ("remove", 10_000)]
    met = compacted_to_the_end(overgrown, [Fault(action, during=name, skip=skip) for name, skip in points])
    assert len(met) == 3, "the last point is behind the end"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", ["kill", "power cut"])
@pytest.mark.parametrize("name", ["remember", "remove"])
def test_a_compaction_can_be_cut_short_at_every_operation(overgrown: Station, action: str, name: str) -> None:
    """The long form of the one before: at each operation, until a gateway survives."""
    met = compacted_to_the_end(overgrown, [Fault(action, during=name, skip=skip) for skip in range(1_000)])
    assert {"write .db-wal", "sync .db-wal", "return"} <= {*met}


def compacted_to_the_end(station: Station, faults: list[Fault]) -> list[str]:
    """Let one gateway after the other die of these faults, until one survives; where they died."""
    met: list[str] = []
    for fault in faults:
        station.desk.give(fault)
        with station.start(*COMPACTING, "0.1") as gateway:
            until(lambda gateway=gateway: gateway.process.poll() is not None or compacted(station, gateway))
            if gateway.process.poll() is None:
                break
            met += station.desk.met()
    station.desk.give()
    with station.start(*COMPACTING, "0.1") as gateway:
        until(lambda: compacted(station, gateway))
        station.check(gateway)
        with station.talk(gateway) as talk:
            for name in ("n0", "n499"):
                kept = talk("configuration/history", name=name)["changes"]
                assert [change["configuration"]["entityVersion"] for change in kept] == [3]
        station.check_after_kill(gateway, *COMPACTING, "0.1")
    return met


def compacted(station: Station, gateway: RunningGateway) -> bool:
    """Whether the last change of a name is all that is left of it."""
    try:
        with station.talk(gateway) as talk:
            return len(talk("configuration/history", name="n499")["changes"]) == 1
    except (OSError, ConnectionClosed, InvalidMessage):
        return False  # it is dead


@pytest.mark.parametrize("skip", [20, *(pytest.param(skip, marks=LONG) for skip in (0, 1, 3, 10, 40, 80))])
def test_a_gateway_that_dies_in_a_checkpoint_loses_nothing(station: Station, skip: int) -> None:
    """The log's pages go from the WAL to the file at a stop; a stop that is killed within loses none of them."""
    with station.start() as gateway:
        with station.talk(gateway) as talk:
            for number in range(30):
                station.put(talk, f"name {number}", f"{number}" * 10_000)
        station.desk.give(Fault("kill", during="close", file=".db", skip=skip))
        assert gateway.stop() == -9
        assert station.desk.met() == ["write .db"]
    station.desk.give()
    with station.start() as gateway:
        station.check(gateway)
        assert gateway.stop() == 0


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


@pytest.fixture(params=["a small disk", "told so"])
def full(request: pytest.FixtureRequest, station: Station) -> Iterator[Full | Small]:
    """Disks without room: a real one, where the tests may mount one, and one that only SQLite takes for it."""
    folder = station.data.parent
    if request.param == "told so":
        yield Full(station)
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    yield Small(folder)
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_puts_and_loses_nothing(station: Station, full: Full | Small) -> None:
    """Puts get 503 and gets go on; with room again puts work; what was refused is never there, not after kill -9."""
    refused = unavailable(station, full.fill, full.free)
    assert "full" in refused["error"]


@pytest.mark.parametrize("call", ["sync", pytest.param("write", marks=LONG)])
def test_a_disk_that_fails_refuses_puts_and_loses_nothing(station: Station, call: str) -> None:
    """The same for input/output errors of a write and of a sync."""
    fault = Fault("EIO", call=call)
    refused = unavailable(station, lambda: station.desk.give(fault), station.desk.give)
    assert "I/O error" in refused["error"]


def unavailable(station: Station, break_: Callable[[], None], mend: Callable[[], None]) -> dict[str, object]:
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
        assert "nothing was written" in refused["error"]
        assert station.put(talk, "before", "x" * 20_000)["code"] == 503
        assert httpx.get(gateway.url + "/health/ready").status_code == 503
        assert httpx.get(gateway.url + "/health/live").status_code == 200
        assert talk("configuration/get", name="before")["configuration"]["value"] == "1"
        mend()
        assert station.put(talk, "before", "2")["configuration"]["entityVersion"] == 2
        station.check(gateway)
        station.check_after_kill(gateway)
    return refused


def test_a_checkpoint_that_fails_harms_no_put(station: Station) -> None:
    """The WAL takes what the file itself does not; puts are answered, and all are there after kill -9."""
    with station.start() as gateway, station.talk(gateway) as talk:
        station.desk.give(Fault("EIO", call="write", file=".db"))
        for number in range(150):
            assert station.put(talk, f"name {number % 5}", f"{number}" * 20_000)["status"] == "success"
        assert station.desk.met(), "no checkpoint was tried"
        station.desk.give()
        station.check(gateway)
        station.check_after_kill(gateway)


def test_a_disk_that_cannot_be_read_fails_only_who_reads_from_it(station: Station) -> None:
    """A history that the disk does not give is an error for who asks, a put is refused; gets go on."""
    with station.start() as gateway:
        with station.talk(gateway) as talk:
            for number in range(300):
                station.put(talk, f"name {number % 3}", f"{number}" * 5_000)
        assert gateway.stop() == 0  # so that nothing of it is in memory but the last versions
    with station.start() as gateway, station.talk(gateway) as talk:
        station.desk.give(Fault("EIO", call="read"))
        asked = talk("configuration/history", name="name 0", before=80, take=20)
        assert (asked["status"], asked["code"]) == ("error", 500)
        assert station.desk.met()
        assert talk("configuration/get", name="name 1")["status"] == "success"
        assert station.put(talk, "name 1", "new")["code"] == 503  # it reads where in the file it has to write
        station.desk.give()
        assert station.put(talk, "name 1", "new")["status"] == "success"
        assert len(talk("configuration/history", name="name 0", before=80, take=20)["changes"]) == 20
        station.check(gateway)
        assert len(gateway.events("unexpected error")) == 1, "the operator is told"
        station.check_after_kill(gateway)


def test_a_start_on_a_broken_disk_says_so_and_harms_nothing(station: Station) -> None:
    """It ends with a line for people, and the next start finds everything."""
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


# Torn.


@pytest.mark.parametrize("step", [1_031, pytest.param(53, marks=LONG)])
async def test_a_torn_end_of_the_wal_costs_only_the_commit_in_it(station: Station, tmp_path: Path, step: int) -> None:
    """Cut off or garbled anywhere behind what was answered, the WAL still gives all of that, and nothing in part."""
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
