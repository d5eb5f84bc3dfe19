"""The commands on a shared log, over a real server."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.nodes import PASSWORD
from msgspec.structs import replace

from hivewire.cli.cluster import _rows
from hivewire.ledger.cluster import Server, Status
from hivewire.ledger.digest import Digests
from hivewire.ledger.engines.nats.checkpoint import Checkpoints
from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import NUMBERS, SqliteCache
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import AuditFilter, AuditRow, Transaction, Write
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Silent
from hivewire.settings import Settings
from tests.command import Outcome, Run
from tests.ledger.test_shared_log import put, state
from tests.nats.test_checkpoints import write


class Site:
    """A name on a server, and files of gateways."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def journal(self, name: str) -> NatsJournal:
        path = self.folder / f"{name}.db"
        settings = Settings(data=str(path), store=self.store, store_password=PASSWORD, port=9_000 + len(name))
        return NatsJournal(settings, SqliteCache(path))

    async def serve(self, name: str, work: Callable[[Ledger, NatsJournal], Any], *, older: bool = False) -> Any:
        """Do something with an open ledger, which other gateways and commands can ask for its digest, unless it is of
        an older version."""
        journal = self.journal(name)
        if older:
            journal._status = partial(_older, journal._status)  # type: ignore[method-assign]
        ledger = Ledger(journal, lambda: 1)
        try:
            await ledger.open()
            broadcast = NatsBroadcast(journal._connection)
            if not older:
                Digests(ledger, broadcast, journal._gateway)
            await broadcast.open()
            return await work(ledger, journal)
        finally:
            await ledger.close()


def _older(status: Callable[[], bytes]) -> bytes:
    """What a gateway said of itself before it could tell what it has."""
    told = msgspec.msgpack.decode(status())
    del told["digests"]
    return msgspec.msgpack.encode(told)


@pytest.fixture
def site(clusters: Callable[[int], str], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(clusters(1).format(site=secrets.token_hex(8)), tmp_path)
    monkeypatch.setenv("HIVEWIRE_STORE", site.store)
    monkeypatch.setenv("HIVEWIRE_STORE_PASSWORD", PASSWORD)
    yield site
    asyncio.run(delete(site.journal("last")))


async def delete(journal: NatsJournal) -> None:
    await journal._connection.open(30)
    for stream in (journal._wanted["name"], journal._checkpoints.stream):
        await journal._connection.api(f"STREAM.DELETE.{stream}")
    await journal.close()


async def seen(ledger: Ledger, journal: Any) -> Any:
    changes = [change async for portion in journal.changes() for change in portion]
    return state(ledger), changes, journal.epoch


def test_a_data_file_becomes_a_shared_log(site: Site, run: Run) -> None:
    """Everything in it is there, under another epoch; the file stays as it is. While its gateway runs it is refused,
    and so is a second time. Both streams are named on standard error, beside the result."""
    file = site.folder / "own.db"

    async def fill() -> Any:
        journal = SqliteJournal(file)
        ledger = Ledger(journal, lambda: 1)
        await ledger.open()
        try:
            await write(ledger, 20)
            return await seen(ledger, journal), await asyncio.to_thread(run, "cluster", "init", "--from", str(file))
        finally:
            await ledger.close()

    before, refused = asyncio.run(fill())
    assert refused.code == 1
    assert "used by" in refused.err or "in use" in refused.err
    content = file.read_bytes()
    made = run("cluster", "init", "--from", str(file), "-o", "json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["frames"] >= 1
    assert re.findall(r"stream=(HWB?)_", made.err) == ["HWB", "HW"]
    assert "no entries are behind the checkpoint" in run("cluster", "check").out
    assert file.read_bytes() == content
    found = asyncio.run(site.serve("a", seen))
    assert found[:2] == before[:2]
    assert found[2] != before[2]
    again = run("cluster", "init", "--from", str(file))
    assert again.code == 1
    assert "there is a log at" in again.err


def test_a_backup_of_the_copy_of_a_gateway_becomes_the_log_again(site: Site, run: Run) -> None:
    """Its streams are removed for that. What was written after the backup is gone everywhere, under another epoch."""
    backup = site.folder / "backup.db"

    async def fill(ledger: Ledger, journal: NatsJournal) -> Any:
        await write(ledger, 3)
        await journal._upkeep.make(journal.log)
        await ledger.commit(put("behind the checkpoint"))
        return await seen(ledger, journal)

    before = asyncio.run(site.serve("a", fill))
    made = run("backup", str(backup), "--data", str(site.folder / "a.db"))
    assert made.code == 0, made.err
    asyncio.run(site.serve("a", lambda ledger, _: ledger.commit(put("later"))))
    asyncio.run(delete(site.journal("last")))
    again = run("cluster", "init", "--from", str(backup))
    assert again.code == 0, again.err
    for name in ("a", "b"):
        found = asyncio.run(site.serve(name, seen))
        assert found[:2] == before[:2]
        assert found[2] != before[2]


def test_a_log_goes_on_behind_the_audit_of_its_data_file(site: Site, run: Run) -> None:
    """Rows that are written later have higher numbers, on each gateway the same."""
    file = site.folder / "own.db"

    async def fill() -> None:
        journal = SqliteJournal(file)
        await journal.open()
        await journal.append_audit([AuditRow(1, "activity", "early", number=NUMBERS * n) for n in range(1, 50)])
        await journal.close()

    async def rows(ledger: Ledger, journal: NatsJournal) -> Any:
        await write(ledger, 1, f"of {journal.tip}")
        return await journal.read_audit(AuditFilter(), before=1 << 60, take=1_000)

    asyncio.run(fill())
    made = run("cluster", "init", "--from", str(file))
    assert made.code == 0, made.err
    first = asyncio.run(site.serve("a", rows))
    assert [row.subject for row in first][-1] == "early"
    second = asyncio.run(site.serve("b", rows))
    assert second[-len(first) :] == first
    assert len(second) > len(first)
    assert len({row.number for row in second}) == len(second)
    assert asyncio.run(site.serve("a", rows))[-len(second) :] == second
    checked = run("cluster", "check")
    assert checked.code == 0, checked.err


def test_the_status_shows_servers_gateways_and_the_checkpoint(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a line: how far it is, how far behind, the lost rounds of a gateway, and the age of the checkpoint."""

    async def look(ledger: Ledger, journal: NatsJournal) -> Any:
        await write(ledger, 3)
        await journal._upkeep.make(journal.log)
        await ledger.commit(put("more"))
        journal.log.lost_rounds, journal.log.gaps = 7, 3
        monkeypatch.setattr("hivewire.ledger.cluster.age_of", lambda made: 1_234.5)
        return journal.tip, await asyncio.to_thread(run, "cluster", "status", "-o", "json")

    tip, shown = asyncio.run(site.serve("a", look))
    assert shown.code == 0, shown.err
    rows = {row["what"]: row for row in map(json.loads, shown.out.splitlines())}
    assert list(rows) == ["log", "server", "gateway", "checkpoint"]
    assert (rows["gateway"]["state"], rows["gateway"]["place"], rows["server"]["state"]) == ("current", tip, "leader")
    assert rows["gateway"]["more"].startswith("7 lost rounds, 3 gaps, version ")
    assert (rows["checkpoint"]["place"], rows["checkpoint"]["behind"]) == (tip - 1, 1)
    assert rows["checkpoint"]["more"].startswith("1,234 s old, ")


def test_a_server_that_is_behind_is_shown_with_its_silence() -> None:
    """If the leader has heard from it at all. What it lacks may be more than the log has: entries of the servers."""
    servers = [Server("n1", "leader", 0), Server("n2", "behind", 22, 17.4), Server("n3", "behind", 3)]
    _, *rows = _rows(Status("e", 1, 15, 0, servers, [], None, None))
    assert [(row["name"], row["place"], row["behind"], row["more"]) for row in rows] == [
        ("n1", 15, 0, ""),
        ("n2", 0, 22, "silent for 17 s"),
        ("n3", 12, 3, ""),
    ]


def test_the_status_is_shown_while_no_checkpoint_can_be_read(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the loss of servers somebody looks which ones are left. A check, which needs the checkpoint, fails."""

    async def silent(checkpoints: Checkpoints) -> None:
        raise Silent("no answer from the store within 1 s")

    async def look(ledger: Ledger, journal: NatsJournal) -> Any:
        monkeypatch.setattr(Checkpoints, "newest", silent)
        return [await asyncio.to_thread(run, "cluster", command, "-o", "json") for command in ("status", "check")]

    shown, checked = asyncio.run(site.serve("a", look))
    assert shown.code == 0, shown.err
    *_, server, gateway, checkpoint = map(json.loads, shown.out.splitlines())
    assert (server["state"], gateway["state"], checkpoint["state"]) == ("leader", "current", "unknown")
    assert (checked.code, "no answer from the store" in checked.err) == (1, True)


def test_a_check_reads_the_whole_log(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts the entries, and finds a gateway that has another one, and an entry that does not continue the one
    before."""
    monkeypatch.setattr("hivewire.ledger.cluster.CHECK_SECONDS", 0.2)

    async def look(ledger: Ledger, journal: NatsJournal) -> Any:
        await write(ledger, 3)
        await journal._upkeep.make(journal.log)
        outcomes = [await asyncio.to_thread(run, "cluster", "check", "-o", "json")]
        last, journal.log.last = journal.log.last, b"another"
        outcomes.append(await asyncio.to_thread(run, "cluster", "check"))
        await ledger.commit(put("broken"))  # it names the wrong one before it
        journal.log.last = last
        return [*outcomes, await asyncio.to_thread(run, "cluster", "check")]

    good, other, broken = asyncio.run(site.serve("a", look))
    assert good.code == 0, good.err
    assert json.loads(good.out)["gateways"] == 1
    assert json.loads(good.out)["entries"] == json.loads(good.out)["tip"]
    assert (other.code, broken.code) == (1, 1)
    assert "has another entry at" in other.err
    assert "does not continue" in broken.err


def test_a_check_compares_what_gateways_have_in_memory(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that began with a checkpoint and one that was there before have the same; a record that differs is found, as
    is a gateway that does not tell what it has."""

    async def check(ledger: Ledger, journal: NatsJournal) -> Outcome:
        await ledger.commit(put("a"))
        await ledger.commit(Transaction([Write("configuration", "b", None)]))
        return await asyncio.to_thread(run, "cluster", "check")

    async def look(ledger: Ledger, journal: NatsJournal) -> list[Outcome]:
        for key in "abcabc":
            await ledger.commit(put(key))
        await journal._upkeep.make(journal.log)
        await ledger.commit(put("c"))
        outcomes = [await site.serve("other", check)]
        live = ledger.kind("configuration").live
        live["c"] = replace(live["c"], content=b"something else")
        outcomes.append(await asyncio.to_thread(run, "cluster", "check"))
        monkeypatch.setattr("hivewire.ledger.cluster.CHECK_SECONDS", 0)
        outcomes.append(await asyncio.to_thread(run, "cluster", "check"))
        return outcomes

    same, other, silent = asyncio.run(site.serve("a", look))
    assert same.code == 0, same.err
    assert "2 gateways have the records that follow" in same.out
    assert (other.code, silent.code) == (1, 1)
    assert "has other records at 9 than the log: 2, and the log has 2" in other.err
    assert "did not tell what they have" in silent.err


def test_a_check_goes_on_without_gateways_that_cannot_tell_what_they_have(site: Site, run: Run) -> None:
    """They are of an older version, during an upgrade: they are named, and the others are compared."""

    async def check(ledger: Ledger, journal: NatsJournal) -> list[Outcome]:
        return [await asyncio.to_thread(run, "cluster", "check", "-o", form) for form in ("table", "json")]

    async def look(ledger: Ledger, journal: NatsJournal) -> Any:
        await ledger.commit(put("a"))
        return await site.serve("old", check, older=True)

    words, row = asyncio.run(site.serve("a", look))
    assert (words.code, row.code) == (0, 0), words.err
    (unknown,) = json.loads(row.out)["unknown"]
    assert json.loads(row.out)["gateways"] == 1
    assert unknown.endswith(":9003")
    assert f"; unknown of older versions, which cannot tell: {unknown}" in words.out


def test_a_log_gets_a_new_epoch(site: Site, run: Run) -> None:
    """Nothing else changes; gateways drop their copies. While a gateway runs it is refused."""

    async def fill(ledger: Ledger, journal: NatsJournal) -> Any:
        await write(ledger, 5)
        await journal._upkeep.make(journal.log)
        await ledger.commit(put("more"))
        return await seen(ledger, journal), await asyncio.to_thread(run, "cluster", "renew")

    before, refused = asyncio.run(site.serve("a", fill))
    assert refused.code == 1
    assert "gateways are running" in refused.err
    renewed = run("cluster", "renew", "-o", "value")
    assert renewed.code == 0, renewed.err
    for name in ("a", "b"):
        found = asyncio.run(site.serve(name, seen))
        assert found[:2] == before[:2]
        assert found[2] == renewed.out.strip() != before[2]


def test_without_a_store_the_commands_say_what_to_give(run: Run) -> None:
    """And a wrong address is explained."""
    for command in ("status", "check", "renew"):
        outcome = run("cluster", command)
        assert outcome.code == 1
        assert "give --store, or set HIVEWIRE_STORE" in outcome.err
    assert "write /SITE" in run("cluster", "status", "--store", "nats://h1").err


def test_servers_that_cannot_be_reached_are_one_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they are tried, nothing else is printed."""
    monkeypatch.setattr("hivewire.ledger.cluster.START_SECONDS", 0.5)
    outcome = run("cluster", "status", "--store", "nats://127.0.0.1:1/site")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert outcome.err.startswith("hivewire: error: cannot connect to nats://127.0.0.1:1/site: ")
