"""Messages of devices beside brokers: the measurement, and its part of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measures import Row
from bench.peers import BROKERS, compare, syncs
from bench.peers.compare import Asked, Effort, Figures

DURABLE, IN_MEMORY = list(BROKERS)[:2]
AIMS = {("publish", DURABLE): {"jetstream": 5, "mosquitto": 0.25}, ("publish", IN_MEMORY): {"mosquitto": 0.4}}
"""How many times as many messages a second as the others."""


def works(effort: Effort) -> dict[str, str]:
    """The titles of the measurements."""
    return {
        "publish": "messages a second, each acknowledged, 50 x 1",
        "one": "milliseconds from publishing until a subscriber has it",
        "all": f"milliseconds from publishing until {effort.watchers:,} subscribers have it",
        "memory": "KiB for an idle subscriber",
    }


def asked(effort: Effort) -> Asked:
    """The same without memory, as the load generator is asked for it."""
    return {
        "publish": ("put", {"seconds": effort.seconds}),
        "one": ("fan", {"connections": 1, "puts": 10 * effort.puts}),
        "all": ("fan", {"connections": effort.watchers, "puts": effort.puts}),
    }


def measure(folder: Path, effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """The figures of each broker that is here, and how many times better Hivewire is."""
    peers = compare.present(BROKERS)
    with compare.all_loaded(folder, peers) as loads:
        figures = compare.rates(loads, asked(effort), effort, say)
        synced = syncs.measure(folder, loads, effort, say)
    figures |= compare.memory(folder, peers, effort, say)
    about = compare.describe(BROKERS, peers)
    return {"peers": about, "figures": figures, "syncs": synced, "rows": rows(figures)}


def rows(figures: Figures) -> list[dict[str, Any]]:
    """How many times better Hivewire is at each work, durable and in memory, than each other."""
    found = []
    for work, by in figures.items():
        for own in (DURABLE, IN_MEMORY):
            for other in [program for program in by if program not in (DURABLE, IN_MEMORY)]:
                name = f"{work}: {BROKERS[own].name} / {BROKERS[other].name}"
                value = compare.better(by, own, other, smaller=work != "publish")
                row = Row(name, value, "x", at_least=AIMS.get((work, own), {}).get(other))
                found.append({**row._asdict(), "met": row.met, "work": work, "own": own, "other": other})
    return found
