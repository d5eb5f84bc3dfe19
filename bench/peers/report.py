"""What a run comes to: docs/benchmarks.md and its plot, made from docs/benchmark-peers.json.

`python -m bench.peers.report` makes them anew without measuring; a test tells when to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.peers.compare import FEW, HIVEWIRE, Effort, works

DOCS = Path(__file__).parent.parent.parent / "docs"
RESULTS, PAGE, PLOT = DOCS / "benchmark-peers.json", DOCS / "benchmarks.md", DOCS / "benchmark-peers.svg"

CAUSES = {
    "put: Hivewire / etcd": (
        "Where nothing else runs on the machine Hivewire's core is full, and not of waiting: of the 31 µs of a put "
        "there 13 are those of a get (reading and writing a socket, reading a frame, rights), 5 are the fsync that a "
        "batch of 50 shares, and the rest is Python and SQLite that judge, store, apply, announce and answer. Four "
        "times etcd would be 17 µs in all."
    ),
    "get: Hivewire / NATS KV": (
        "The server's core is full with both. Three times NATS is more than the client can ask for at all with one "
        "request in flight on each connection (its most is below), and more than a server under the same event loop "
        "answers without looking (`floor, 50 x 1` in the README): system calls alone cost that. With more in flight "
        "the same gateway answers several times as many (`get, 50 x 16` there)."
    ),
    "get: Hivewire / Redis": (
        "Redis answers from C what Hivewire answers from Python; even the client's core is full there."
    ),
}
"""Why an aim is missed, where it is; shown only then."""
UNEXPLAINED = "Not explained: see how far its rounds lie apart, and run it again on a machine that does nothing else."

BAR, GAP, LEFT, WIDTH = 18, 6, 110, 720


def number(value: float) -> str:
    """A figure for people."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def aim(row: dict[str, Any]) -> str:
    """The bound of a row, in words."""
    if row["at_least"] is not None:
        return f"at least {row['at_least']:g}"
    return f"at most {row['at_most']:g}" if row["at_most"] is not None else ""


def stores(run: dict[str, Any]) -> list[str]:
    """Who takes part, and how."""
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
            verdict = (
                f"{row['value']:.2f} x | {row['at_least']:g} x | {'yes' if row['met'] else '**no**'}" if row else "| |"
            )
            span = f"{number(min(figure['values']))} … {number(max(figure['values']))}"
            lines.append(f"| {titles[work]} | {name} | {number(figure['value'])} | {span} | {verdict} |")
    return lines


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
            lines.append(f"| {titles[work]} | {name} | {100 * figure['server']:.0f} % | {100 * busy:.0f} % | {most} |")
    lines += [
        "",
        "| the same through a library | rate | server's core | client's core |",
        "| --- | ---: | ---: | ---: |",
    ]
    for work, figure in run["library"].items():
        cores = f"{100 * figure['server']:.0f} % | {100 * figure['generator']:.0f} %"
        lines.append(f"| {titles[work]}, NATS KV, `nats-py` | {number(figure['value'])} | {cores} |")
    return lines


def missed(run: dict[str, Any]) -> list[str]:
    """Every aim that was missed, with its cause."""
    found = [row for row in run["rows"] if row["met"] is False]
    if not found:
        return ["None."]
    lines = []
    for row in found:
        cause = CAUSES.get(row["name"], UNEXPLAINED)
        lines.append(f"- **{row['name']}**: {row['value']:.2f}, {aim(row)}. {cause}")
    return lines


def growth(run: dict[str, Any]) -> list[str]:
    """Rates and memory at every size, and what comes of it."""
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
            lines.append(f"| {row['name']} | {row['value']:.2f} | {row['unit']} | {aim(row)} | {met} |")
    return lines


def where(run: dict[str, Any]) -> list[str]:
    """The machine."""
    machine, effort = run["machine"], run["effort"]
    return [
        f"{machine['date']}: {machine['cpu']}; {machine['system']}, {machine['files']}; one fdatasync of 4 KiB takes "
        f"{run['rows'][0]['value']:.2f} ms; Python {machine['python']}; {machine['packages']}.",
        f"{effort['rounds']} rounds of {effort['seconds']:g} s each, "
        f"{FEW} of what takes long (memory, and growth with half of the time).",
    ]


PARTS = {"machine": where, "stores": stores, "figures": figures, "missed": missed, "limits": limits, "growth": growth}


def plot(run: dict[str, Any]) -> str:
    """Bars, one panel for each work, as an SVG picture."""
    shapes: list[str] = []
    top = 8
    for work, title in works(Effort(**run["effort"])).items():
        by = run["figures"][work]
        largest = max(figure["value"] for figure in by.values())
        better = "less is better" if work in ("fan", "memory") else "more is better"
        shapes.append(f'<text x="8" y="{top + 14}" class="title">{escape(title)} ({better})</text>')
        top += 24
        for program, figure in by.items():
            length = max(1, round((WIDTH - LEFT - 90) * figure["value"] / largest))
            kind = "own" if program == HIVEWIRE else "other"
            shapes += [
                f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(run["peers"][program]["name"])}</text>',
                f'<rect x="{LEFT}" y="{top}" width="{length}" height="{BAR}" class="{kind}"/>',
                f'<text x="{LEFT + length + 6}" y="{top + 13}">{number(figure["value"])}</text>',
            ]
            top += BAR + GAP
        top += 14
    style = (
        "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.own{fill:#d97706}.other{fill:#8b98a5}"
        "@media(prefers-color-scheme:dark){text{fill:#d0d7de}}"
    )
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = "<title>Hivewire and its peers at the same work</title>"
    return "\n".join([head, title, f"<style>{style}</style>", *shapes, "</svg>", ""])


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
