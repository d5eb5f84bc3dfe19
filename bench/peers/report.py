"""What a run comes to: docs/benchmarks.md and its plot, made from docs/benchmark-peers.json.

`python -m bench.peers.report` makes them again without measuring; a test fails when that is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.peers import messaging
from bench.peers.compare import AIMS, FEW, HIVEWIRE, SMALLER_IS_BETTER, Effort, Figures, works
from bench.peers.growth import ratios

DOCS = Path(__file__).parent.parent.parent / "docs"
RESULTS, PAGE, PLOT = DOCS / "benchmark-peers.json", DOCS / "benchmarks.md", DOCS / "benchmark-peers.svg"

FULL_CORE = 0.9
"""A core that is busy for such a part of the time is called full."""
UNEXPLAINED = "Not explained."
BAR, GAP, LEFT, RIGHT, WIDTH = 18, 6, 140, 80, 720


def number(value: float) -> str:
    """A figure for people."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def aim(row: dict[str, Any]) -> str:
    """The bound of a row, in words."""
    if row["at_least"] is not None:
        return f"at least {row['at_least']:g}"
    return f"at most {row['at_most']:g}" if row["at_most"] is not None else ""


def times(row: dict[str, Any]) -> str:
    """The value of a row, never rounded towards its bound: 4.997 is not shown as 5."""
    if row["at_least"] is not None:
        return f"{math.floor(100 * row['value']) / 100:.2f}"
    return f"{math.ceil(100 * row['value']) / 100:.2f}" if row["at_most"] is not None else f"{row['value']:.2f}"


def span(values: list[float]) -> str:
    """The lowest and the highest."""
    return f"{number(min(values))} … {number(max(values))}"


def part(share: float) -> str:
    """How busy a core was."""
    return f"{100 * share:.0f} %"


def stores(run: dict[str, Any]) -> list[str]:
    """The stores, their versions, and how each is used."""
    lines = ["| store | version | from | its client | a put is answered | a watcher is |", "| --- " * 6 + "|"]
    for about in run["peers"].values():
        version = about["version"] or f"left out: {about['absent']}"
        watched = about["watched"] or "left out: its notifications are neither kept nor resumed"
        lines.append(
            f"| {about['name']} | {version} | {about['source']} | {about['client']} | {about['durable']} | {watched} |"
        )
    return lines


def figures(run: dict[str, Any]) -> list[str]:
    """Every work: each store's median, how many times better Hivewire is, and the aim."""
    titles = works(Effort(**run["effort"]))
    rows = {row["name"]: row for row in run["rows"]}
    lines = [
        "| work | store | median | lowest … highest | Hivewire is better by | aim | met |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for work, by in run["figures"].items():
        for program, figure in by.items():
            name = run["peers"][program]["name"]
            row = rows.get(f"{work}: Hivewire / {name}") or rows.get(f"{work}: {name} / Hivewire")
            verdict = f"{times(row)} x | {row['at_least']:g} x | {'yes' if row['met'] else '**no**'}" if row else "| |"
            median, around = number(figure["value"]), span(figure["values"])
            lines.append(f"| {titles[work]} | {name} | {median} | {around} | {verdict} |")
    absent = [about for about in run["peers"].values() if about["absent"]]
    return lines + ["", *(f"**{about['name']} is left out: {about['absent']}.**" for about in absent)] * bool(absent)


def limits(run: dict[str, Any]) -> list[str]:
    """How busy both cores were, and what the client could have done at most."""
    titles = works(Effort(**run["effort"]))
    lines = [
        "| work | store | server's core | client's core | what the client could do at most |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for work in ("put", "get", "fan"):
        for program, figure in run["figures"][work].items():
            name, busy = run["peers"][program]["name"], max(figure["generator"], 0.001)
            most = "" if work == "fan" else f"{number(figure['value'] / min(busy, 1))} /s"
            lines.append(f"| {titles[work]} | {name} | {part(figure['server'])} | {part(busy)} | {most} |")
    return lines


def others(run: dict[str, Any]) -> list[str]:
    """The same through clients that others made."""
    if not run["others"]:
        return ["Neither `nats-py` nor `redis-benchmark` was there in this run."]
    titles = works(Effort(**run["effort"]))
    lines = [
        "| work | store | through | rate | server's core | client's core | this program's client, just before |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for by in run["others"]:
        cores = f"{part(by['server'])} | {part(by['generator'])}"
        rate, raw = number(by["value"]), number(by["raw"])
        lines.append(f"| {titles[by['work']]} | {by['store']} | `{by['client']}` | {rate} | {cores} | {raw} |")
    return lines


def synced(run: dict[str, Any]) -> list[str]:
    """The syncs of each store."""
    if not run["syncs"]:
        return [
            "Syncs were not counted in this run: that takes `strace` on the PATH, and leave to trace other processes."
        ]
    puts = run["syncs"]["puts"]
    lines = [f"| store | calls that sync a file, in {puts:,} puts one after the other |", "| --- | ---: |"]
    return lines + [f"| {run['peers'][program]['name']} | {n:,} |" for program, n in run["syncs"]["calls"].items()]


def missed(run: dict[str, Any]) -> list[str]:
    """Every aim that was missed, with its cause as far as this run shows one."""
    found = [row for row in run["rows"] if row["met"] is False]
    lines = [f"- **{row['name']}**: {times(row)}, {aim(row)}. {cause(run, row)}" for row in found]
    return lines or ["None."]


def cause(run: dict[str, Any], row: dict[str, Any]) -> str:
    """Why an aim was missed."""
    name = row["name"]
    if name in run["growth_rows"]:
        return _of_growth(run, name)
    work = name.partition(":")[0]
    own = run["figures"][work][HIVEWIRE]
    if work not in ("put", "get"):
        return f"{UNEXPLAINED} Hivewire's rounds: {span(own['values'])}."
    if own["server"] < FULL_CORE:
        return (
            f"Hivewire's core was not full in this run ({part(own['server'])}, the client's {part(own['generator'])}; "
            f"rounds: {span(own['values'])} /s): {_waited(work)}. So this run does not tell how near the aim it comes."
        )
    cause = CAUSES.get(name)
    return cause(run["figures"]) if cause is not None else f"{UNEXPLAINED} Hivewire's core was full."


def _of_growth(run: dict[str, Any], name: str) -> str:
    work, found, sizes = name.partition(", from ")
    if not found:
        return UNEXPLAINED
    points = run["growth"][sizes.rpartition(" ")[2]]
    small, large = (points[at]["server"][work] for at in (0, -1))
    text = (
        f"Its rounds: {span(ratios(points, work))} x; the server's core was busy for {part(small)} of the time with "
        f"the fewest and {part(large)} with the most."
    )
    if max(small, large) < FULL_CORE:
        return f"{text} It was not full: {_waited(work)}."
    return f"{UNEXPLAINED} {text}"


def _waited(work: str) -> str:
    """The reason why a core is not full; a get does not wait for the disk."""
    return (
        "the disk was waited for, or the machine was busy otherwise"
        if work == "put"
        else "the client, or what else runs on the machine, was waited for"
    )


# Causes of some misses, each said only of a run in which Hivewire's core was full.


def _put_etcd(figures: Figures) -> str:
    put, get = (1e6 * figures[work][HIVEWIRE]["server"] / figures[work][HIVEWIRE]["value"] for work in ("put", "get"))
    due = 1e6 / (AIMS["put"]["etcd"] * figures["put"]["etcd"]["value"])
    return (
        f"Hivewire's core is full: it spends {put:.0f} µs on a put. {get:.0f} µs of these are the cost of a get "
        "(reading and writing a socket, reading a frame, rights); the rest is Python and SQLite that evaluate, store, "
        f"apply, announce and answer, and the fsync that concurrent puts share. The aim is {due:.0f} µs in total."
    )


def _get_nats(figures: Figures) -> str:
    own, nats = figures["get"][HIVEWIRE], figures["get"]["nats-server"]
    text = f"Hivewire's core is full; the core of NATS is busy for {part(nats['server'])} of the time."
    due, most = AIMS["get"]["nats-server"] * nats["value"], own["value"] / min(own["generator"], 1)
    if most < due:
        text += f" The aim is {number(due)} /s, more than the client can request: {number(most)} /s."
    return (
        f"{text} With one request in flight on each connection, system calls alone are expensive: `floor, 50 x 1` "
        "below is a server under the same event loop that does not parse requests; `get, 50 x 16` has more in flight."
    )


def _get_redis(figures: Figures) -> str:
    busy = figures["get"]["redis-server"]["generator"]
    return "Hivewire's core is full: it answers in Python, Redis in C." + (
        " With Redis even the client's core is full." if busy >= FULL_CORE else ""
    )


CAUSES: dict[str, Callable[[Figures], str]] = {
    "put: Hivewire / etcd": _put_etcd,
    "get: Hivewire / NATS KV": _get_nats,
    "get: Hivewire / Redis": _get_redis,
}


def growth(run: dict[str, Any]) -> list[str]:
    """Rates and memory at every size, and their ratios."""
    lines = [
        "| what there is more of | how many | puts /s | gets /s | memory, MiB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for what, points in run["growth"].items():
        for at in points:
            rates = f"{number(at['put'])} | {number(at['get'])} | {number(at['memory'])}"
            lines.append(f"| {what} | {at['count']:,} | {rates} |")
    lines += ["", "| from the smallest to the largest | value | unit | aim | met |", "| --- | ---: | --- | --- | --- |"]
    for row in run["rows"]:
        if row["name"] in run["growth_rows"]:
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            lines.append(f"| {row['name']} | {times(row)} | {row['unit']} | {aim(row)} | {met} |")
    return lines


def where(run: dict[str, Any], disk: float) -> list[str]:
    """The machine, and the milliseconds that its disk takes."""
    machine, effort = run["machine"], run["effort"]
    return [
        f"{machine['date']}: {machine['cpu']}; {machine['system']}, {machine['files']}; one fdatasync of 4 KiB takes "
        f"{disk:.2f} ms; Python {machine['python']}; {machine['packages']}.",
        f"{effort['rounds']} rounds of {effort['seconds']:g} s each, {min(FEW, effort['rounds'])} of memory. "
        f"The run took {run['minutes']:.0f} minutes.",
    ]


def brokers(run: dict[str, Any]) -> list[str]:
    """Messages: each broker's figures, and how many times better Hivewire is, durable and in memory."""
    found = run["brokers"]
    titles = messaging.works(Effort(**found["effort"]))
    rows = {(row["work"], row["own"], row["other"]): row for row in found["rows"]}
    lines = [
        "| work | broker | median | lowest … highest | its core | client's | Hivewire is better by | in memory by |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for work, by in found["figures"].items():
        for program, figure in by.items():
            cores = " | ".join(part(figure[core]) if core in figure else "" for core in ("server", "generator"))
            ratios = " | ".join(
                _verdict(rows.get((work, own, program))) for own in (messaging.DURABLE, messaging.IN_MEMORY)
            )
            median, around = number(figure["value"]), span(figure["values"])
            lines.append(
                f"| {titles[work]} | {found['peers'][program]['name']} | {median} | {around} | {cores} | {ratios} |"
            )
    return lines


def _verdict(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["at_least"] is None:
        return f"{row['value']:.2f} x"
    return f"{times(row)} x, aim {row['at_least']:g} x: {'met' if row['met'] else '**missed**'}"


PARTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "figures": figures,
    "machine": lambda run: where(run, run["rows"][0]["value"]),
    "missed": missed,
    "stores": stores,
    "syncs": synced,
    "limits": limits,
    "others": others,
    "growth": growth,
    "brokers": brokers,
    "brokers stores": lambda run: stores(run["brokers"]),
    "brokers syncs": lambda run: synced(run["brokers"]),
    "brokers machine": lambda run: where(run["brokers"], run["brokers"]["disk"]),
}


def plot(run: dict[str, Any]) -> str:
    """Bars, one panel for each work, as an SVG picture: medians, with a line from the lowest to the highest round."""
    shapes: list[str] = []
    top = 8
    for work, title in works(Effort(**run["effort"])).items():
        better = "less is better" if work in SMALLER_IS_BETTER else "more is better"
        shapes.append(f'<text x="8" y="{top + 14}" class="title">{escape(title)} ({better})</text>')
        top += 24
        by = run["figures"][work]
        scale = (WIDTH - LEFT - RIGHT) / max(max(figure["values"]) for figure in by.values())
        for program, figure in by.items():
            about = run["peers"][program]
            shapes += _bar(top, f"{about['name']} {about['version']}", figure, scale, program == HIVEWIRE)
            top += BAR + GAP
        top += 14
    machine, effort = run["machine"], run["effort"]
    late = [about["name"] for about in run["peers"].values() if about["version"] and "**before**" in about["durable"]]
    notes = [
        f"Bars and figures: medians of {effort['rounds']} rounds of {effort['seconds']:g} s (memory: "
        f"{min(FEW, effort['rounds'])}); thin lines: from the lowest round to the highest.",
        "Linear scales from 0. 50 x 1: fifty connections, one request in flight on each."
        + "".join(f" {name} answers a put before it is synced." for name in late),
        f"{machine['date']}, {machine['cpu']}, {machine['system']}.",
    ]
    for note in notes:
        shapes.append(f'<text x="8" y="{top + 10}" class="note">{escape(note)}</text>')
        top += 18
    style = (
        "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.note{font-size:11px}"
        ".own{fill:#d97706}.other{fill:#8b98a5}path{stroke:#24292f;fill:none}"
        "@media(prefers-color-scheme:dark){text{fill:#d0d7de}path{stroke:#d0d7de}}"
    )
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = "<title>Hivewire and its peers at the same work</title>"
    return "\n".join([head, title, f"<style>{style}</style>", *shapes, "</svg>", ""])


def _bar(top: int, label: str, figure: dict[str, Any], scale: float, own: bool) -> list[str]:
    """One store's bar between its name and its median."""
    length = max(1, round(scale * figure["value"]))
    low, high = (LEFT + round(scale * edge(figure["values"])) for edge in (min, max))
    after, middle, base = max(LEFT + length, high) + 6, top + BAR // 2, top + 13
    return [
        f'<text x="{LEFT - 8}" y="{base}" text-anchor="end">{escape(label)}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{length}" height="{BAR}" class="{"own" if own else "other"}"/>',
        f'<path d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6"/>',
        f'<text x="{after}" y="{base}">{number(figure["value"])}</text>',
    ]


def up_to_date(text: str, run: dict[str, Any]) -> str:
    """The page with its parts as they should be."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, also_found, after = rest.partition(end)
        if not found or not also_found:
            raise ValueError(f"the page lacks the marks of {name}")
        text = before + begin + "\n".join(make(run)) + "\n" + end + after
    return text


def write() -> None:
    """Renew the page and the plot."""
    run = json.loads(RESULTS.read_text())
    PAGE.write_text(up_to_date(PAGE.read_text(), run))
    PLOT.write_text(plot(run))


if __name__ == "__main__":
    write()
