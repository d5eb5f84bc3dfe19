"""`python -m bench.peers`: measure, print a table; with `--write` also docs/benchmark-peers.json and what shows it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import measures
from bench.__main__ import data_folder, machine, show
from bench.measures import Row
from bench.peers import PEERS, compare, growth, messaging, report, syncs
from bench.peers.compare import FULL, QUICK, Effort
from bench.peers.peer import Peer


def run(folder: Path, only: str | None, effort: Effort, peers: dict[str, Peer]) -> dict[str, Any]:
    """The document of one run."""

    def say(what: str) -> None:
        print(f"  {what}", file=sys.stderr, flush=True)

    started = time.monotonic()
    rows = measures.disk(folder)
    document: dict[str, Any] = {
        "machine": machine(),
        "effort": effort._asdict(),
        "peers": compare.describe(PEERS, peers),
    }
    if only in (None, "peers"):
        with compare.all_loaded(folder, peers) as loads:
            document["figures"] = compare.rates(loads, compare.asked(effort), effort, say)
            document["others"] = compare.through_others(loads, effort, say)
            document["syncs"] = syncs.measure(folder, loads, effort, say)
        document["figures"] |= compare.memory(folder, peers, effort, say)
        rows += compare.ratios(document["figures"], {program: peer.name for program, peer in peers.items()})
    if only in (None, "brokers"):
        begun = time.monotonic()
        about = {"machine": document["machine"], "effort": document["effort"], "disk": rows[0].value}
        brokers = document["brokers"] = {**about, **messaging.measure(folder, effort, say)}
        brokers["minutes"] = (time.monotonic() - begun) / 60
        rows += [Row(*(each[name] for name in Row._fields)) for each in brokers["rows"]]
    if only in (None, "growth"):
        document["growth"] = growth.measure(folder, effort, say)
        grown = growth.rows(document["growth"])
        document["growth_rows"] = [row.name for row in grown]
        rows += grown
    document["rows"] = _plain(rows)
    document["minutes"] = (time.monotonic() - started) / 60
    show(rows, document["machine"])
    return document


def _plain(rows: list[Row]) -> list[dict[str, Any]]:
    return [{**row._asdict(), "met": row.met} for row in rows]


def show_figures(document: dict[str, Any]) -> None:
    """The figures of each store, as a readable table."""
    table = Table("what", "store", "value", "its core", "client's core", box=None, pad_edge=False)
    effort = Effort(**document["effort"])
    names, brokers = compare.works(effort), document.get("brokers", {"figures": {}, "peers": {}, "syncs": {}})
    for titles, figures in ((names, document.get("figures", {})), (messaging.works(effort), brokers["figures"])):
        for work, by in figures.items():
            for program, figure in by.items():
                busy = [f"{100 * figure[core]:.0f} %" if core in figure else "" for core in ("server", "generator")]
                table.add_row(titles[work], compare.KNOWN[program].name, report.number(figure["value"]), *busy)
    for by in document.get("others", []):
        busy = [f"{100 * by[core]:.0f} %" for core in ("server", "generator")]
        table.add_row(f"{names[by['work']]}, {by['client']}", by["store"], report.number(by["value"]), *busy)
    for synced in filter(None, (document.get("syncs"), brokers["syncs"])):
        for program, count in synced["calls"].items():
            name = compare.KNOWN[program].name
            table.add_row(f"syncs of {synced['puts']:,} puts one after the other", name, f"{count:,}")
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    for about in [*document["peers"].values(), *brokers["peers"].values()]:
        if about["absent"]:
            console.print(f"{about['name']} is left out: {about['absent']}")
    console.print()


def main() -> None:
    """Run everything, or the part that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", choices=["peers", "brokers", "growth"], help="one part")
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help=f"interleaved rounds (default {FULL.rounds})")
    parser.add_argument("--quick", action="store_true", help="one short, small round, to see that it works")
    parser.add_argument("--write", action="store_true", help="keep the figures in docs/, and renew what shows them")
    options = parser.parse_args()
    if options.write and (options.quick or options.only not in (None, "brokers")):
        parser.error("only a whole run is worth writing down, or all brokers")
    peers = compare.present(PEERS)
    lacking = [kind.name for program, kind in PEERS.items() if kind.packaged and program not in peers]
    if options.write and lacking:
        parser.error(
            f"a run without {' and '.join(lacking)} is not worth writing down: `make bench-peers` installs them"
        )
    effort = QUICK if options.quick else FULL._replace(rounds=options.rounds)
    with data_folder() as folder:
        document = run(folder, options.only, effort, peers)
    show_figures(document)
    if options.write:
        if options.only is not None:
            document = json.loads(report.RESULTS.read_text()) | {"brokers": document["brokers"]}
        report.RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        report.write()


if __name__ == "__main__":
    main()
