"""Tables and pages of the documentation, made from the code: `python -m tests.tables` writes them.

A test fails while one of them is stale.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hivewire import openapi
from hivewire_protocol.schemas import sentence
from hivewire_protocol.tenant.elements import COLLECTIONS, PARTS, ROOT
from hivewire_protocol.tenant.validation import ALWAYS, NEVER, RULES, STRICT
from tests import reference

README = Path(__file__).parent.parent / "README.md"
DOCS = README.parent / "docs"
API, SETTINGS, BENCHMARKS = DOCS / "api.md", DOCS / "settings.md", DOCS / "benchmarks.md"
DOCUMENTS = DOCS / "tenant-configuration.md"

# The README's five figures: names of rows in `docs/benchmark.json`.
FIGURES = (
    "get, 50 x 16",
    "put, 50 x 16",
    "put until 1,000 subscribers have it, p50",
    "memory for each of 5,000 idle connections",
    "start with 100,000 configurations",
)


def figures() -> list[str]:
    """Five figures of that run, for the README."""
    rows = {row["name"]: row for row in _run()["rows"]}
    lines = ["| what | value | unit |", "| --- | ---: | --- |"]
    return lines + [f"| {name} | {_value(rows[name])} | {rows[name]['unit']} |" for name in FIGURES]


def benchmark() -> list[str]:
    """All figures of the run that the pages quote: `docs/benchmark.json`, a copy of what `make bench` wrote."""
    run = _run()
    lines = ["| what | value | unit | bound |", "| --- | ---: | --- | --- |"]
    for row in run["rows"]:
        bound = ""
        if row["at_least"] is not None:
            bound = f"at least {row['at_least']:g}"
        elif row["at_most"] is not None:
            bound = f"at most {row['at_most']:g}"
        lines.append(f"| {row['name']} | {_value(row)} | {row['unit']} | {bound} |")
    machine = run["machine"]
    return [
        *lines,
        "",
        f"{machine['date']}: {machine['cpu']}; {machine['system']}; Python {machine['python']}; {machine['packages']}.",
    ]


def _run() -> Any:
    return json.loads((DOCS / "benchmark.json").read_text())


def _value(row: dict[str, Any]) -> str:
    return f"{row['value']:,.0f}" if row["value"] >= 1_000 else f"{row['value']:.2f}"


def rules() -> list[str]:
    """Codes of findings in tenant documents, what they are found in, and the rule that is broken."""
    lines = ["| codes | in | what is checked | otherwise |", "| --- | --- | --- | --- |"]
    for rule in RULES:
        codes = ", ".join(map(str, rule.codes))
        layered = " Not above a base layer." if rule.complete else ""
        checked = sentence(rule.check) + layered
        lines.append(f"| {codes} | {_places(rule.kinds)} | {checked} | {_OTHERWISE[rule.refuses]} |")
    return lines


_OTHERWISE = {ALWAYS: "refused", STRICT: "a warning", NEVER: "a warning, also when strict"}


def _places(kinds: Sequence[str]) -> str:
    everything = {*PARTS}
    if {*kinds} >= everything - {ROOT}:
        return "everything" if ROOT in kinds else "every element"
    if {*kinds} == {*COLLECTIONS}:
        return "every collection"
    return ", ".join("the document" if kind == ROOT else f"`{kind}`" for kind in kinds)


PAGES: dict[Path, dict[str, Callable[[], list[str]]]] = {
    README: {"benchmark": figures},
    BENCHMARKS: {"benchmark": benchmark},
    DOCUMENTS: {"rules": rules},
}
"""Pages written by hand, and the tables in them."""

WHOLE: dict[Path, Callable[[], str]] = {
    API: reference.api,
    SETTINGS: reference.settings_page,
    DOCS / "openapi.json": lambda: _readable("openapi"),
    DOCS / "asyncapi.json": lambda: _readable("asyncapi"),
}
"""Pages and documents that are made from the code as a whole."""


def _readable(document: str) -> str:
    return json.dumps(json.loads(openapi.DOCUMENTS[document]()), indent=1, ensure_ascii=False) + "\n"


def up_to_date(page: Path) -> str:
    """A page as it should be: generated, or with updated tables."""
    if page in WHOLE:
        return WHOLE[page]()
    text = page.read_text()
    for name, make in PAGES[page].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, also_found, after = rest.partition(end)
        if not found or not also_found:
            raise ValueError(f"{page.name} lacks the marks of the table of {name}")
        text = before + begin + "\n".join(make()) + "\n" + end + after
    return text


if __name__ == "__main__":
    for each in (*PAGES, *WHOLE):
        each.write_text(up_to_date(each))
