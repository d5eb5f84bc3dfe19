"""The file of the SQLite engine: what is refused, what is left alone, who may read it, and its backup."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hivewire import files, portions
from hivewire.files import unfinished_file
from hivewire.ledger.backup import backup, restore
from hivewire.ledger.engines.sqlite import journal
from hivewire.ledger.engines.sqlite.file import APPLICATION_ID, SCHEMA_VERSION, creation_script
from hivewire.ledger.engines.sqlite.file_lock import FileLock
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import AuditRow, Change, JournalError, NotDurable, Transaction, Write
from tests.running import PATIENCE, process, started

PAGE = 4_096


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever happens to a file, no thread stays behind: it would keep the process from ending."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in left)


async def filled(path: Path, records: int = 500) -> None:
    """A ledger with some records, closed cleanly."""
    ledger = Ledger(SqliteJournal(path), lambda: 1)
    await ledger.open()
    for start in range(0, records, 500):
        writes = [Write("configuration", f"key {number}", b"x" * 100) for number in range(start, start + 500)]
        await ledger.commit(Transaction(writes))
    await ledger.close()


async def refusal(path: Path) -> str:
    """The words with which the file is refused; it must be as it was, with nothing new in the files beside it."""
    before, listing = path.read_bytes(), company(path)
    modified = path.stat().st_mtime_ns
    ledger = Ledger(SqliteJournal(path), lambda: 1)
    with pytest.raises(JournalError) as refused:
        await ledger.open()
    await ledger.close()
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == modified
    assert company(path) == listing
    return str(refused.value)


def company(path: Path) -> dict[str, bytes]:
    """Other files in the directory, except the lock and those that SQLite makes to read a file in WAL mode."""
    others = {other.name: other.read_bytes() for other in path.parent.iterdir() if other != path}
    return {
        name: content
        for name, content in others.items()
        if not name.endswith((".lock", "-shm")) and not (name.endswith("-wal") and not content)
    }


async def state(path: Path) -> tuple[dict[str, bytes | None], int, str]:
    """Configurations, revision and epoch of a ledger that is opened for a moment."""
    ledger = Ledger(SqliteJournal(path), lambda: 1)
    await ledger.open()
    found = {key: change.content for key, change in ledger.kind("configuration").live.items()}
    revision, epoch = ledger.revision, ledger.epoch
    await ledger.close()
    return found, revision, epoch


# What is refused.


@pytest.mark.parametrize("content", [b"# my notes\n" * 50, b"x", b"SQLite format 3\0", bytes(8_192)])
async def test_a_file_that_is_not_a_database_is_refused(data: Path, content: bytes) -> None:
    """A text, or any other file that is not a database, is refused and left as it is."""
    data.write_bytes(content)
    data.chmod(0o644)
    with capture_logs() as logged:
        assert "is not a Hivewire ledger" in (said := await refusal(data))
    assert logged == []  # that others can open it matters for a ledger only
    assert str(data) in said
    assert "left untouched" in said


@pytest.mark.parametrize(("make", "words"), [(os.mkdir, "a directory"), (os.mkfifo, "not a regular file")])
async def test_what_is_no_regular_file_is_refused(data: Path, make: Callable[[Path], None], words: str) -> None:
    """At once: opening a named pipe would wait for its writer."""
    make(data)
    with pytest.raises(JournalError, match=f"is {words}; name a file"):
        await Ledger(SqliteJournal(data), lambda: 1).open()
    assert os.listdir(data.parent) == [data.name]


@pytest.mark.parametrize(
    ("name", "is_of_sync"),
    [
        ("IOERR_FSYNC", True),
        ("IOERR_SHMSIZE", True),
        ("IOERR_SHMMAP", True),
        ("NOMEM", True),
        ("IOERR_WRITE", False),
        ("FULL", False),
    ],
)
def test_a_commit_may_be_there_after_errors_that_follow_its_writing(name: str, is_of_sync: bool) -> None:
    """By the numbers that SQLite gives them."""
    error = sqlite3.OperationalError()
    assert not files.is_of_sync(error)
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert files.is_of_sync(error) == is_of_sync


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_a_database_of_another_application_is_refused(data: Path, mode: str) -> None:
    """Somebody else's SQLite database is refused and left as it is."""
    with contextlib.closing(sqlite3.connect(data)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("CREATE TABLE change (place INTEGER)")
        other.commit()
    assert "is an SQLite database of another application" in await refusal(data)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
async def test_a_file_of_another_version_is_refused(data: Path, version: int) -> None:
    """A file with a newer schema, or with none, is refused, and the error names both versions."""
    await filled(data)
    with contextlib.closing(sqlite3.connect(data)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA journal_mode = DELETE")
    said = await refusal(data)
    assert f"schema version {version}" in said
    assert f"uses {SCHEMA_VERSION}" in said
    assert "Use the version of Hivewire that wrote it" in said


@pytest.mark.parametrize("page", range(1, 12))
async def test_a_damaged_file_is_refused(data: Path, page: int) -> None:
    """A file with flipped bytes in any of its pages is refused and left as it is."""
    await filled(data)
    content = bytearray(data.read_bytes())
    start = page * PAGE
    for position in range(start, start + 32):  # the head of the page and its first cell pointers
        content[position] ^= 0xFF
    data.write_bytes(content)
    said = await refusal(data)
    assert "is damaged" in said
    assert "\n" not in said
    assert "Restore a whole backup" in said


async def test_a_file_that_was_cut_off_is_refused(data: Path) -> None:
    """A file that lost its end is refused and left as it is."""
    await filled(data)
    os.truncate(data, data.stat().st_size - 3 * PAGE)
    assert "is damaged" in await refusal(data)


async def test_a_file_that_cannot_be_read_now_is_not_called_damaged(data: Path) -> None:
    """Another program has it locked: the error says so, and not that a backup has to be restored."""
    await filled(data)
    with contextlib.closing(sqlite3.connect(data, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await refusal(data) == f"cannot use {data}: database is locked"


async def test_a_ledger_without_its_epoch_is_refused(data: Path) -> None:
    """A file of ours in which the name of the history is missing is refused with a sentence."""
    await filled(data)
    with contextlib.closing(sqlite3.connect(data)) as connection:
        connection.execute("DELETE FROM meta")
        connection.commit()
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    try:
        with pytest.raises(JournalError):
            await ledger.open()
    finally:
        await ledger.close()


async def test_bad_paths_are_refused(tmp_path: Path) -> None:
    """A missing directory, or a directory in place of the file: an error, and nothing is created."""
    for place, words in ((tmp_path / "missing" / "x.db", "does not exist"), (tmp_path, "is a directory")):
        ledger = Ledger(SqliteJournal(place), lambda: 1)
        with pytest.raises(JournalError, match=words):
            await ledger.open()
        await ledger.close()
    assert os.listdir(tmp_path) == []


# Who may use it.


OPEN = """
    import asyncio, sys
    from pathlib import Path
    from hivewire.ledger.records import JournalError
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal

    async def main():
        journal = SqliteJournal(Path(sys.argv[1]))
        try:
            await journal.open()
            print("opened")
        except JournalError as error:
            print(error)
        finally:
            await journal.close()

    asyncio.run(main())
    """


async def test_a_second_process_is_kept_out(data: Path) -> None:
    """A process that opens a file in use gets an error with the id of the process that uses it."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    try:
        found = process(OPEN, data)
        assert found.stderr == ""
        assert f"{data} is in use by another gateway (process {os.getpid()})" in found.stdout
        await ledger.commit(Transaction([Write("configuration", "still", b"works")]))
    finally:
        await ledger.close()
    assert process(OPEN, data).stdout == "opened\n"


async def test_a_second_process_does_not_wait_for_the_file(data: Path) -> None:
    """It is refused before it reads anything of the file, however large or damaged that is."""
    data.write_bytes(b"not even a database")
    lock = FileLock(data)
    lock.acquire()
    try:
        assert "in use by another gateway" in await refusal(data)
    finally:
        lock.release()


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere this lock would keep SQLite out as well")
async def test_a_hard_link_to_the_file_is_the_same_file(data: Path, new: bool) -> None:
    """A second process is kept out even if it opens the file by another name, which has another lock file."""
    if not new:
        await filled(data)
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    link = data.with_name("link.db")
    try:
        os.link(data, link)
        found = process(OPEN, link)
        assert found.stderr == ""
        assert f"{link} is in use by another gateway; stop it first" in found.stdout
        await ledger.commit(Transaction([Write("configuration", "still", b"works")]))
        backup(data, data.with_name("copy.db"))  # to read it is allowed
    finally:
        await ledger.close()
    assert process(OPEN, link).stdout == "opened\n"


async def test_only_its_owner_can_read_it(data: Path) -> None:
    """The file and everything beside it have mode 0600, whatever the umask."""
    old = os.umask(0)
    try:
        ledger = Ledger(SqliteJournal(data), lambda: 1)
        await ledger.open()
        await ledger.commit(Transaction([Write("secret", "a", b"b")]))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.parent.iterdir()}
        await ledger.close()
    finally:
        os.umask(old)
    assert data.name in modes
    assert set(modes.values()) == {0o600}


async def test_a_replaced_secret_is_gone_from_the_file(data: Path) -> None:
    """The bytes of a secret that was replaced are nowhere in the file."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    for secret in (b"the first secret", b"the second secret"):
        await ledger.commit(Transaction([Write("secret", "jwt", secret)]))
    await ledger.close()
    content = data.read_bytes()
    assert b"the second secret" in content
    assert b"the first secret" not in content


READ_AND_TRY_TO_WRITE = """
    import asyncio, sys
    from pathlib import Path
    from hivewire.ledger.ledger import Ledger
    from hivewire.ledger.records import NotDurable, Transaction, Write
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal

    async def main():
        ledger = Ledger(SqliteJournal(Path(sys.argv[1])), lambda: 1)
        try:
            await ledger.open()
            print(len(ledger.kind("configuration").live), ledger.failing)
            for attempt in range(2):
                try:
                    await ledger.commit(Transaction([Write("configuration", "new", b"")]))
                    print("written")
                except NotDurable:
                    print("not durable", ledger.revision, "new" in ledger.kind("configuration").live)
        finally:
            await ledger.close()

    asyncio.run(main())
    """


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o400, 0o700), (0o400, 0o500), (0o600, 0o500)])
async def test_a_read_only_file_can_be_read(data: Path, mode: int, folder_mode: int) -> None:
    """A file that may not be written, or beside which nothing can be made, is served for reading: every write is
    refused, the log says so at once, and the file stays as it is."""
    await filled(data)
    before = data.read_bytes()
    data.with_name(data.name + ".lock").unlink()
    data.chmod(mode)
    data.parent.chmod(folder_mode)
    try:
        found = process(READ_AND_TRY_TO_WRITE, data, powerless=True)
    finally:
        data.parent.chmod(0o700)
    [told] = found.stderr.splitlines()
    assert "the data file is read-only: writes are refused" in told
    assert found.stdout.splitlines() == [
        "500 the storage was read-only at the start; restart the gateway once it is writable",
        "not durable 1 False",
        "not durable 1 False",
    ]
    assert data.read_bytes() == before


COMMAND = """
    import sys
    from hivewire import cli
    cli.main()
    """


@pytest.mark.parametrize("command", ["user unlock admin", "tenant add t9", "vacuum"])
async def test_commands_say_that_a_file_is_read_only(data: Path, command: str) -> None:
    """In one line, and the file stays as it is."""
    shutil.copy(Path(__file__).parent / "files" / "2.ledger", data)
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    await ledger.close()
    before = data.read_bytes()
    data.chmod(0o400)
    found = process(COMMAND, *command.split(), "--data", data, powerless=True)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert found.stderr.startswith("hivewire: error: ")
    assert "read-only" in found.stderr or "readonly" in found.stderr
    assert data.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        *((command, "-wal") for command in ("vacuum", "tenant add t9", "backup copy.db", "dump copy.jsonl")),
        *((command, ".lock") for command in ("vacuum", "tenant add t9")),
    ],
)
async def test_a_file_of_another_user_is_named(data: Path, command: str, suffix: str) -> None:
    """A -wal that may not be opened is no damage, for which somebody would restore a backup; nor is a lock."""
    files = Path(__file__).parent / "files"
    shutil.copy(files / "2-killed.ledger", data)
    shutil.copy(files / "2-killed.ledger-wal", data.with_name(data.name + "-wal"))
    data.with_name(data.name + ".lock").touch()
    closed = data.with_name(data.name + suffix)
    closed.chmod(0)
    words = command.replace("copy", str(data.with_name("copy"))).split()
    found = process(COMMAND, *words, "--data", data, powerless=True)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert found.stderr.startswith("hivewire: error: cannot ")
    assert f"{closed}: Permission denied" in found.stderr
    assert "damaged" not in found.stderr


# Accidents.


def hot_journal(pages: int) -> bytes:
    """The head of a rollback journal as SQLite leaves it when it dies within a commit; the file had so many pages."""
    head = struct.pack(">8sIIIII", bytes.fromhex("d9d505f920a163d7"), 0, 1, pages, 512, PAGE)
    return head.ljust(512, b"\0")


@pytest.mark.parametrize("written", [0, PAGE, None], ids=["nothing", "one page", "everything"])
async def test_a_creation_that_was_killed_half_way_is_begun_again(data: Path, written: int | None) -> None:
    """When the process died while it made the file, the next start makes it."""
    with contextlib.closing(sqlite3.connect(data)) as connection:
        connection.executescript(creation_script())
    os.truncate(data, data.stat().st_size if written is None else written)
    data.with_name(data.name + "-journal").write_bytes(hot_journal(pages=0))
    assert (await state(data))[:2] == ({}, 0)
    await filled(data)
    assert len((await state(data))[0]) == 500


async def test_an_empty_file_becomes_a_ledger(data: Path) -> None:
    """An empty file, left by a start that died, becomes a data file."""
    data.touch()
    data.chmod(0o644)
    assert (await state(data))[:2] == ({}, 0)
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    header = data.read_bytes()[:100]
    assert int.from_bytes(header[68:72]) == APPLICATION_ID
    assert int.from_bytes(header[60:64]) == SCHEMA_VERSION


def test_a_killed_writer_loses_nothing_that_it_acknowledged(data: Path) -> None:
    """Every acknowledged batch is there completely, and no later one in part."""
    writer = started(
        """
        import asyncio, sys
        from pathlib import Path
        from hivewire.ledger.ledger import Ledger
        from hivewire.ledger.records import Transaction, Write
        from hivewire.ledger.engines.sqlite.journal import SqliteJournal

        async def main():
            ledger = Ledger(SqliteJournal(Path(sys.argv[1])), lambda: 1)
            await ledger.open()
            for number in range(100_000):
                writes = [Write("configuration", f"{number} {index}", b"x" * 300) for index in range(50)]
                await ledger.commit(Transaction(writes))
                print(number, flush=True)

        asyncio.run(main())
        """,
        data,
    )
    with writer:
        said = [int(next(writer.stdout)) for _ in range(40)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    found = process(
        """
        import asyncio, collections, sys
        from pathlib import Path
        from hivewire.ledger.ledger import Ledger
        from hivewire.ledger.engines.sqlite.journal import SqliteJournal

        async def main():
            ledger = Ledger(SqliteJournal(Path(sys.argv[1])), lambda: 1)
            await ledger.open()
            counts = collections.Counter(key.split()[0] for key in ledger.kind("configuration").live)
            print(ledger.revision, len(counts), *set(counts.values()))
            await ledger.close()

        asyncio.run(main())
        """,
        data,
    )
    revision, transactions, *sizes = map(int, found.stdout.split())
    assert sizes == [50]
    assert revision == transactions
    assert transactions in (len(said), len(said) + 1)  # one more may have been on its way


# Backup.


async def test_a_backup_is_a_ledger_of_its_own(data: Path, tmp_path: Path) -> None:
    """A copy has the same content and revision, another epoch, mode 0600, and no other files."""
    await filled(data)
    folder = tmp_path / "backups"
    folder.mkdir()
    steps: list[tuple[int, int]] = []
    backup(data, folder / "copy.db", lambda done, total: steps.append((done, total)))
    assert os.listdir(folder) == ["copy.db"]
    assert stat.S_IMODE((folder / "copy.db").stat().st_mode) == 0o600
    assert steps[-1][0] == steps[-1][1] > 0
    content, revision, epoch = await state(data)
    copied, copied_revision, copied_epoch = await state(folder / "copy.db")
    assert (copied, copied_revision) == (content, revision)
    assert copied_epoch != epoch


async def test_a_backup_never_overwrites(data: Path, tmp_path: Path) -> None:
    """A file that is there already stays as it is, the ledger itself included."""
    await filled(data)
    target = tmp_path / "copy.db"
    target.write_bytes(b"precious")
    with pytest.raises(JournalError, match="exists already"):
        backup(data, target)
    assert target.read_bytes() == b"precious"
    with pytest.raises(JournalError, match="exists already"):
        backup(data, data)
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
async def test_a_backup_needs_no_hard_links(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where the file system has no hard links, a backup is made all the same, and overwrites nothing either."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    await filled(data)
    backup(data, tmp_path / "copy.db")
    assert len((await state(tmp_path / "copy.db"))[0]) == 500
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600

    late = tmp_path / "late.db"

    def made_meanwhile(done: int, total: int) -> None:
        late.write_bytes(b"precious")

    with pytest.raises(JournalError, match="exists already"):
        backup(data, late, made_meanwhile)
    assert late.read_bytes() == b"precious"
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]


async def test_a_restore_without_hard_links_leaves_the_old_file_until_the_new_one_is_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start after a kill right before that would make a new ledger if there was no file."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    await filled(data)
    before = data.read_bytes()
    data.chmod(0o640)
    backup(data, tmp_path / "copy.db")
    seen: list[bytes] = []
    replace = os.replace

    def looked_at(source: Path, target: Path) -> None:
        if Path(target) == data:
            seen.append(data.read_bytes())
        replace(source, target)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", looked_at)
    old = restore(tmp_path / "copy.db", data)
    assert seen == [before]
    assert old is not None
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (before, 0o640)
    assert len((await state(data))[0]) == 500


async def test_a_backup_from_or_to_a_bad_path_is_refused(data: Path, tmp_path: Path) -> None:
    """A missing, foreign or damaged source, or a missing directory: an error, and nothing is created."""
    await filled(data)
    text = tmp_path / "text"
    text.write_text("no database " * 20)
    damaged = tmp_path / "damaged.db"
    content = bytearray(data.read_bytes())
    content[PAGE : PAGE + 32] = bytes(32)
    damaged.write_bytes(content)
    before = company(tmp_path / "copy.db")
    for source, target, words in (
        (tmp_path / "missing.db", tmp_path / "copy.db", "there is no data file"),
        (text, tmp_path / "copy.db", "is not a Hivewire ledger"),
        (damaged, tmp_path / "copy.db", "is damaged"),
        (tmp_path, tmp_path / "copy.db", "copy.db: Is a directory$"),
        (data, tmp_path / "nowhere" / "copy.db", f"copy.db: {tmp_path / 'nowhere'}: no such directory$"),
    ):
        with pytest.raises(JournalError, match=words):
            backup(source, target)
    assert company(tmp_path / "copy.db") == before
    assert not (tmp_path / "copy.db").exists()


async def test_the_remains_of_a_killed_backup_are_removed(data: Path, tmp_path: Path) -> None:
    """A backup removes the unfinished file that a killed backup has left."""
    await filled(data)
    (tmp_path / "copy.db.hivewire-unfinished").write_bytes(b"half")
    backup(data, tmp_path / "copy.db")
    assert len((await state(tmp_path / "copy.db"))[0]) == 500
    assert not (tmp_path / "copy.db.hivewire-unfinished").exists()


BACKUP = """
    import os, signal, sys
    from hivewire import cli
    from hivewire.ledger import backup
    from hivewire.ledger.engines.sqlite import copy as sqlite_copy

    def stopping(source, target, progress):
        sqlite_copy.copy(source, target, lambda done, total: os.kill(os.getpid(), signal.SIGSTOP))

    backup.copy = stopping
    sys.argv = ["hivewire", "backup", "--data", sys.argv[1], sys.argv[2]]
    cli.main()
    """


async def test_of_two_backups_to_one_name_the_second_is_refused(data: Path, tmp_path: Path) -> None:
    """It does not remove what the first one is writing."""
    await filled(data)
    with unfinished_file(tmp_path / "copy.db") as first:
        with pytest.raises(JournalError, match="another process is writing it"):
            backup(data, tmp_path / "copy.db")
        assert first.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_backup_that_is_stopped_or_killed_leaves_nothing_for_long(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """While a backup is stopped the WAL is written back as ever. A backup that a signal ends cleans up; what a killed
    one leaves behind, the next one of another name removes."""
    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "notes.unfinished").write_text("somebody else's")
    await filled(data, 20_000)
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    try:
        with started(BACKUP, data, folder / "copy.db") as process:
            while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                await asyncio.sleep(0.005)
            for n in range(13):
                await ledger.commit(Transaction([Write("configuration", str(n), bytes(4 << 20))]))
                assert wal_bytes(data) <= WAL_BESIDE_A_BACKUP
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        assert process.wait() == (-9 if number == signal.SIGKILL else 128 + number)
        assert (folder / "copy.db.hivewire-unfinished").exists() == (number == signal.SIGKILL)
    finally:
        await ledger.close()
    backup(data, folder / "again.db")
    assert sorted(os.listdir(folder)) == ["again.db", "notes.unfinished"]


WAL_BESIDE_A_BACKUP = 16 << 20
"""2,000 pages, after which it is written back, and the largest commit of these tests."""


def wal_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def test_a_backup_that_hangs_holds_nothing_and_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk of a backup hangs, the WAL stays small, whatever is written and removed. When it goes on, the
    backup is the state of its last moment: nothing is missing, and nothing comes back."""
    monkeypatch.setattr(portions, "PORTION", 100)
    ledger = Ledger(journal := SqliteJournal(data), lambda: 1)
    await ledger.open()
    hangs, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(done: int, total: int) -> None:
        loop.call_soon_threadsafe(hangs.set)
        assert goes_on.wait(PATIENCE)

    try:
        await ledger.commit(Transaction([Write("configuration", str(n), bytes(9_000)) for n in range(250)]))
        await ledger.commit(Transaction([Write("secret", "replaced", b"first")]))
        copying = asyncio.create_task(asyncio.to_thread(backup, data, tmp_path / "copy.db", hang))
        try:
            await hangs.wait()
            outlines = await journal.outline(0, before=journal.tip + 1, take=1_000)
            await journal.remove([outline.place for outline in outlines[:50] + outlines[150:170]])
            await ledger.commit(Transaction([Write("secret", "replaced", b"second")]))
            await journal.append_audit([AuditRow(1, "login", "admin", 1)])
            for n in range(13):
                await ledger.commit(Transaction([Write("configuration", str(n), bytes(4 << 20))]))
                assert wal_bytes(data) <= WAL_BESIDE_A_BACKUP
        finally:
            goes_on.set()
        await copying
    finally:
        await ledger.close()
    assert everything(tmp_path / "copy.db") == everything(data)


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, aside from what is each file's own."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return {"tables": tables} | {
            name: connection.execute(f"SELECT * FROM {name}" + " WHERE name != 'epoch'" * (name == "meta")).fetchall()
            for name, _ in tables
            if name != "life"
        }


async def test_ctrl_z_stops_a_backup_between_two_reads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backup reads, Ctrl-Z waits; while it writes, it does not."""
    blocked: list[tuple[str, bool]] = []

    def note(doing: str) -> None:
        blocked.append((doing, signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, ())))

    read = portions._read
    monkeypatch.setattr(portions, "_read", lambda *found: (note("reads"), read(*found))[1])
    await filled(data)
    backup(data, tmp_path / "copy.db", lambda done, total: note("writes"))
    assert blocked == [("reads", True), ("writes", False)]


async def test_a_wal_that_grew_is_cut(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program reads the file for long the WAL grows; written back afterwards, it is cut."""
    monkeypatch.setattr(journal, "WAL_BYTES", 12 << 20)
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()

    async def write() -> None:
        for n in range(4):
            await ledger.commit(Transaction([Write("configuration", str(n), bytes(4 << 20))]))

    try:
        with contextlib.closing(sqlite3.connect(data, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM meta").fetchone()
            await write()
            assert wal_bytes(data) > 12 << 20
        await write()
        assert wal_bytes(data) <= 12 << 20
    finally:
        await ledger.close()


async def test_a_backup_beside_a_writer_is_one_moment(data: Path, tmp_path: Path) -> None:
    """Copies that are taken while another process writes are sound and hold whole transactions up to one revision."""
    await filled(data, 20_000)
    writer = started(
        """
        import asyncio, sys
        from pathlib import Path
        from hivewire.ledger.ledger import Ledger
        from hivewire.ledger.records import Transaction, Write
        from hivewire.ledger.engines.sqlite.journal import SqliteJournal

        async def main():
            ledger = Ledger(SqliteJournal(Path(sys.argv[1])), lambda: 1)
            await ledger.open()
            print("open", flush=True)
            while True:
                content = str(ledger.revision + 1).encode()
                await ledger.commit(Transaction([Write("configuration", f"live {n}", content) for n in range(20)]))

        asyncio.run(main())
        """,
        data,
    )
    with writer:
        assert writer.stdout.readline() == "open\n"
        for number in range(3):
            backup(data, tmp_path / f"copy {number}.db")
        assert writer.poll() is None
        writer.kill()
    revisions = []
    for number in range(3):
        with contextlib.closing(sqlite3.connect(tmp_path / f"copy {number}.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        content, revision, _ = await state(tmp_path / f"copy {number}.db")
        live = {value for key, value in content.items() if key.startswith("live")}
        assert live <= {str(revision).encode()}
        revisions.append(revision)
    assert revisions == sorted(revisions)
    original, last, _ = await state(data)
    assert last >= revisions[-1]
    assert len(original) == 20_020


async def test_a_full_disk_costs_only_the_batch(data: Path) -> None:
    """A commit that does not fit fails as a whole; when there is space again the next one is written."""
    found = process(
        """
        import asyncio, resource, sys
        from pathlib import Path
        from hivewire.ledger.ledger import Ledger
        from hivewire.ledger.records import NotDurable, Transaction, Write
        from hivewire.ledger.engines.sqlite.journal import SqliteJournal

        def many(name):
            return Transaction([Write("configuration", f"{name} {n}", bytes(5_000)) for n in range(400)])

        async def main():
            ledger = Ledger(SqliteJournal(Path(sys.argv[1])), lambda: 1)
            await ledger.open()
            await ledger.commit(many("before"))
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, hard))
            for _ in range(3):
                try:
                    await ledger.commit(many("never"))
                except NotDurable:
                    print("not durable", ledger.revision)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await ledger.commit(many("after"))
            await ledger.close()

        asyncio.run(main())
        """,
        data,
    )
    assert "Traceback" not in found.stderr
    assert found.stdout.splitlines() == ["not durable 1"] * 3
    content, revision, _ = await state(data)
    assert revision == 2
    assert {key.split()[0] for key in content} == {"before", "after"}
    assert len(content) == 800


async def test_a_closed_journal_writes_nothing(data: Path) -> None:
    """After closing, an append is NotDurable, and the file can be opened by the next one."""
    journal = SqliteJournal(data)
    await journal.open()
    await journal.close()
    with pytest.raises(NotDurable):
        await journal.append(
            [Change(revision=1, kind="configuration", key="a", id=1, version=1, content=b"", content_type="", time=1)],
            behind=0,
        )
    assert (await state(data))[:2] == ({}, 0)


async def test_a_link_to_the_file_is_the_same_file(data: Path) -> None:
    """A second gateway is kept out by whatever name it opens the file."""
    first = SqliteJournal(data)
    await first.open()
    link = data.with_name("link.db")
    link.symlink_to(data)
    second = SqliteJournal(link)
    with pytest.raises(JournalError, match="in use by another gateway"):
        await second.open()
    await second.close()
    await first.close()


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 elsewhere")
async def test_a_name_may_have_any_bytes(tmp_path: Path) -> None:
    """Also such as are no text: they came from an archive, or from a machine with another encoding."""
    path = tmp_path / os.fsdecode(b"?#%41\n\xff.db")
    await filled(path)
    backup(path, copied := tmp_path / os.fsdecode(b"copy\xff"))
    restore(copied, restored := tmp_path / os.fsdecode(b"restored\xff"))
    for each in (path, copied, restored):
        ledger = Ledger(SqliteJournal(each), lambda: 1)
        await ledger.open()
        assert len(ledger.kind("configuration").live) == 500
        await ledger.close()
