"""`python -m bench`: measure, print a table, write bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import client, layers, measures, messages, schemas
from bench.measures import Row

HERE = Path(__file__).parent


class Run(NamedTuple):
    """What every part is given: where data goes, how often and how long to measure, and whom to tell of it."""

    folder: Path
    rounds: int
    seconds: float
    say: Callable[[str], None]


PARTS: dict[str, Callable[[Run], list[Row]]] = {
    "rates": lambda run: measures.rates(run.folder, run.rounds * run.seconds, run.say),
    "http": lambda run: measures.http_requests(run.folder, run.rounds * run.seconds, run.say),
    "schemas": lambda run: schemas.rates(run.folder, run.rounds * run.seconds / 2, run.say),
    "documents": lambda run: measures.documents(*run),
    "live": lambda run: [
        *measures.live(run.folder, run.rounds, run.say),
        *measures.subscription_memory(run.folder, run.say),
    ],
    "returning": lambda run: measures.returning(run.folder, run.say),
    "idle": lambda run: measures.idle_memory(run.folder, run.say),
    "growth": lambda run: measures.growth(run.folder, run.say),
    "client": lambda run: client.rows(run.folder, run.rounds * run.seconds),
    "messages": lambda run: messages.rates(run.folder, run.rounds * run.seconds / 2, run.say),  # of many loads
    "delivery": lambda run: messages.delivery(run.folder, run.rounds, run.say),
    "online": lambda run: messages.memory(run.folder, run.say),
    "devices": lambda run: messages.registered(run.folder, run.say),
    "fleet": lambda run: layers.fleets(run.folder, run.rounds, run.say),
}
QUICK = ("rates", "http", "messages")
"""Those that `--quick` runs."""


def machine() -> dict[str, str]:
    """The machine and the versions of a run."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    packages = ("websockets", "uvloop", "uvicorn", "msgspec", "aiosqlite")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": f"{os.cpu_count()} cores, {model}",
        "system": f"{platform.system()} {platform.release()}",
        "files": filesystem(HERE),
        "python": f"{platform.python_version()}, {built()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def built() -> str:
    """How the interpreter was compiled, which can matter more than its version."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    found = [name for name, flag in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if flag in flags]
    return f"built with {' and '.join(found)}" if found else "built without PGO and LTO"


def filesystem(folder: Path) -> str:
    """The kind of file system that a folder is on: the price of a durable write depends on it."""
    number = folder.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == device:
            return kind.split()[0]
    return "unknown"


def _stop(number: int, frame: object) -> None:
    """A signal ends the run as an error would."""
    signal.signal(number, signal.SIG_IGN)  # once: the servers are being stopped
    sys.exit(128 + number)


@contextmanager
def data_folder() -> Iterator[Path]:
    """The folder of a run, which may open all files that the machine allows, and whose servers a signal stops.

    It is beside the program, not in /tmp: that may be in memory, and durability must cost what it costs.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    folder = Path(tempfile.mkdtemp(dir=HERE, prefix=".data-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def show(rows: list[Row], where: dict[str, str]) -> None:
    """The table for people."""
    table = Table("what", "value", "unit", "bound", "met", box=None, pad_edge=False)
    for row in rows:
        bound = ""
        if row.at_least is not None:
            bound = f"at least {row.at_least:g}"
        elif row.at_most is not None:
            bound = f"at most {row.at_most:g}"
        digits = 0 if row.value >= 1_000 else 2
        met = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(row.name, f"{row.value:,.{digits}f}", row.unit, bound, met)
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    console.print("\n" + "\n".join(f"{name}: {value}" for name, value in where.items()), highlight=False)


def main() -> None:
    """Run everything, or the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default 5)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2,
        help="length of one; rates take turns of 0.25 s for as long in all (default 2)",
    )
    parser.add_argument("--only", choices=PARTS, help="one part; results.json is then left alone")
    parser.add_argument("--quick", action="store_true", help="one short round of the rates, to see that it works")
    options = parser.parse_args()
    rounds, seconds = (1, 0.5) if options.quick else (options.rounds, options.seconds)

    def say(what: str) -> None:
        print(f"  {what}", file=sys.stderr, flush=True)

    with data_folder() as folder:
        rows = measures.disk(folder)
        run = Run(folder, rounds, seconds, say)
        for part, measure in PARTS.items():
            if options.only == part or (options.only is None and (part in QUICK or not options.quick)):
                rows += measure(run)
    where = machine()
    rows = [measures.bounded(row) for row in rows]
    show(rows, where)
    if options.only is None and not options.quick:
        document = {"machine": where, "rows": [{**row._asdict(), "met": row.met} for row in rows]}
        (HERE / "results.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
