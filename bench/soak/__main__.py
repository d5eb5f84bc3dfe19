"""`python -m bench.soak`: kill a gateway repeatedly under full load, let its disk hang now and then, and check that
every guarantee holds."""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvloop
from tests.faults.disk import Desk, Fault, reachable

import bench
from bench import servers
from bench.gateways import Gateway
from bench.soak import checks
from bench.soak.load import FLAGS, Soak, Target

STALLING = ("--stall-seconds", "0.3")
"""Writes are refused when the disk hangs for longer."""

FORGETTING = ("--history", "--log")
"""Prefixes of flags with which the ledger does not keep everything."""


class OneGateway(Soak):
    """A gateway with a file, and the orders for its disk."""

    def __init__(self, process: Gateway, desk: Desk, seconds: float, seed: int) -> None:
        super().__init__([Target(process)], seconds, seed)
        self.restarts: Counter[str] = Counter()
        self.hangs = 0
        self._desk = desk
        self._most = min(12, seconds / 3)

    @property
    def running(self) -> bool:
        """Until its time is over and the gateway was restarted at least once."""
        return time.monotonic() < self.ends or not self.restarts

    def progress(self) -> str:
        """How often it was started again."""
        return f"{self.restarts.total()} restarts"

    async def trouble(self) -> None:
        """Stop the gateway at random moments, mostly with SIGKILL, and start it again."""
        (target,) = self.targets
        while True:
            # Mostly in quick succession; sometimes it runs long enough to sweep its log.
            pause = self.random.choice((0.1, 0.2, 1)) * self.random.uniform(self._most / 2, self._most)
            if self.restarts and time.monotonic() + pause > self.ends - 0.5:
                return
            await asyncio.sleep(pause)
            hangs = (not self.hangs or self.random.random() < 0.5) and await self.hang()
            number = signal.SIGTERM if not hangs and self.random.random() < 0.2 else signal.SIGKILL
            await target.end(number)
            self.history.crashed()
            self._desk.give()
            await target.start()
            self.restarts[number.name] += 1

    async def hang(self) -> bool:
        """Let the disk hang in a commit. Returns whether it still does; otherwise it has gone on for a moment."""
        self._desk.give(Fault("hang", call=self.random.choice(("write", "sync")), during="append"))
        await asyncio.sleep(self.random.uniform(0.1, 1))
        self.hangs += bool(self._desk.met())
        if self.random.random() < 0.5:
            return True
        self._desk.give()
        await asyncio.sleep(self.random.uniform(0.1, 0.5))
        return False


def gateway(folder: Path, flags: Sequence[str]) -> tuple[Gateway, Desk]:
    """The process under load, and where its disk gets its orders."""
    orders = folder / "orders"
    process = Gateway(
        "gateway",
        folder,
        store=None,
        password=servers.PASSWORD,
        flags=(*FLAGS, *STALLING, *flags),
        program="tests.faults.gateway" if reachable() else "hivewire",  # without our disk nothing hangs
        environment={"HIVEWIRE_ANONYMOUS_RATE": "0", "FAULTS": str(orders), "FAULTS_OF": "disk"},
    )
    return process, Desk(orders)


async def soak(folder: Path, seconds: float, seed: int, flags: Sequence[str]) -> bool:
    """Run all of it; whether every guarantee held."""
    process, desk = gateway(folder, flags)
    try:
        work = OneGateway(process, desk, seconds, seed)
        await work.targets[0].start()
        await work.run()
        await checks.check(work, forgets=any(flag.startswith(FORGETTING) for flag in flags))
    finally:
        process.kill()
    figures = {
        "restarts survived": work.restarts.total(),
        "of these after kill -9": work.restarts["SIGKILL"],
        "times that the disk hung": work.hangs,
    }
    return checks.report(work, figures)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts (default 60)")
    parser.add_argument("--gateway", default="", help='more flags for the gateway, such as "--bookmark-seconds 1"')
    parser.add_argument("--seed", type=int, default=None, help="seed of the random choices; timing stays random")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.getrandbits(32)
    gc.disable()  # the records only grow, and collecting them again and again would be most of the work
    # Not in /tmp, which may be in memory.
    folder = Path(tempfile.mkdtemp(dir=Path(bench.__file__).parent, prefix=".data-"))
    with suppress(KeyboardInterrupt):
        try:
            sys.exit(not uvloop.run(soak(folder, options.seconds, seed, shlex.split(options.gateway))))
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
