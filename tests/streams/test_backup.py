"""`hivewire backup` and `hivewire restore` take the messages of devices with the ledger."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from hivewire import portions
from hivewire.ledger.backup import backup, epoch_of
from hivewire.ledger.dump import dump, load
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.records import WrongFile
from hivewire.settings import Settings
from hivewire.store import open_messages, open_store
from hivewire.streams.backup import beside_ledger, copied
from hivewire.streams.message import Message
from hivewire.streams.messages import Messages
from hivewire.streams.sqlite import SqliteEngine
from tests.command import Run
from tests.streams.kit import Clocks, draft, messages_on, of_device

T = TypeVar("T")


def within(data: Path, work: Callable[[Messages], Awaitable[T]], *, accept_loss: bool = False) -> T:
    """Do something with the messages beside a ledger, which is made if it is missing."""

    async def do() -> T:
        journal = SqliteJournal(data, accept_loss=accept_loss)
        messages = messages_on(SqliteEngine(beside_ledger(data)), Clocks())
        try:
            await journal.open()
            await messages.open(journal.epoch)
            return await work(messages)
        finally:
            await messages.close()
            await journal.close()

    return asyncio.run(do())


async def insert(messages: Messages) -> Message:
    return await messages.commands.insert(draft())


async def everything(messages: Messages) -> list[Message]:
    return await of_device(messages.commands, 1)


async def epoch(messages: Messages) -> str:
    return messages.commands.epoch


def test_messages_are_backed_up_and_restored(run: Run, data: Path, tmp_path: Path) -> None:
    """What was inserted before the backup is there; positions of other copies cannot be resumed in it."""
    before = within(data, insert)
    copy = tmp_path / "copy.db"
    assert run("backup", "--data", str(data), str(copy)).code == 0
    assert beside_ledger(copy).stat().st_mode & 0o777 == 0o600
    within(data, insert)
    assert run("restore", "--data", str(data), str(copy)).code == 0
    assert within(data, everything) == [before]
    assert len({within(path, epoch) for path in (data, copy)}) == 2
    [old] = tmp_path.glob("*.before-restore-*.messages")
    assert epoch_of(data) != epoch_of(copy)
    assert old.stat().st_size


def test_a_restore_can_be_undone(run: Run, data: Path, tmp_path: Path) -> None:
    """The data file that was renamed has its messages beside it, so restoring it brings them back."""
    copy = tmp_path / "copy.db"
    within(data, insert)
    assert run("backup", "--data", str(data), str(copy)).code == 0
    within(data, insert)
    before = within(data, everything)
    restored = json.loads(run("restore", "--data", str(data), str(copy), "-o", "json").out)
    assert len(within(data, everything)) == 1
    assert run("restore", "--data", str(data), restored["before"]).code == 0
    assert within(data, everything) == before


def test_a_restore_that_was_killed_before_the_messages_is_not_served(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is in its place already. The next start says how to end the restore, or how to go on without it."""
    before = within(data, insert)
    copy = tmp_path / "copy.db"
    assert run("backup", "--data", str(data), str(copy)).code == 0

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("move", "restore"):
        monkeypatch.setattr(f"hivewire.streams.backup.{step}", die)
        assert run("restore", "--data", str(data), str(copy)).code == 130
        monkeypatch.undo()
        with pytest.raises(WrongFile, match=f"may be missing: hivewire restore {copy} --data {data}; or go on"):
            within(data, everything)
        assert run("restore", "--data", str(data), str(copy)).code == 0
        assert within(data, everything) == [before]

    monkeypatch.setattr("hivewire.streams.backup.move", die)
    assert run("restore", "--data", str(data), str(copy)).code == 130
    monkeypatch.undo()
    for accept_loss in (True, False):
        assert within(data, everything, accept_loss=accept_loss) == []


def test_a_restore_says_that_there_are_no_messages(run: Run, data: Path, tmp_path: Path) -> None:
    """Somebody may have copied the data file alone."""
    within(data, insert)
    beside_ledger(data).unlink()
    found = run("restore", "--data", str(tmp_path / "new.db"), str(data))
    assert (found.code, f"without the messages of devices: there is no {data}.messages" in found.err) == (0, True)


def test_a_backup_of_a_running_gateway_has_its_messages(run: Run, data: Path, tmp_path: Path) -> None:
    """Also those that are only in the WAL."""
    copy = tmp_path / "copy.db"

    async def backed_up(messages: Messages) -> Message:
        message = await insert(messages)
        with copied(data, copy) as bind:
            backup(data, copy)
            assert bind(epoch_of(copy)) is None
        return message

    message = within(data, backed_up)
    assert run("restore", "--data", str(tmp_path / "new.db"), str(copy)).code == 0
    assert within(tmp_path / "new.db", everything) == [message]


def test_what_root_puts_in_place_gets_the_owner_of_the_place(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may use it, as with the commands of a page run by root. Links are not followed."""
    within(data, insert)
    copy, dumped = tmp_path / "copy.db", tmp_path / "dump.jsonl"
    assert run("backup", "--data", str(data), str(copy)).code == 0
    assert run("dump", "--data", str(data), str(dumped)).code == 0
    given: set[tuple[str, bool, tuple[int, int]]] = set()

    def give(path: Path, user: int, group: int, *, follow_symlinks: bool) -> None:
        given.add((path.name, follow_symlinks, (user, group)))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", give)
    assert run("restore", "--data", str(data), str(copy)).code == 0
    assert run("load", "--data", str(tmp_path / "new.db"), str(dumped)).code == 0
    owner = tmp_path.stat().st_uid, tmp_path.stat().st_gid
    names = {data.name, f"{data.name}.lock", f"{data.name}.messages.hivewire-unfinished", "new.db", "new.db.lock"}
    assert given == {(name, False, owner) for name in names}


def test_a_backup_overwrites_no_messages(run: Run, data: Path, tmp_path: Path) -> None:
    """It is refused before anything is copied."""
    within(data, insert)
    beside_ledger(tmp_path / "copy.db").write_text("something")
    refused = run("backup", "--data", str(data), str(tmp_path / "copy.db"))
    assert (refused.code, "copy.db.messages exists already" in refused.err) == (1, True)
    assert not (tmp_path / "copy.db").exists()


def test_a_restore_without_messages_leaves_none(run: Run, data: Path, tmp_path: Path) -> None:
    """Those of the ledger before it are renamed, because their devices are not those of the restored one."""
    within(data, insert)
    copy = tmp_path / "copy.db"
    assert run("backup", "--data", str(data), str(copy)).code == 0
    beside_ledger(copy).write_bytes(b"damaged")
    restored = run("restore", "--data", str(data), str(copy), "-o", "value")
    assert (restored.code, restored.out) == (0, f"{data}\n")
    assert restored.err == "hivewire: warning: without the messages of devices: it is no file of messages\n"
    assert within(data, everything) == []


async def test_a_backup_that_hangs_lets_the_wal_be_written_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reads are short. When it goes on, the copy is the state of its last moment, without what was dropped."""
    monkeypatch.setattr(portions, "PORTION", 10)
    journal = SqliteJournal(data)
    await journal.open()
    engine = SqliteEngine(beside_ledger(data))
    await engine.open(journal.epoch)
    log, wal = engine.log("commands"), Path(f"{beside_ledger(data)}-wal")
    await log.load()
    loop, hangs, goes_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    write = portions._write

    def hang(connection: sqlite3.Connection, logs: portions.Logs) -> None:
        write(connection, logs)
        loop.call_soon_threadsafe(hangs.set)
        assert goes_on.wait(60)

    def back_up() -> None:
        with copied(data, tmp_path / "copy.db") as bind:
            assert bind("copied") is None

    try:
        for number in range(1, 26):
            await log.append(number, b"entry")
        await log.seal(1, 25, b"header", b"postings")
        monkeypatch.setattr(portions, "_write", hang)
        copying = asyncio.create_task(asyncio.to_thread(back_up))
        try:
            await hangs.wait()
            assert [path.name for path in tmp_path.glob("copy.db*")] == ["copy.db.messages.hivewire-unfinished"]
            for number in range(26, 39):
                await log.append(number, bytes(4 << 20))
                assert wal.stat().st_size <= 16 << 20
            await log.seal(26, 38, b"header 2", b"postings 2")
            await log.drop(26, 50)
            await log.append(39, b"the last")
        finally:
            goes_on.set()
        await copying
    finally:
        await engine.close()
        await journal.close()
    engine = SqliteEngine(beside_ledger(tmp_path / "copy.db"))
    await engine.open("copied")
    log = engine.log("commands")
    loaded = await log.load()
    assert (loaded.oldest, loaded.clock, loaded.headers) == (26, 50, [b"header 2"])
    assert loaded.entries == [(39, b"the last")]
    assert (await log.postings(1), await log.postings(26)) == (None, b"postings 2")
    assert [number for number, _ in await log.pick(range(20, 30))] == [26, 27, 28, 29]
    await engine.close()


def test_what_a_killed_backup_left_is_removed(run: Run, data: Path, tmp_path: Path) -> None:
    """By the next one in that directory, whatever its name."""
    within(data, insert)
    (tmp_path / "monday.db.messages.hivewire-unfinished").write_bytes(b"half")
    assert run("backup", "--data", str(data), str(tmp_path / "tuesday.db")).code == 0
    assert [path.name for path in tmp_path.glob("*unfinished*")] == []


def test_a_script_is_told_of_a_backup_without_messages(run: Run, data: Path, tmp_path: Path) -> None:
    """On standard error, whatever form of output it asks for."""
    within(data, insert)
    beside_ledger(data).write_bytes(b"no file of SQLite")
    found = run("backup", "--data", str(data), str(tmp_path / "copy.db"), "-o", "json")
    assert (found.code, "hivewire: warning: without the messages of devices: " in found.err) == (0, True)


async def test_an_older_copy_of_the_messages_alone_is_set_aside(data: Path) -> None:
    """The ledger beside it has noted how far they reached. Under other epochs, nobody resumes over the difference."""
    settings, file, epochs = Settings(data=str(data)), beside_ledger(data), []

    async def one_more() -> int:
        async with AsyncExitStack() as stack:
            store = await open_store(settings, stack)
            messages, _ = await open_messages(settings, store.ledger, stack)
            epochs.append(messages.commands.epoch)
            await insert(messages)
            return len(await everything(messages))

    assert await one_more() == 1
    older = file.read_bytes()
    assert await one_more() == 2
    file.write_bytes(older)
    assert [await one_more(), await one_more()] == [1, 2]
    assert epochs[0] == epochs[1] != epochs[2] == epochs[3]
    [aside] = (path for path in data.parent.glob(f"{file.name}*") if path.suffix not in (".messages", ".lock"))
    assert aside.read_bytes() == older


async def test_messages_are_missed_only_where_they_were(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger that was served and has lost them is warned of; a new one is not, also when it is loaded from a dump."""
    lines: list[bytes] = []

    async def warned(file: Path) -> bool:
        async with AsyncExitStack() as stack:
            settings = Settings(data=str(file))
            await open_messages(settings, (await open_store(settings, stack)).ledger, stack)
        return "there is no file of messages" in capsys.readouterr().err

    assert not await warned(data)
    dump(data, lines.append)
    beside_ledger(data).unlink()
    assert await warned(data)
    load(lines, loaded := data.with_name("loaded.db"))
    assert not await warned(loaded)
