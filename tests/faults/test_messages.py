"""A store of messages that dies at every operation of the disk, and disks that are full: nothing answered is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.faults.disk import Desk, Fault, reachable
from tests.forked import Piped
from tests.running import PATIENCE
from tests.streams.kit import HOUR

pytestmark = pytest.mark.skipif(not reachable(), reason="the SQLite of this Python hides its functions")

ACTIONS = ("kill", "power cut")
LONG = (pytest.mark.long, pytest.mark.timeout(600))


class Died(Exception):
    """The process is no more."""


class Store:
    """One process with a store of messages."""

    def __init__(self, station: Station) -> None:
        environment = os.environ | {"FAULTS": str(station.orders)}
        self._process = Piped("tests.faults.messages:main", [str(station.path)], environment)
        self._read()

    def __call__(self, request: str) -> Any:
        """What it answers. Raises Died when it dies of that, or has died since its last answer."""
        with suppress(BrokenPipeError):
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise Died
        return json.loads(line)

    def kill(self) -> None:
        """With SIGKILL."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process.close()

    def stop(self) -> None:
        """In peace."""
        self._process.close()
        assert self._process.wait(PATIENCE) == 0


class Station:
    """The file, the orders for the disk, and what was answered: pairs of a place and a value."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hivewire.db.messages"
        self.orders = folder / "orders"
        self.desk = Desk(self.orders)
        self.answered: list[list[Any]] = []
        self.number = self.count = 0

    def start(self, fault: Fault | None = None) -> Store:
        """A process in which this goes wrong from the beginning."""
        self.desk.give(fault)
        self.last = Store(self)
        return self.last

    def insert(self, store: Store, count: int = 3, what: str = "insert") -> list[Any]:
        """Insert messages of a new value, or update the oldest one, and remember them when they are answered."""
        self.number += 1
        self.count = count
        value = f"v{self.number}"
        places = store(f"{what} {count} {value}")
        self.answered += [[place, value] for place in places if isinstance(place, int)]
        return [place for place in places if not isinstance(place, int)]

    def check(self, store: Store) -> None:
        """Everything that was answered is there, and of what was in progress at most all of one entry."""
        found = store("all")
        assert found[: len(self.answered)] == self.answered
        more = found[len(self.answered) :]
        assert len(more) in (0, self.count)
        assert {value for _, value in more} <= {f"v{self.number}"}
        self.answered = found


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path)
    yield station
    station.last.kill()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_store_that_dies_anywhere_in_a_commit_loses_nothing_answered(
    station: Station, action: Literal["kill", "power cut"]
) -> None:
    """An entry is there completely or not at all; what was never synced does not come back."""
    met: list[str] = []
    for skip in range(20):
        store = station.start()
        answered = len(station.answered)
        station.check(store)
        if met and action == "power cut" and met[-1] != "return":
            assert len(station.answered) == answered, "what was not synced came back"
        station.insert(store)
        station.desk.give(Fault(action, during="append", skip=skip))
        try:
            station.insert(store)
            store.kill()
            break
        except Died:
            met += station.desk.met()
    assert met == ["write .messages-wal", "write .messages-wal", "sync .messages-wal", "return"]


@pytest.mark.parametrize("action", ["kill", pytest.param("power cut", marks=LONG)])
def test_an_insert_whose_answer_was_lost_is_repeated_under_its_key(
    station: Station, action: Literal["kill", "power cut"]
) -> None:
    """Wherever the store dies between the request and its answer, there is one message when the client has asked
    again, also after the key's segment was closed."""
    places: dict[str, int] = {}
    lost = 0  # answers to what was stored
    for skip in range(20):
        store, key = station.start(), f"key-{skip}"
        station.desk.give(Fault(action, during="append", skip=skip))
        try:
            store(f"key {key} {key}")
            store.kill()
            break
        except Died:
            store = station.start()
        before = [place for place, value in store("all") if value == key]
        places[key] = store(f"key {key} {key}")
        assert before in ([], [places[key]])
        lost += len(before)
        station.insert(store)
        store("on 0")
        store.kill()
    assert len(places) >= 4
    assert lost >= 1
    store = station.start()
    assert {key: store(f"key {key} {key}") for key in places} == places
    assert [[value, place] for place, value in store("all") if value in places] == [list(at) for at in places.items()]
    store.stop()


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 3), *(pytest.param(action, 1, marks=LONG) for action in ACTIONS)]
)
def test_a_command_whose_update_dies_never_goes_back(
    station: Station, action: Literal["kill", "power cut"], step: int
) -> None:
    """It is as the last answered update left it, or as the one in progress; each event is there once."""
    died = 0
    store = station.start()
    station.insert(store, 1)
    for skip in range(0, 20, step):
        station.insert(store, 1, "update")
        station.desk.give(Fault(action, during="append", skip=skip))
        try:
            station.insert(store, 1, "update")
            break
        except Died:
            died += 1
        store = station.start()
        station.check(store)
        assert store("state") == station.answered[-1][1]
        assert len({place for place, _ in station.answered}) == len(station.answered)
    assert died == (4 if step == 1 else 2)


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 4), *(pytest.param(action, 1, marks=LONG) for action in ACTIONS)]
)
@pytest.mark.parametrize("during", ["seal", "drop"])
def test_a_store_that_dies_between_commits_loses_nothing(
    station: Station, action: Literal["kill", "power cut"], step: int, during: str
) -> None:
    """While a segment is closed, or dropped: what is too young to be dropped is there."""
    died = 0
    for skip in range(0, 9, step):
        store = station.start()
        station.check(store)
        station.insert(store, 4)
        station.insert(store, 4)
        store("on 0")
        station.desk.give(Fault(action, during=during, skip=skip))
        try:
            if during == "seal":
                station.insert(store, 4)
                store("on 0")
            else:
                store(f"on {HOUR}")
            store.kill()
        except Died:
            died += 1
        store = station.start()
        found = store("all")
        if during == "drop":
            assert len(found) % 4 == 0
            assert found == station.answered[len(station.answered) - len(found) :], "the end of what there was"
            station.answered = found
        store.stop()
    assert died >= 1


@pytest.mark.parametrize(
    ("action", "step"), [("kill", 3), *(pytest.param(action, 1, marks=LONG) for action in ACTIONS)]
)
def test_a_start_that_dies_is_begun_again(station: Station, action: Literal["kill", "power cut"], step: int) -> None:
    """On a new file, on one that was killed and on one that was closed."""
    died = 0
    for skip in range(0, 300, step):
        try:
            store = station.start(Fault(action, during="load", skip=skip))
        except Died:
            died += 1
        else:
            store.kill()
            break
        store = station.start()
        station.check(store)
        station.insert(store)
        if skip % 2:
            store.kill()
        else:
            store.stop()
    assert died >= 2
    station.check(station.start())


def test_a_stop_that_dies_is_as_good_as_a_kill(station: Station) -> None:
    """While the WAL is written back."""
    for skip in range(0, 9, 4):
        store = station.start()
        station.check(store)
        station.insert(store)
        station.desk.give(Fault("power cut", during="close", skip=skip))
        try:
            store.stop()
            break
        except AssertionError:
            assert station.desk.met()
    store = station.start()
    station.check(store)
    store.stop()


@pytest.mark.parametrize(
    "fault", [Fault("ENOSPC", call="write"), Fault("EIO", call="write"), Fault("EIO", call="sync", during="append")]
)
def test_what_a_disk_refuses_is_refused_and_does_not_come_back(station: Station, fault: Fault) -> None:
    """Inserts get an error while everything can be read; as soon as there is room they work again."""
    store = station.start()
    station.insert(store)
    station.desk.give(fault)
    assert station.insert(store) == ["NotStored"] * 3
    assert store("all") == station.answered
    station.desk.give()
    assert station.insert(store) == []
    assert store("all") == station.answered
    station.desk.give(fault)
    assert station.insert(store) == ["NotStored"] * 3
    store.kill()
    store = station.start()
    assert store("all") == station.answered
    store.stop()
