"""`dump` and `load`: a whole ledger as lines of JSON that stay the same over versions; and `vacuum`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from hivewire.ledger.backup import vacuum
from hivewire.ledger.dump import dump, load
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import AuditRow, Change, JournalError, Transaction, Write
from hivewire.ledger.retention import Retention

FILES = Path(__file__).parent / "files"

LINE: dict[str, object] = {
    "line": "change",
    "revision": 1,
    "kind": "configuration",
    "key": "a",
    "id": 1,
    "version": 1,
    "previous": 0,
    "ordinal": 1,
    "time": 1,
    "contentType": "",
    "author": None,
    "description": None,
}
"""A change of a dump, without its content."""


def dumped(path: Path) -> list[bytes]:
    """The lines of a dump."""
    lines: list[bytes] = []
    assert dump(path, lines.append) == sum(b'"line":"change"' in line for line in lines)
    return lines


async def everything(path: Path) -> tuple[list[Change], dict[str, str], int, int]:
    """All changes, the notes, and the ledger's revision and oldest revision."""
    ledger = Ledger(SqliteJournal(path), lambda: 1)
    await ledger.open()
    try:
        return await ledger.since(ledger.oldest - 1, take=10_000), await ledger.notes(), ledger.revision, ledger.oldest
    finally:
        await ledger.close()


async def filled(path: Path, retention: Retention) -> None:
    """A ledger with all that a ledger can hold, shortened, and closed."""
    ledger = Ledger(SqliteJournal(path), lambda: 1, retention=retention)
    await ledger.open()
    contents = [b"text", "grüß".encode(), b"\xff\x00binary", b"", b'{"a":\n1}', None]
    for number, content in enumerate(contents):
        writes = [Write("configuration", "a\n\0é", b"x"), Write("user", f"u{number}", b"{}", "application/json", "why")]
        await ledger.commit(Transaction(writes, author="admin"))
        await ledger.commit(Transaction([Write("configuration", "a\n\0é", content, "t/x")]))
    await ledger.commit(Transaction([Write("secret", "jwt", b"very secret"), *[Write("device", "", b"{}")] * 2]))
    await ledger.remember({"lastLogin:1": "7"})
    ledger.audit.note("login", "ann", "ann", "::1", how="password")
    await ledger.audit.write(AuditRow(1, "activity", "t1", 3, None, None, 2, '{"a":1.50}'))
    await ledger.compact(at_once=True)
    await ledger.close()


@pytest.mark.parametrize("log_changes", [5, 1_000])
async def test_what_is_loaded_is_what_was_dumped(data: Path, log_changes: int) -> None:
    """Every change, note, id and revision is there again, and the dump of it is the same; only the epoch is new."""
    await filled(data, Retention(2, log_changes, 7.0))
    lines = dumped(data)
    copy = data.with_name("copy.db")
    load(lines, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert dumped(copy) == lines
    assert await everything(copy) == await everything(data)
    assert b"very secret" in b"".join(lines)
    audited = [json.loads(line) for line in lines if b'"line":"audit"' in line]
    assert [row["kind"] for row in audited] == ["user"] * 6 + ["activity", "login"]
    assert audited[6].items() >= {"subject": "t1", "record": 3, "count": 2, "detail": {"a": 1.5}, "number": 7}.items()


async def test_a_dump_of_format_1_is_read_by_every_version(data: Path) -> None:
    """The dump that the first version wrote is loaded, and dumped again it is the same to the byte."""
    lines = (FILES / "format1.jsonl").read_bytes().splitlines(keepends=True)
    assert load(lines, data) == len(lines) - 3  # its head, a note and its end
    assert dumped(data) == lines
    changes, _, revision, _ = await everything(data)
    assert revision == 15
    assert {change.kind for change in changes} >= {"configuration", "user", "secret", "tenant", "client"}


async def test_a_running_ledger_is_dumped(data: Path) -> None:
    """The dump includes changes that are only in the WAL."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    await ledger.commit(Transaction([Write("configuration", "a", b"1")]))
    lines = dumped(data)
    await ledger.close()
    assert [json.loads(line) for line in lines] == [
        {"line": "dump", "format": 1},
        LINE | {"text": "1"},
        {"line": "end", "changes": 1},
    ]


async def test_a_dump_whose_reader_waits_lets_the_wal_be_written_back(data: Path) -> None:
    """However much is written meanwhile, the WAL stays small, and the dump is the state of the moment it began with."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    lines: list[bytes] = []
    waits, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def write(line: bytes) -> None:
        lines.append(line)
        if b'"change"' in line:
            loop.call_soon_threadsafe(waits.set)
            assert goes_on.wait(60)

    try:
        await ledger.commit(Transaction([Write("configuration", "a", b"1")]))
        dumping = asyncio.create_task(asyncio.to_thread(dump, data, write))
        try:
            await waits.wait()
            for n in range(13):
                await ledger.commit(Transaction([Write("configuration", str(n), bytes(4 << 20))]))
                assert data.with_name(data.name + "-wal").stat().st_size <= 16 << 20
        finally:
            goes_on.set()
        assert await dumping == 1
    finally:
        await ledger.close()
    assert [json.loads(line)["line"] for line in lines] == ["dump", "change", "end"]


async def test_an_output_that_fails_is_not_called_a_fault_of_the_ledger(data: Path) -> None:
    """Its own error comes out: that of a closed pipe is no error at all for the command line."""
    await filled(data, Retention(2, 5, 7.0))

    def write(line: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        dump(data, write)


def change(**members: Any) -> bytes:
    """A line of a dump with these members changed."""
    return json.dumps(LINE | members).encode()


HEAD, END = b'{"line":"dump","format":1}', b'{"line":"end","changes":1}'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "has no end"),
        ([HEAD], "has no end line; it is incomplete"),
        ([HEAD, change()], "has no end"),
        ([change(), END], "line 1: a dump begins with"),
        ([HEAD, HEAD], "line 2: a dump begins with"),
        ([b'{"line":"dump","format":2}'], "has format 2, but this version of Hivewire reads format 1"),
        ([HEAD, change(), change(), END], "line 4: the end line says 1 changes, but the dump has 2"),
        ([HEAD, END], "line 2: the end line says 1 changes, but the dump has 0"),
        ([HEAD, change(), END, change()], "line 4: the dump continues after its end line"),
        ([HEAD, change(revision=2), change(), END], "line 3: revision 1 comes after 2"),
        ([HEAD, change(revision=0), END], "line 2: revision 0 comes after 0"),
        ([HEAD, change(kind="novel"), END], "line 2: this version of Hivewire does not know the kind 'novel'"),
        ([HEAD, *[change()] * 1_025], "more than 1024 changes"),
        ([HEAD, change(revision=1 << 60), END], "line 2 is not a line of a dump: Expected `int` <="),
        ([HEAD, change(base64="!"), END], "line 2: base64: "),
        ([HEAD, change(vesion=1), END], "line 2 is not a line of a dump: .*vesion"),
        ([HEAD, b'{"line":"change"}', END], "line 2 is not a line of a dump: .*missing required field"),
        ([HEAD, b'{"line":"change","key":"\\ud800"}', END], "line 2 is not a line of a dump"),
        ([HEAD, b"\x1f\x8b", END], "line 2 is not a line of a dump"),
    ],
)
def test_an_incomplete_or_invalid_dump_is_not_loaded(data: Path, lines: list[bytes], words: str) -> None:
    """The error names the line, and no file is created."""
    with pytest.raises(JournalError, match=words):
        load(lines, data)
    assert os.listdir(data.parent) == []


async def test_bad_paths_for_a_dump_are_refused(data: Path, tmp_path: Path) -> None:
    """No data file, one of an older schema, a target that exists, a missing directory."""
    with pytest.raises(JournalError, match="there is no data file"):
        dumped(data)
    shutil.copy(FILES / "2.ledger", data)
    with pytest.raises(JournalError, match="has schema version 2; start the gateway once"):
        dumped(data)
    with pytest.raises(JournalError, match="exists already"):
        load([], data)
    with pytest.raises(JournalError, match="no such directory"):
        load([], tmp_path / "nowhere" / "x.db")


async def test_a_vacuum_makes_the_file_smaller_and_changes_nothing(data: Path) -> None:
    """It returns the space of deleted values; content and epoch stay, and a file in use is refused."""
    ledger = Ledger(SqliteJournal(data), lambda: 1, retention=Retention(1, 1, 7.0))
    await ledger.open()
    for n in range(100):
        await ledger.commit(Transaction([Write("configuration", str(n % 10), os.urandom(20_000))]))
    await ledger.compact(at_once=True)
    with pytest.raises(JournalError, match="in use by a gateway"):
        vacuum(data)
    await ledger.close()
    whole = await everything(data)
    before, after = vacuum(data)
    assert before > 1_500_000
    assert after < 400_000
    assert data.stat().st_size == after
    assert await everything(data) == whole
    again = Ledger(SqliteJournal(data), lambda: 1)
    await again.open()
    assert again.epoch == ledger.epoch
    await again.close()
    with pytest.raises(JournalError, match="there is no data file"):
        vacuum(data.with_name("none.db"))
    assert not data.with_name("none.db").exists()
