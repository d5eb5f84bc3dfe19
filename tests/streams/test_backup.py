"""`hivewire backup` and `hivewire restore` take the messages of devices with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from hivewire.ledger.backup import backup, epoch_of
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.streams.backup import beside_ledger, copied
from hivewire.streams.message import Message
from hivewire.streams.messages import Messages
from hivewire.streams.sqlite import SqliteEngine
from tests.command import Run
from tests.streams.kit import Clocks, draft, messages_on

T = TypeVar("T")


def within(data: Path, work: Callable[[Messages], Awaitable[T]]) -> T:
    """Do something with the messages beside a ledger, which is made if it is missing."""

    async def do() -> T:
        journal = SqliteJournal(data)
        await journal.open()
        messages = messages_on(SqliteEngine(beside_ledger(data)), Clocks())
        try:
            await messages.open(journal.epoch)
            return await work(messages)
        finally:
            await messages.close()
            await journal.close()

    return asyncio.run(do())


async def insert(messages: Messages) -> Message:
    return await messages.commands.insert(draft())


async def everything(messages: Messages) -> list[Message]:
    return await messages.commands.of_device(1)


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
    [old] = tmp_path.glob("*.messages.before-restore-*")
    assert epoch_of(data) != epoch_of(copy)
    assert old.stat().st_size


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
    restored = run("restore", "--data", str(data), str(copy))
    assert (restored.code, "without the messages of devices: it is no file of messages" in restored.out) == (0, True)
    assert within(data, everything) == []
