"""What operators do to data files between two starts: nothing is lost, and nothing old comes back, without a word.

A file as a killed gateway leaves it is a copy of the file, its WAL and its lock that is made while it is open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Set
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from structlog.testing import capture_logs

from hivewire.ledger.backup import backup, restore, vacuum
from hivewire.ledger.dump import dump, load
from hivewire.ledger.engines.sqlite.file import SCHEMA_VERSION, header_of
from hivewire.ledger.engines.sqlite.file_lock import FileLock, LockNote, read_note
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import JournalError, NotDurable, Transaction, Write
from tests.running import process

FILES = Path(__file__).parent / "files"
"""Files of earlier schemas, made by the gateways of their time."""


class Found:
    """A ledger that is opened for a moment: what is in it, its epoch, and what the start said."""

    def __init__(self, names: dict[str, str], epoch: str) -> None:
        self.names = names
        self.epoch = epoch


async def opened(path: Path, *, accept_loss: bool = False) -> Ledger:
    """A ledger on the file, which the caller closes."""
    ledger = Ledger(SqliteJournal(path, accept_loss=accept_loss), lambda: 1)
    try:
        await ledger.open()
    except JournalError:
        await ledger.close()
        raise
    return ledger


def names(ledger: Ledger) -> dict[str, str]:
    """The configurations that exist."""
    return {key: (last.content or b"").decode() for key, last in ledger.kind("configuration").live.items()}


async def put(ledger: Ledger, **values: str) -> None:
    """Write each of them in a transaction of its own."""
    for key, value in values.items():
        await ledger.commit(Transaction([Write("configuration", key, value.encode())]))


async def written(path: Path, **values: str) -> Found:
    """Open the file, write, and stop cleanly."""
    ledger = await opened(path)
    try:
        await put(ledger, **values)
        return Found(names(ledger), ledger.epoch)
    finally:
        await ledger.close()


async def killed(path: Path, **values: str) -> str:
    """Open the file, write, and leave it as if the process had been killed then. Returns the epoch."""
    ledger = await opened(path)
    kept = path.parent / "kept"
    kept.mkdir()
    try:
        await put(ledger, **values)
        for name in (path.name, path.name + "-wal", path.name + ".lock"):
            shutil.copy(path.with_name(name), kept / name)
    finally:
        await ledger.close()
    for file in kept.iterdir():
        file.replace(path.with_name(file.name))
    kept.rmdir()
    return ledger.epoch


async def refusal(path: Path) -> str:
    """The words with which a start is refused, after which all files are as they were."""
    before, there = contents(path.parent), {*path.parent.iterdir()}
    with pytest.raises(JournalError) as refused:
        await opened(path)
    assert contents(path.parent) == before
    assert not {made for made in {*path.parent.iterdir()} - there if made.suffix == ".lock"}
    return str(refused.value)


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a directory, aside from the locks, and from what SQLite makes to read a file in WAL mode."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        name: content
        for name, content in found.items()
        if not name.endswith((".lock", "-shm")) and not (name.endswith("-wal") and not content)
    }


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def aside(path: Path) -> list[Path]:
    """The files that were renamed beside the data file."""
    return sorted(path.parent.glob("*.set-aside-*"))


# Nothing happened.


async def test_a_stop_leaves_one_whole_file(data: Path) -> None:
    """After a clean stop everything is in the file itself, which says that it is closed; the history goes on."""
    first = await written(data, a="1")
    header = header_of(data)
    assert header is not None
    assert not header.open
    assert sorted(contents(data.parent)) == [data.name]
    again = await written(data, b="2")
    assert again.names == {"a": "1", "b": "2"}
    assert again.epoch == first.epoch


async def test_after_a_kill_the_history_goes_on(data: Path) -> None:
    """A killed gateway's file is whole with its WAL: everything answered is there, under the same epoch."""
    epoch = await killed(data, a="1", b="2")
    again = await written(data)
    assert again.names == {"a": "1", "b": "2"}
    assert again.epoch == epoch
    assert aside(data) == []


# A file is put in the place of another.


async def test_a_backup_copied_over_a_killed_file_is_served(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The WAL of the old file is not replayed on the backup: it is renamed, and the operator is told."""
    await written(data, a="old")
    copy = data.with_name("copy.db")
    backup(data, copy)
    epoch = await killed(data, a="newer", b="2")
    wal = wal_of(data).read_bytes()
    shutil.copy(copy, data)
    found = await written(data)
    assert found.names == {"a": "old"}
    assert found.epoch != epoch
    [kept] = aside(data)
    assert kept.read_bytes() == wal
    assert kept.name in capfd.readouterr().err


async def test_an_older_copy_put_back_has_another_epoch(data: Path) -> None:
    """A plain copy of the stopped file, put back after more was written, is not taken for the same history."""
    await written(data, a="1")
    shutil.copy(data, data.with_name("copy.db"))
    later = await written(data, a="2")
    shutil.copy(data.with_name("copy.db"), data)
    found = await written(data)
    assert found.names == {"a": "1"}
    assert found.epoch != later.epoch


async def test_a_fork_with_more_changes_has_another_epoch(data: Path, tmp_path: Path) -> None:
    """Both went on from one file under one epoch; the other one is copied over this one, and has more changes."""
    first = await written(data, a="1")
    fork = tmp_path / "fork" / data.name
    fork.parent.mkdir()
    for name in (data.name, f"{data.name}.lock"):
        shutil.copy(data.with_name(name), fork.with_name(name))
    here, there = await written(data, b="here"), await written(fork, b="there", c="3", d="4")
    assert first.epoch == here.epoch == there.epoch
    shutil.copy(fork, data)
    found = await written(data)
    assert found.names == there.names
    assert found.epoch != here.epoch


async def test_a_file_that_was_copied_while_it_was_open_is_refused(data: Path) -> None:
    """A copy without its own WAL lies over a killed file: the WAL that is there is not replayed on it."""
    await written(data, a="old")
    await killed(data, a="older")
    shutil.copy(data, data.with_name("copy.db"))
    await written(data)
    await killed(data, a="newer")
    shutil.copy(data.with_name("copy.db"), data)
    said = await refusal(data)
    assert "may not be the one that hivewire.db-wal belongs to" in said
    assert "remove hivewire.db.lock" in said
    ledger = await opened(data, accept_loss=True)
    assert names(ledger) == {"a": "old"}
    await ledger.close()
    assert len(aside(data)) == 1


async def test_a_file_with_fewer_changes_has_another_epoch(data: Path) -> None:
    """When the end of the WAL is lost after the gateway was killed, clients do not resume as if nothing was missing."""
    epoch = await killed(data, a="1", b="2")
    os.truncate(wal_of(data), wal_of(data).stat().st_size - 4_000)
    found = await written(data)
    assert found.names == {"a": "1"}
    assert found.epoch != epoch


@pytest.mark.parametrize("mode", ["ro", "rw"])
@pytest.mark.parametrize("busy", [True, False])
async def test_a_file_that_a_reader_kept_open_goes_on(data: Path, mode: str, busy: bool) -> None:
    """A program that has the file open during the stop, and closes it later, is not a reason to refuse it."""
    ledger = await opened(data)
    await put(ledger, a="1")
    with closing(sqlite3.connect(f"file:{data}?mode={mode}", uri=True, isolation_level=None)) as reader:
        if busy:
            reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM change").fetchone()
        await put(ledger, b="2")
        await ledger.close()
        header = header_of(data)
        assert header is not None
        assert header.open
    found = await written(data)
    assert found.names == {"a": "1", "b": "2"}
    assert found.epoch == ledger.epoch


async def test_a_killed_file_that_another_program_wrote_back_goes_on(data: Path) -> None:
    """Opening a killed file with SQLite's own shell removes the WAL, but loses nothing."""
    epoch = await killed(data, a="1")
    with closing(sqlite3.connect(data)) as shell:
        shell.execute("SELECT count(*) FROM change").fetchone()
    assert not wal_of(data).exists()
    found = await written(data)
    assert found.names == {"a": "1"}
    assert found.epoch == epoch


async def test_a_start_while_somebody_reads_goes_on(data: Path) -> None:
    """After a kill the file can be opened while a backup of before still reads it; killed again, it is whole."""
    epoch = await killed(data, a="1")
    with closing(sqlite3.connect(f"file:{data}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM change").fetchone()
        ledger = await opened(data)
        assert names(ledger) == {"a": "1"}
        folder = data.parent / "killed"
        folder.mkdir()
        for name in (data.name, data.name + "-wal", data.name + ".lock"):
            shutil.copy(data.with_name(name), folder / name)
        await ledger.close()
    found = await written(folder / data.name)
    assert found.names == {"a": "1"}
    assert found.epoch == epoch


STEPS = {"begin", "_begin", "_roll_back", "settle", "close_wal", "_connect_writers", "note"}
"""The functions of a start that change something."""

MIGRATING = STEPS | {"migrate", "copy", "new_file", "remove_unfinished", "_publish"}
"""Those of a start that migrates the file."""


def dies(path: Path, at: int, steps: Set[str] = STEPS) -> bool:
    """Start in another process that dies before this line of the steps; False when it got through them before."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = at

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_name not in steps or "/ledger/engines/" not in frame.f_code.co_filename:
            return None
        left -= event == "line"
        if not left:
            os._exit(9)
        return trace

    threading.settrace(trace)  # a start works on threads too
    sys.settrace(trace)
    try:
        asyncio.run(SqliteJournal(path).open())
    finally:
        os._exit(0)


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_a_start_that_is_killed_anywhere_loses_nothing(
    data: Path, tmp_path: Path, state: str, pytestconfig: pytest.Config
) -> None:
    """Killed before any line of the start that changes something: a backup and a vacuum right then have everything, and
    so has the next start, under the same epoch and with nothing set aside. The short form tries every fourth line."""
    stride = 1 if pytestconfig.getoption("--long") else 4
    asyncio.run(written(data, a="1", b="2"))
    epoch = asyncio.run(killed(data, a="3") if state == "killed" else closed(data))
    before = tmp_path / "before"
    shutil.copytree(data.parent, before)
    whole = asyncio.run(written(Path(shutil.copytree(before, tmp_path / "tried")) / data.name)).names
    step = 1
    while True:
        folder = Path(shutil.copytree(before, tmp_path / str(step)))
        path = folder / data.name
        if not dies(path, step):
            break
        backup(path, tmp_path / f"{step}.db")
        assert asyncio.run(written(tmp_path / f"{step}.db")).names == whole
        other = Path(shutil.copytree(folder, tmp_path / f"{step} vacuumed")) / data.name
        vacuum(other)
        for after in (other, path):
            found = asyncio.run(written(after))
            assert found.names == whole
            assert found.epoch == epoch
            assert aside(after) == []
        step += stride
    assert step > 20


async def closed(path: Path) -> str:
    """The epoch of a file after a clean stop."""
    return (await written(path)).epoch


# Commands work on the file of a stopped gateway.


async def test_our_own_commands_leave_no_foreign_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A load, a vacuum and a restore are no change that a start warns of, also where another file was before, or by a
    link; a vacuum keeps the epoch. To copy a backup over the file, or to cut it with another program, is one."""
    first = await written(data, a="1", b="2")
    copy, lines = tmp_path / "copy.db", tmp_path / "ledger.jsonl"
    backup(data, copy)
    with lines.open("wb") as file:
        dump(data, file.write)
    vacuum(data)
    link = data.with_name("link.db")
    link.symlink_to(data)
    vacuum(link)
    assert (await written(data)).epoch == first.epoch
    data.unlink()  # its lock stays, with a note of it
    with lines.open("rb") as file:
        load(file, data)
    vacuum(data)
    loaded = await written(data)
    assert loaded.names == first.names
    vacuum(data)
    assert (await written(data)).epoch == loaded.epoch
    restore(copy, data)
    vacuum(data)
    assert (await written(data)).names == first.names
    restore(copy, data)
    await written(data, c="3")
    assert "warning" not in capsys.readouterr().err
    shutil.copy(copy, data)
    vacuum(data)
    assert "the data file has changed since it was last served" in capsys.readouterr().err
    with closing(sqlite3.connect(data)) as shell, shell:
        shell.execute("DELETE FROM change WHERE place = (SELECT max(place) FROM change)")
    vacuum(data)
    assert "the data file has changed since it was last served" in capsys.readouterr().err


async def test_commands_follow_a_link_to_the_file(data: Path, tmp_path: Path) -> None:
    """While a gateway runs, its WAL and its lock are beside the file itself. A backup and a dump by a link are whole, a
    vacuum and a restore are refused; afterwards the restored file is in the place of the file, not of the link."""
    link, copy, dumped = tmp_path / "link.db", tmp_path / "copy.db", list[bytes]()
    ledger = await opened(data)
    try:
        link.symlink_to(data)
        await put(ledger, a="1")
        backup(link, copy)
        assert dump(link, dumped.append) == 1
        for attempt in (lambda: vacuum(link), lambda: restore(copy, link)):
            with pytest.raises(JournalError, match=f"{data} is in use by a gateway"):
                attempt()
        await put(ledger, a="2")
    finally:
        await ledger.close()
    old = restore(copy, link)
    assert link.is_symlink()
    assert old is not None
    assert old.name.startswith(f"{data.name}.before-restore")
    assert (await written(data)).names == {"a": "1"}


async def test_a_file_in_use_is_named_in_words_that_fit_the_command(data: Path, tmp_path: Path) -> None:
    """A second gateway is told that it can take another file; a command on a stopped gateway's file that it has to be
    stopped, whoever has it. A load is refused too where the file of a running gateway was removed."""
    lines = list[bytes]()
    ledger = await opened(data)
    try:
        backup(data, tmp_path / "copy.db")
        dump(data, lines.append)
        with pytest.raises(JournalError, match="; stop it first, or name another file with --data"):
            await SqliteJournal(data).open()
        with pytest.raises(JournalError) as refused:
            await SqliteJournal(data, existing=True).open()
        said = str(refused.value)
        assert said == f"{data} is in use by a gateway or another command (process {os.getpid()}); stop it first"
        for attempt in (lambda: vacuum(data), lambda: restore(tmp_path / "copy.db", data)):
            with pytest.raises(JournalError, match=re.escape(said)):
                attempt()
        data.unlink()
        with pytest.raises(JournalError, match=re.escape(said)):
            load(lines, data)
        assert not data.exists()
    finally:
        await ledger.close()


# A file is moved.


async def test_a_file_moved_without_its_wal_is_refused(data: Path, tmp_path: Path) -> None:
    """The error says which file is missing; with --accept-loss the start continues under a new epoch."""
    await written(data, a="1")
    epoch = await killed(data, a="2", b="2")
    moved = tmp_path / "moved.db"
    data.rename(moved)
    said = await refusal(moved)
    assert "moved.db-wal, which is missing: move it here too" in said
    assert "hivewire serve --accept-loss" in said
    with pytest.raises(JournalError, match="which is missing"):
        backup(moved, tmp_path / "copy.db")
    ledger = await opened(moved, accept_loss=True)
    assert names(ledger) == {"a": "1"}
    assert ledger.epoch != epoch
    await ledger.close()
    assert (await written(moved)).names == {"a": "1"}


async def test_a_file_whose_wal_was_emptied_is_refused(data: Path) -> None:
    """It is not taken for a file without changes."""
    await killed(data, a="1")
    os.truncate(wal_of(data), 0)
    assert "hivewire.db-wal, which is empty: put it back" in await refusal(data)


async def test_it_is_refused_with_its_lock_too(data: Path, tmp_path: Path) -> None:
    """A file that was moved with its lock but without its WAL is refused as well."""
    await killed(data, a="1")
    wal_of(data).unlink()
    assert "hivewire.db-wal, which is missing" in await refusal(data)


async def test_a_file_moved_with_its_wal_is_whole(data: Path, tmp_path: Path) -> None:
    """Moved with its WAL it has everything; without its lock nobody knows whether it is the latest: a new epoch."""
    epoch = await killed(data, a="1")
    moved = tmp_path / "moved.db"
    data.rename(moved)
    wal_of(data).rename(wal_of(moved))
    found = await written(moved)
    assert found.names == {"a": "1"}
    assert found.epoch != epoch


async def test_a_directory_that_is_moved_is_as_before(data: Path, tmp_path: Path) -> None:
    """With all files beside it, the history goes on where it was."""
    folder = tmp_path / "one"
    folder.mkdir()
    path = folder / "x.db"
    await written(path)
    epoch = await killed(path, a="1")
    folder.rename(tmp_path / "two")
    found = await written(tmp_path / "two" / "x.db")
    assert found.names == {"a": "1"}
    assert found.epoch == epoch


async def test_a_wal_without_its_file_is_not_deleted(data: Path) -> None:
    """A start in a place where only the WAL is left is refused; SQLite would delete it."""
    await killed(data, a="1")
    data.unlink()
    wal = wal_of(data).read_bytes()
    with pytest.raises(JournalError, match=r"missing or empty, but .*hivewire\.db-wal has changes of it"):
        await opened(data)
    assert wal_of(data).read_bytes() == wal


async def test_a_missing_file_is_reported(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where a data file was served before and is missing now, a new one is created, and the operator is told."""
    await written(data, a="1")
    assert "gone" not in capfd.readouterr().err
    data.unlink()
    assert (await written(data, b="2")).names == {"b": "2"}
    assert "hivewire.db" in (said := capfd.readouterr().err)
    assert "the previous data file is missing; a new one was created" in said


# While it is served.


async def test_a_file_that_is_replaced_while_it_is_served_takes_no_more_writes(data: Path) -> None:
    """Writes to a file that has no name any more would be lost at the stop, so they are refused."""
    await written(data, a="1")
    shutil.copy(data, data.with_name("copy.db"))
    ledger = await opened(data)
    try:
        await put(ledger, a="2")
        os.replace(data.with_name("copy.db"), data)
        with pytest.raises(NotDurable, match="was replaced or removed"):
            await put(ledger, a="3")
        assert ledger.failing is not None
        assert names(ledger) == {"a": "2"}
    finally:
        await ledger.close()


async def test_a_wal_that_is_removed_while_it_is_served_takes_no_more_writes(data: Path) -> None:
    """They would be lost with a kill. A stop saves what was answered before, and put back in time it goes on."""
    ledger = await opened(data)
    try:
        await put(ledger, a="1")
        wal_of(data).rename(data.with_name("elsewhere"))
        with pytest.raises(NotDurable, match=r"hivewire\.db-wal was replaced or removed"):
            await put(ledger, a="2")
        data.with_name("elsewhere").rename(wal_of(data))
        await put(ledger, a="3")
        wal_of(data).unlink()
    finally:
        await ledger.close()
    assert (await written(data)).names == {"a": "3"}


async def test_a_second_host_on_a_share_without_locks_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks do not work, the gateway that was there first stops writing as soon as another one has opened it."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    first = await opened(data)
    try:
        await put(first, a="1")
        second = await opened(data)
        try:
            with pytest.raises(NotDurable, match="was replaced or removed"):
                await put(first, a="2")
            await put(second, a="3")
        finally:
            await second.close()
    finally:
        await first.close()
    assert (await written(data)).names == {"a": "3"}


async def test_a_lock_that_is_a_link_is_not_followed(data: Path, tmp_path: Path) -> None:
    """The target of a link in the place of the lock is not written to."""
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    data.with_name(data.name + ".lock").symlink_to(precious)
    with pytest.raises(JournalError, match=r"hivewire\.db\.lock is a symbolic link; remove it"):
        await opened(data)
    assert precious.read_text() == "keep me"
    assert not data.exists()


@pytest.mark.parametrize("there", ["nothing but a WAL", "a text", "a damaged file", "a hard link to a served file"])
async def test_a_start_that_is_refused_leaves_no_file(data: Path, tmp_path: Path, there: str) -> None:
    """Neither a lock nor an empty data file, where there was none."""
    folder = tmp_path / "new"
    folder.mkdir()
    place = folder / "x.db"
    await written(data, a="1")
    served = await opened(data)
    if there == "a text":
        place.write_text("no database " * 20)
    elif there == "a damaged file":
        backup(data, place)
        place.write_bytes(place.read_bytes()[:4_096] + bytes(4_096) + place.read_bytes()[8_192:])
    elif there == "a hard link to a served file":
        place.hardlink_to(data)
    else:
        wal_of(place).write_bytes(b"x")
    before = sorted(folder.iterdir())
    try:
        await refusal(place)
        with pytest.raises(JournalError):
            restore(tmp_path / "missing.db", place)
        with pytest.raises(JournalError):
            vacuum(place)
    finally:
        await served.close()
    assert sorted(folder.iterdir()) == before


def test_a_lock_that_is_removed_while_another_process_opens_it_is_no_lock(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process tries again: of two that lock one name, one is refused, whatever was removed in between."""
    first, second, third = FileLock(data), FileLock(data), FileLock(data)
    first.acquire()
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        first.release()
        assert not data.exists()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second.acquire()
    try:
        with pytest.raises(JournalError, match="in use"):
            third.acquire()
        second.note(LockNote())
        assert second.is_ours()
    finally:
        second.release()
    assert data.exists()
    assert read_note(data) == LockNote()


async def test_the_note_claims_no_more_than_there_is(data: Path) -> None:
    """The note says how far the log reaches; when the end of the log is removed, the note is corrected first."""
    ledger = await opened(data)
    await put(ledger, a="1", b="2")
    note = read_note(data)
    assert note is not None
    assert (note.tail, note.shut) == (2, False)
    journal = SqliteJournal(data.with_name("other.db"))
    await ledger.close()
    note = read_note(data)
    assert note is not None
    assert (note.tail, note.shut) == (2, True)
    await journal.close()

    journal = SqliteJournal(data)
    await journal.open()
    try:
        [*_, last] = await journal.outline(0, before=3, take=9)
        await journal.remove([last.place])
        epoch = journal.epoch
    finally:
        await journal.close()
    assert (await written(data)).epoch == epoch


# Restoring.


async def test_a_restore_puts_a_copy_in_place_and_keeps_what_was_there(data: Path) -> None:
    """The data file has the content of the copy under a new epoch; the old file can be restored in the same way."""
    await written(data, a="1")
    copy = data.with_name("copy.db")
    backup(data, copy)
    epoch = await killed(data, a="2")
    old = restore(copy, data)
    assert old is not None
    found = await written(data)
    assert found.names == {"a": "1"}
    assert found.epoch != epoch
    restore(old, data)
    assert (await written(data)).names == {"a": "2"}
    assert not [path for path in data.parent.iterdir() if path.name.endswith(".unfinished")]


async def test_a_restore_in_an_empty_place(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A copy is restored where there is nothing yet, nothing is renamed, and the next start warns of nothing."""
    await written(data, a="1")
    target = tmp_path / "new" / "x.db"
    target.parent.mkdir()
    assert restore(data, target) is None
    capfd.readouterr()
    assert (await written(target)).names == {"a": "1"}
    assert "warning" not in capfd.readouterr().err


async def test_the_start_after_a_restore_says_so_once(data: Path, tmp_path: Path) -> None:
    """It logs from which file, of which epoch and up to which revision; not a command before it, and not the start
    after it, nor that of a copy of the restored file."""
    epoch = (await written(data, a="1", b="2")).epoch
    copy, other = tmp_path / "copy.db", tmp_path / "other.db"
    shutil.copy(data, copy)
    await written(data, c="3")
    restore(copy, data)
    vacuum(data)
    backup(data, other)
    with capture_logs() as logged:
        found = await written(data)
    [said] = logged
    assert said == {
        "log_level": "info",
        "event": "the data file was restored; clients that follow changes get the whole state",
        "data": str(data),
        "file": str(copy),
        "epoch_before": epoch,
        "epoch": found.epoch,
        "revision": 2,
    }
    with capture_logs() as logged:
        await written(data)
        await written(other)
    assert not [line for line in logged if "restored" in line["event"]]


async def test_a_restore_of_an_unusable_file_is_refused(data: Path, tmp_path: Path) -> None:
    """A missing file, the data file itself, a foreign or damaged file, one without its WAL, one in use: refused, and
    nothing changes."""
    await written(data, a="1")
    copy, text, damaged = tmp_path / "copy.db", tmp_path / "text", tmp_path / "damaged.db"
    backup(data, copy)
    text.write_text("no database " * 20)
    content = bytearray(copy.read_bytes())
    content[4_096:4_128] = bytes(32)
    damaged.write_bytes(content)
    torn = tmp_path / "torn.db"
    ledger = await opened(data)
    await put(ledger, b="2")
    shutil.copy(data, torn)
    try:
        with pytest.raises(JournalError, match="in use by a gateway"):
            restore(copy, data)
    finally:
        await ledger.close()
    before = contents(tmp_path)
    for source, words in (
        (tmp_path / "none", "there is no file"),
        (data, "is the data file itself"),
        (text, "is not a Hivewire ledger"),
        (damaged, "is damaged"),
        (torn, "torn.db-wal, which is missing"),
    ):
        with pytest.raises(JournalError, match=words):
            restore(source, data)
    with pytest.raises(JournalError, match="is not a Hivewire ledger"):
        restore(text, tmp_path / "new.db")
    assert contents(tmp_path) == before
    restore(torn, data, accept_loss=True)
    assert (await written(data)).names == {"a": "1"}


async def test_a_restore_that_was_killed_half_way_is_refused_or_as_before(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it dies before the copy has its name, the next start says what is missing, or goes on with the old file."""
    await written(data, a="1")
    backup(data, data.with_name("copy.db"))
    await killed(data, a="2")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        restore(data.with_name("copy.db"), data)
    monkeypatch.undo()
    assert "hivewire.db-wal, which is missing" in await refusal(data)
    restore(data.with_name("copy.db"), data)
    assert (await written(data)).names == {"a": "1"}


FULL = """
    import resource, sys
    from hivewire import cli
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    cli.main()
    """


async def test_a_full_disk_leaves_the_old_file_in_place(data: Path, tmp_path: Path) -> None:
    """A backup, a restore, a dump, a load, a vacuum and a migration without disk space say so, and change nothing."""
    await written(data, **{f"n{n}": "x" * 10_000 for n in range(20)})
    copy, lines = tmp_path / "copy.db", tmp_path / "ledger.jsonl"
    backup(data, copy)
    with lines.open("wb") as file:
        dump(data, file.write)
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(FILES / "2.ledger")) as source, closing(sqlite3.connect(old)) as target:
        source.backup(target)
        target.execute(
            "INSERT INTO change VALUES (99999,'configuration','big',9,1,0,1,1,'',NULL,NULL,zeroblob(150000))"
        )
        target.commit()
    before = contents(tmp_path)
    for command in (
        ["backup", tmp_path / "new.db", "--data", data],
        ["restore", copy, "--data", data],
        ["dump", tmp_path / "new.jsonl", "--data", data],
        ["load", lines, "--data", tmp_path / "new.db"],
        ["vacuum", "--data", old],
        ["user", "unlock", "admin", "--data", old],
    ):
        found = process(FULL, *command)
        assert (found.returncode, found.stdout) == (1, "")
        assert found.stderr.startswith("hivewire: error: cannot ")
        assert contents(tmp_path) == before
    assert len((await written(data)).names) == 20


def half_written(data: Path, half: Path) -> None:
    """Copy a data file in the midst of a transaction with a rollback journal, as a killed vacuum leaves it."""
    with closing(sqlite3.connect(data, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit, over the first ones too
        writer.execute("BEGIN")
        writer.execute("CREATE TABLE large AS SELECT randomblob(100000) AS content")
        writer.execute("CREATE TABLE larger AS SELECT * FROM large")
        for suffix in ("", "-journal"):
            shutil.copy(f"{data}{suffix}", f"{half}{suffix}")
        writer.execute("ROLLBACK")


async def test_a_file_that_a_killed_vacuum_left_half_written_is_named(data: Path, tmp_path: Path) -> None:
    """Commands that only read cannot roll it back. They say what can, name no file of their own, and leave none."""
    await written(data, a="1")
    half = tmp_path / "half written.db"
    half_written(data, half)
    before = contents(tmp_path)
    expected = re.escape(
        f"a vacuum or a start that was killed has left {half} half written;"
        f" start the gateway once, or: hivewire vacuum --data '{half}'"
    )
    for command in (
        lambda: backup(half, tmp_path / "new.db"),
        lambda: restore(half, tmp_path / "new.db"),
        lambda: dump(half, lambda line: None),
    ):
        with pytest.raises(JournalError, match=f"^{expected}$"):
            command()
    left = contents(tmp_path)
    assert left == before
    vacuum(half)
    backup(half, tmp_path / "new.db")
    assert (await written(half)).names == {"a": "1"}


COMMAND = """
    import sys
    from hivewire import cli
    cli.main()
    """


@pytest.mark.parametrize("command", ["serve --port 0", "backup {new}", "dump {new}"])
async def test_a_half_written_file_in_a_read_only_directory_is_refused(
    data: Path, tmp_path: Path, command: str
) -> None:
    """Nothing can be rolled back there, and nothing half written is read: a start, a backup and a dump say so."""
    await written(data, a="1")
    folder = tmp_path / "still"
    folder.mkdir()
    half = folder / "half.db"
    half_written(data, half)
    folder.chmod(0o500)
    before = contents(folder)
    try:
        found = process(COMMAND, *command.format(new=tmp_path / "new").split(), "--data", half, powerless=True)
    finally:
        folder.chmod(0o700)
    assert found.returncode == 1
    assert f"has left {half} half written; this process may not write there to repair it" in found.stderr
    assert "Traceback" not in found.stderr
    assert contents(folder) == before
    assert not (tmp_path / "new").exists()


KILLED_BY_LIMIT = """
    import resource, signal, sys
    from hivewire import cli
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    cli.main()
    """


async def test_a_killed_dump_leaves_no_half_file(data: Path, tmp_path: Path) -> None:
    """The file of a dump appears complete or not at all, so the same command can be given again."""
    await written(data, a="\1" * 100_000)  # in JSON six times as long
    lines = tmp_path / "ledger.jsonl"
    arguments = ["dump", str(lines), "--data", str(data)]
    found = process(KILLED_BY_LIMIT, *arguments)
    assert found.returncode == -signal.SIGXFSZ
    assert not lines.exists()
    again = process(COMMAND, *arguments)
    assert (again.returncode, again.stderr) == (0, "")
    assert lines.read_bytes().endswith(b'{"line":"end","changes":1}\n')
    assert not [path for path in tmp_path.iterdir() if "unfinished" in path.name]


# Migrations.


EXPECTED = {"limits.max": "3", "greeting": "grüß dich", "again": "new"}


def copy_of(name: str, data: Path) -> None:
    """Put a file of an earlier schema into its place, with the files that are beside it."""
    for found in FILES.glob(f"{name}.ledger*"):
        shutil.copy(found, data.with_name(data.name + found.name.removeprefix(f"{name}.ledger")))


@pytest.mark.parametrize("name", ["1", "1-previous", "2", "2-killed", "3", "3-killed", "4", "4-killed"])
async def test_a_file_of_an_earlier_schema_is_migrated(data: Path, name: str) -> None:
    """Everything is there with its history, under the same epoch; a copy of the file as it was lies beside it."""
    copy_of(name, data)
    version = int(name[0])
    with closing(sqlite3.connect(f"file:{data}?mode=ro", uri=True)) as old:
        (epoch,) = old.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
    ledger = await opened(data)
    try:
        assert ledger.epoch == epoch
        expected = EXPECTED if version == 1 else EXPECTED | {"a": "1", "b": "2"}
        assert names(ledger) == expected
        last = ledger.kind("configuration").live["limits.max"]
        history = await ledger.history("configuration", "limits.max", revision=last.revision, take=9)
        assert [(one.version, one.content, one.description) for one in history] == [
            (n, str(n).encode(), f"number {n}") for n in (3, 2, 1)
        ]
        again = ledger.kind("configuration").live["again"]
        lives = await ledger.history("configuration", "again", revision=again.revision, take=9)
        assert [(one.version, one.ordinal, one.content) for one in lives] == [
            (1, 3, b"new"),
            (2, 2, None),
            (1, 1, b"old"),
        ]
        assert [*ledger.kind("user").live] == ["admin"]
        assert len(ledger.kind("secret").live) == 1
        if version > 1:
            assert [*ledger.kind("tenant").live] == [*ledger.kind("tenantConfiguration").live]
            assert len(ledger.kind("client").live) == 1
        if version > 2:
            assert "lamp-1" in ledger.kind("device").live
        await put(ledger, new="1")
    finally:
        await ledger.close()
    [kept] = data.parent.glob(f"*.schema{version}-*")
    header = header_of(kept)
    assert header is not None
    assert header.version == version
    restore(kept, data)
    assert (await written(data)).names == expected


async def test_there_is_a_file_of_each_earlier_schema() -> None:
    """A new schema version needs a file that the last gateway of the previous version made."""
    assert {int(path.name[0]) for path in FILES.glob("*.ledger")} == {*range(1, SCHEMA_VERSION)}


async def test_a_migration_that_fails_leaves_the_file_as_it_was(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction, and no copy stays behind."""
    shutil.copy(FILES / "2.ledger", data)
    from hivewire.ledger.engines.sqlite import migrations

    broken = migrations.MIGRATIONS[2] + "INSERT INTO nowhere VALUES (1);"
    monkeypatch.setitem(migrations.MIGRATIONS, 2, broken)
    before = contents(data.parent)
    with pytest.raises(JournalError, match="no such table: nowhere"):
        await opened(data)
    header = header_of(data)
    assert header is not None
    assert header.version == 2
    assert [*contents(data.parent)] == [*before]
    monkeypatch.undo()
    assert len((await written(data)).names) == 5


@pytest.mark.parametrize("name", ["2", "2-killed", "3-killed", "4-killed"])
def test_a_migration_that_is_killed_again_and_again_leaves_one_copy(
    data: Path, name: str, pytestconfig: pytest.Config
) -> None:
    """Each start dies a line later than the one before, and none adds a copy to a whole one of before. The one that
    gets through has everything, and the copy is the file as it was. The short form tries every fourth line."""
    stride = 1 if pytestconfig.getoption("--long") else 4
    copy_of(name, data)
    step = 1
    while dies(data, step, MIGRATING):
        assert len(copies(data)) <= 1
        step += stride
    assert step > 20
    assert len(asyncio.run(written(data)).names) == 5
    assert [path for path in data.parent.iterdir() if "unfinished" in path.name] == []
    [kept] = copies(data)
    restore(kept, data)
    assert len(asyncio.run(written(data)).names) == 5


def test_a_copy_that_differs_from_the_file_is_kept(data: Path) -> None:
    """An older gateway wrote after a migration that was killed: the next one makes a copy of that, and leaves the first
    copy alone. So it does with a damaged one, and with files that only look like a copy."""
    shutil.copy(FILES / "2.ledger", data)
    step = 1
    while not copies(data):
        assert dies(data, step, MIGRATING)
        step += 1
    [first] = copies(data)
    damaged = first.with_name(first.name + "-7")
    damaged.write_bytes(first.read_bytes()[:5_000])
    first.with_name(first.name + ".txt").write_text("a note")
    found = {path: path.read_bytes() for path in copies(data)}
    with closing(sqlite3.connect(data)) as old, old:
        old.execute("UPDATE change SET content = x'00' WHERE place = (SELECT max(place) FROM change)")
    asyncio.run(written(data))
    [new] = set(copies(data)) - set(found)
    assert {path: path.read_bytes() for path in found} == found
    with closing(sqlite3.connect(new)) as copied:
        assert copied.execute("SELECT content FROM change ORDER BY place DESC").fetchone() == (b"\0",)


def copies(path: Path) -> list[Path]:
    """What migrations left beside the file, aside from what is not finished."""
    return [found for found in path.parent.glob(f"{path.name}.schema*") if not found.name.endswith("-unfinished")]


async def test_a_file_of_before_that_is_put_back_after_a_migration_has_another_epoch(data: Path) -> None:
    """After a downgrade that was undone again, clients do not resume over what the older gateway wrote."""
    shutil.copy(FILES / "2.ledger", data)
    first = await written(data, a="newer")
    shutil.copy(FILES / "2.ledger", data)
    again = await written(data)
    assert again.names["a"] == "1"
    assert again.epoch != first.epoch


def test_a_note_has_a_form_that_can_be_overwritten_in_place(data: Path) -> None:
    """Only a complete note counts; a note of an older Hivewire, or any other text, does not."""
    lock = data.with_name(data.name + ".lock")
    assert read_note(data) is None
    for text in (b"", b"4711\n", b"x" * 71, b"4711      \n" + b"0" * 59 + b"\n"):
        lock.write_bytes(text)
        assert read_note(data) is None
    lock.write_bytes(b"4711      \n" + b"7".zfill(20) + b" open " + b"a" * 16 + b" " + b"b" * 16 + b"\n")
    assert read_note(data) == LockNote("a" * 16, "b" * 16, 7, shut=False)
