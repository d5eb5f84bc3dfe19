"""Several gateways on one log whose nodes, files and entries are not as they should be.

`make soak-cluster` has the faults that come and go under load; these ones want somebody to look.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from bench.nodes import PASSWORD, Nodes, Where, find

from tests.running import NotStarted, RunningGateway

pytestmark = pytest.mark.skipif(find() is None, reason="no `nats-server` here: it is a package of PyPI")


class Site:
    """A log of its own on the nodes, and the gateways on it."""

    def __init__(self, nodes: Nodes, folder: Path) -> None:
        self.nodes = nodes
        self.name = f"s{secrets.token_hex(4)}"
        self._folder = folder

    def gateway(self, name: str, *flags: str) -> RunningGateway:
        """A gateway with a file of this name."""
        environment = {"HIVEWIRE_STORE_PASSWORD": PASSWORD}
        return RunningGateway(
            self._folder / f"{name}.db", "--store", self.nodes.store(self.name), *flags, env=environment
        )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("nodes")) as found:
        yield found


@pytest.fixture
def site(nodes: Nodes, tmp_path: Path) -> Site:
    return Site(nodes, tmp_path)


def put(gateway: RunningGateway, name: str, value: str) -> int:
    """Write, and return the revision."""
    with gateway.http(gateway.token()) as client:
        answer = client.put(f"/configuration/{name}", json={"value": value})
        assert answer.status_code in (200, 201), answer.text
        return int(answer.headers["Hivewire-Revision"])


def get(gateway: RunningGateway, name: str, at_least: int = 0) -> str:
    """The value of a name, once the gateway has a revision."""
    with gateway.http(gateway.token()) as client:
        answer = client.get(f"/configuration/{name}", params={"atLeast": at_least})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["value"])


@pytest.mark.parametrize("copy", ["old", "of another log"])
def test_a_gateway_whose_copy_is_not_the_newest_catches_up(copy: str, site: Site, tmp_path: Path) -> None:
    """It serves what was answered elsewhere meanwhile, and what was written before."""
    kept, file = tmp_path / "kept.db", tmp_path / "two.db"
    with site.gateway("one") as one:
        with site.gateway("two") as two:
            put(two, "before", "1")
            two.stop()
        shutil.copy(file, kept)
        revision = put(one, "meanwhile", "2")
        with site.gateway("two") as two:
            put(two, "later", "3")
            two.stop()
        if copy == "old":
            shutil.copy(kept, file)
        else:
            with Site(site.nodes, tmp_path).gateway("other") as other:
                put(other, "before", "of the other log")
                other.stop()
            shutil.copy(tmp_path / "other.db", file)
        with site.gateway("two") as two:
            assert [get(two, name, revision) for name in ("before", "meanwhile", "later")] == ["1", "2", "3"]
            assert get(one, "after", put(two, "after", "4")) == "4"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of this size at a folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_of_one_node_fills(tmp_path: Path) -> None:
    """Writes go on with the other two; with space again it has everything, so that another node may be lost."""
    full = Nodes(tmp_path / "nats")
    node = full[2]
    with small_disk(node.store, 128), full:
        site = Site(full, tmp_path)
        with site.gateway("one", f"--store-bytes={64 << 20}", "--messages=memory") as one:
            put(one, "before", "1")
            filler = node.store / "filler"
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(node.store).free)
            for number in range(20):
                put(one, f"meanwhile.{number}", "v" * 50_000)
            filler.unlink()
            node.kill()
            node.start()
            node.wait_until_ready()
            full[0].kill()
            assert put(one, "after", "2") > 20
            assert get(one, "meanwhile.19") == "v" * 50_000
            full[0].start()


@pytest.mark.long
def test_a_node_that_is_lost_with_its_disk_is_replaced(tmp_path: Path) -> None:
    """As docs/operations.md says. The new one counts: another node may be lost, and everything answered is there."""
    nodes = Nodes(tmp_path / "nats")
    with nodes:
        site = Site(nodes, tmp_path)
        with site.gateway("one") as one:
            put(one, "before", "1")
            nodes[2].kill()
            put(one, "meanwhile", "2")
            nodes.replace(2, "n4")
            nodes[0].kill()
            put(one, "after", "3")
            with site.gateway("new") as new:
                assert [get(new, name) for name in ("before", "meanwhile", "after")] == ["1", "2", "3"]


@pytest.mark.long
def test_a_log_that_was_restored_from_older_files_is_refused(tmp_path: Path) -> None:
    """A gateway that has entries which the log has lost says so and ends, and so does its next start. Its file has
    them still."""
    nodes = Nodes(tmp_path / "nats")
    with nodes:
        site = Site(nodes, tmp_path)
        with site.gateway("one") as one:
            put(one, "kept", "1")
            for node in nodes:
                node.stop()
                shutil.copytree(node.store, node.store.with_suffix(".old"))
            nodes.start()
            put(one, "lost", "2")
            for node in nodes:
                node.stop()
                shutil.rmtree(node.store)
                node.store.with_suffix(".old").rename(node.store)
            nodes.start()
            assert one.ended() not in (0, None)
            assert "acknowledged" in str(one.log) + str(one.noise)
        with pytest.raises(NotStarted, match="acknowledged"):
            site.gateway("one")
        with closing(sqlite3.connect(one.data)) as file:
            assert file.execute("SELECT count(*) FROM change WHERE key = 'lost'").fetchone() == (1,)


NETWORK = "10.213.7"
"""Addresses of the namespaces; nobody else's packets go there."""


@contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """So many network namespaces on one bridge, with the addresses 1, 2, 3 in NETWORK; this one has 254."""
    ours = f"hw{os.getpid() % 100_000}"
    names = [f"{ours}n{number}" for number in range(1, count + 1)]

    def run(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            run("link", "add", ours, "type", "bridge")
            run("addr", "add", f"{NETWORK}.254/24", "dev", ours)
            run("link", "set", ours, "up")
            for number, name in enumerate(names, 1):
                run("netns", "add", name)
                run("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
                run("link", "set", name, "master", ours, "up")
                run("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
                run("-n", name, "link", "set", "eth0", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces can be made here: {error}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", ours], check=False, capture_output=True)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("ip") is None, reason="no `ip` here")
def test_the_network_loses_all_packets_of_the_node_that_leads(tmp_path: Path) -> None:
    """The others go on with what was answered, also at the gateway that was connected to it; when it is back, it has
    everything."""
    with namespaces(3) as names:
        places = [Where(f"{NETWORK}.{number}", ["ip", "netns", "exec", name]) for number, name in enumerate(names, 1)]
        with Nodes(tmp_path / "nats", places=places) as nodes:
            site = Site(nodes, tmp_path)
            with site.gateway("one") as one, site.gateway("two") as two, site.gateway("three") as three:
                gateways = [one, two, three]
                put(one, "before", "0")
                leader = nodes.next_leader(f"HW_{site.name}")
                link = names[[*nodes].index(leader)]
                subprocess.run(["ip", "link", "set", link, "down"], check=True)
                assert [get(gateway, "before") for gateway in gateways] == ["0"] * 3
                revision = max(put(gateway, f"meanwhile.{number}", "1") for number, gateway in enumerate(gateways))
                for gateway in gateways:
                    assert [get(gateway, f"meanwhile.{number}", revision) for number in range(3)] == ["1"] * 3
                subprocess.run(["ip", "link", "set", link, "up"], check=True)
                leader.wait_until_ready()
                next(node for node in nodes if node is not leader).kill()
                revision = put(one, "after", "2")
                assert [get(gateway, "after", revision) for gateway in gateways] == ["2"] * 3
