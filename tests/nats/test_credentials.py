"""Servers that demand TLS with certificates on both sides, and who is let in: passwords, keys and credentials, with no
more rights than the page for operators names."""

from __future__ import annotations

import json
import os
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nkeys
import pytest
from bench.nodes import Node

from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import SqliteCache
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Transaction, Write
from hivewire.nats import stream as streams
from hivewire.nats.connection import Connection, Unusable, address_of
from hivewire.settings import Settings
from tests.running import RunningGateway, make_certificate

ROOT = Path(__file__).parents[2]
SITE = "fleet"

CONFIG = """\
server_name: n1
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}", sync_interval: always, max_file_store: 1000GiB }}
tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem", ca_file: "{folder}/cert.pem", verify: true }}
"""
ACCOUNTS = """\
accounts {{
  HIVE {{ jetstream: enabled, users: [
    {{ user: hive, password: hive, permissions: {rights} }}
    {{ nkey: {key} }}
  ] }}
  SYS {{ users: [ {{ user: sys, password: sys, permissions: {monitor_rights} }} ] }}
}}
system_account: SYS
"""


def documented() -> dict[str, list[str]]:
    """The rights of the user that docs/cluster.md names, for this site."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    block = page.partition("## Rights of the user")[2].partition("```text")[2].partition("```")[0]
    rights: dict[str, list[str]] = {}
    for name, text in re.findall(r"(publish|subscribe):(.+?)(?=subscribe:|\Z)", block, re.S):
        subjects = re.findall(r"(?:\$JS|hw|_INBOX)\.[\w.>]*[\w>]", text)
        of_each = [subject.removesuffix("X") for subject in subjects if subject.endswith(".X")]
        rights[name] = [subject.replace(".site.", f".{SITE}.") for subject in subjects if not subject.endswith(".X")]
        rights[name] += [f"{each}{kind}_{SITE}" for each in of_each for kind in ("HW", "HWB", "HWC", "HWN")]
    assert (len(rights["publish"]), len(rights["subscribe"])) == (27, 4)
    return rights


def monitor_rights() -> str:
    """Those of the user of the system account, as that page has them."""
    found = re.search(r"`permissions: (\{.*?\})`", (ROOT / "docs" / "cluster.md").read_text())
    assert found is not None
    return found[1]


class Key:
    """A key of a kind: `O` of an operator, `A` of an account, `U` of a user."""

    def __init__(self, kind: str) -> None:
        prefix = {"O": nkeys.PREFIX_BYTE_OPERATOR, "A": nkeys.PREFIX_BYTE_ACCOUNT, "U": nkeys.PREFIX_BYTE_USER}[kind]
        self.seed: str = nkeys.encode_seed(os.urandom(32), prefix).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public: str = self._pair.public_key.decode()

    def sign(self, subject: str, kind: str, **claims: Any) -> str:
        """A token with claims of this kind about a subject."""
        body = {
            "jti": "x",
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject,
            "nats": claims | {"type": kind, "version": 2},
        }
        parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)]
        return ".".join([*parts, _base64(self._pair.sign(".".join(parts).encode()))])


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Secured:
    """A server with TLS and the files of its clients."""

    def __init__(self, folder: Path, more: str) -> None:
        folder.mkdir()
        make_certificate(folder)
        self.node = Node("n1", folder)
        where = {"port": self.node.port, "monitor": self.node.monitor, "store": self.node.store}
        (folder / "n1.conf").write_text(CONFIG.format(folder=folder, **where) + more)
        self.files = {
            "store_ca": str(folder / "cert.pem"),
            "store_cert": str(folder / "cert.pem"),
            "store_key": str(folder / "key.pem"),
        }

    def store(self, user: str = "") -> str:
        return f"tls://{user}127.0.0.1:{self.node.port}/{SITE}?replicas=1"

    async def stream(self, seconds: float = 30, **settings: Any) -> str:
        """The name of a stream that whoever connects with these settings can make, or use. Raises Unusable."""
        given = Settings(**self.files | {"store": self.store()} | settings)
        connection = Connection(address_of(given.store or ""), given, "test")
        try:
            await connection.open(seconds)
            wanted = streams.log_configuration(f"HW_{SITE}", f"hw.{SITE}.log", f"hw.{SITE}.feed", 1, 64 << 20)
            return (await streams.ensure(connection, wanted, 30, new=wanted)).name
        finally:
            await connection.close()

    def require_no_violation(self) -> None:
        """Fail when the server has refused somebody a subject."""
        lines = self.node.log.read_text().splitlines()
        assert [line for line in lines if "Publish Violation" in line or "Subscription Violation" in line] == []

    def __enter__(self) -> Secured:
        self.node.start()
        self.node.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.node.stop()


@pytest.fixture(scope="module")
def user() -> Key:
    return Key("U")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, user: Key) -> Iterator[Secured]:
    """One whose accounts are in its configuration."""
    rights = json.dumps(documented())
    more = ACCOUNTS.format(rights=rights, key=user.public, monitor_rights=monitor_rights())
    with Secured(tmp_path_factory.mktemp("nats") / "accounts", more) as found:
        yield found


def test_a_gateway_needs_no_more_than_the_documented_rights(secured: Secured, tmp_path: Path) -> None:
    """Over TLS with a certificate of its own; the system account says that the server syncs each write."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in secured.files.items()]
    flags += [f"--store={secured.store('hive@')}", f"--store-monitor=tls://sys@127.0.0.1:{secured.node.port}"]
    environment = {"HIVEWIRE_STORE_PASSWORD": "hive", "HIVEWIRE_STORE_MONITOR_PASSWORD": "sys"}
    with RunningGateway(tmp_path / "a.db", *flags, env=environment) as gateway:
        token = gateway.token()
        with gateway.socket(token) as talk, gateway.http(token) as client:
            assert talk("configuration/put", name="a", value="1")["status"] == "success"
            assert client.put("/device/lamp", json={"name": "Lamp"}).is_success
            assert client.post("/device/lamp/command", json={"command": "on"}).is_success
            assert talk("configuration/get", name="a", fresh=True)["configuration"]["value"] == "1"
        assert gateway.stop() == 0
        assert [line for line in gateway.log if line["level"] in ("warning", "error")] == []
    secured.require_no_violation()


async def test_a_checkpoint_needs_no_more_than_these_rights(secured: Secured, tmp_path: Path) -> None:
    """Nor does removing what is before it."""
    given: dict[str, Any] = {"store": secured.store("hive@"), "store_password": "hive"}
    journal = NatsJournal(Settings(**secured.files | given), SqliteCache(tmp_path / "a.db"))
    ledger = Ledger(journal, lambda: 1)
    await ledger.open()
    try:
        for number in range(3):
            await ledger.commit(Transaction([Write("configuration", f"checkpoint.{number}", b"")]))
            await journal._upkeep.make(journal.log)
        info = await streams.inspect(journal._connection, f"HW_{SITE}", 30)
        assert info is not None
        assert info.first > 1
    finally:
        await ledger.close()
    secured.require_no_violation()


async def test_a_seed_of_a_user_is_enough(secured: Secured, user: Key, tmp_path: Path) -> None:
    """A file with the seed alone, which the server knows by its public key; another one is refused."""
    (tmp_path / "user.nk").write_text(user.seed + "\n")
    (tmp_path / "other.nk").write_text(Key("U").seed)
    assert await secured.stream(store_credentials=str(tmp_path / "user.nk")) == f"HW_{SITE}"
    with pytest.raises(Unusable, match="Authorization Violation"):
        await secured.stream(store_credentials=str(tmp_path / "other.nk"))
    (tmp_path / "no.nk").write_text("nothing")
    with pytest.raises(Unusable, match="cannot connect"):
        await secured.stream(store_credentials=str(tmp_path / "no.nk"))
    with pytest.raises(Unusable, match=r"missing\.nk"):
        await secured.stream(store_credentials=str(tmp_path / "missing.nk"))


async def test_both_sides_show_a_certificate(secured: Secured, tmp_path: Path) -> None:
    """A client without one is not let in, and no server is believed whose authority is not known."""
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    for changed in ({"store_cert": None, "store_key": None}, {"store_ca": str(other)}):
        with pytest.raises(Unusable, match="cannot connect"):
            await secured.stream(0.5, **{"store": secured.store("hive@"), "store_password": "hive"} | changed)


async def test_credentials_of_an_operator_are_a_token_and_its_key(tmp_path: Path) -> None:
    """The file that `nsc` writes; without it nobody is let in."""
    operator, system, account, user = Key("O"), Key("A"), Key("A"), Key("U")
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    accounts = {
        system.public: operator.sign(system.public, "account", limits=limits),
        account.public: operator.sign(account.public, "account", limits=limits | storage),
    }
    more = (
        f"operator: {operator.sign(operator.public, 'operator')}\nsystem_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {json.dumps(accounts)}\n"
    )
    token = account.sign(user.public, "user", subs=-1, data=-1, payload=-1)
    (tmp_path / "user.creds").write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with Secured(tmp_path / "operator", more) as secured:
        assert await secured.stream(store_credentials=str(tmp_path / "user.creds")) == f"HW_{SITE}"
        with pytest.raises(Unusable, match="Authorization Violation"):
            await secured.stream()
