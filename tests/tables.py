"""The documentation's tables, made from the code: `python -m tests.tables` writes them, a test tells when to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hivewire import settings
from hivewire.dialects.devicehive import ROWS
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.close import TABLE
from hivewire_protocol.errors import catalogue
from hivewire_protocol.tenant.elements import COLLECTIONS, PARTS, ROOT
from hivewire_protocol.tenant.validation import RULES, STRICT, WARNINGS

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
    "start with 100,000 entries",
)


def actions() -> list[str]:
    """Action, what it needs, where it is over HTTP, and its sentence."""
    rest = {row.request: f"`{row.method} {row.path}`" for row in ROWS}
    lines = ["| action | permission | REST | what it does |", "| --- | --- | --- | --- |"]
    for action, request in REQUESTS.items():
        permission = f"`{request.permission.wire_name}`" if request.permission is not None else "none"
        lines.append(f"| `{action}` | {permission} | {rest.get(request, '')} | {_sentence(request)} |")
    return lines


def errors() -> list[str]:
    """Code, text and meaning of every error."""
    lines = ["| code | text | JSON-RPC | when |", "| --- | --- | --- | --- |"]
    for error in catalogue():
        rpc = str(error.rpc_code or error.code).replace("-", "−")
        lines.append(f"| {error.code} | `{error.text}` | {rpc} | {_sentence(error)} |")
    return lines


def close_codes() -> list[str]:
    """Code, reason and advice."""
    lines = ["| code | reason | reconnect |", "| --- | --- | --- |"]
    return lines + [f"| {code.value} | `{close.reason}` | {close.reconnect} |" for code, close in TABLE.items()]


def settings_table() -> list[str]:
    """Name, default and sentence of every setting."""
    lines = ["| setting | default | what it does |", "| --- | --- | --- |"]
    defaults = settings.Settings()
    for name in settings.names():
        default = getattr(defaults, name)
        shown = f"`{default}`" if default not in (None, "") else ""
        lines.append(f"| `{name}` | {shown} | {settings.sentence(name)} |")
    return lines


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
    lines = ["| codes | in | what is checked |", "| --- | --- | --- |"]
    for rule in RULES:
        codes = ", ".join(_marked(code) for code in rule.codes)
        layered = " Not above a base layer." if rule.complete else ""
        lines.append(f"| {codes} | {_places(rule.kinds)} | {_sentence(rule.check)}{layered} |")
    return lines


def _marked(code: int) -> str:
    return f"{code} (warning)" if code in WARNINGS else f"{code} (strict)" if code in STRICT else str(code)


def _places(kinds: Sequence[str]) -> str:
    everything = {*PARTS}
    if {*kinds} >= everything - {ROOT}:
        return "everything" if ROOT in kinds else "every element"
    if {*kinds} == {*COLLECTIONS}:
        return "every collection"
    return ", ".join("the document" if kind == ROOT else f"`{kind}`" for kind in kinds)


def _sentence(documented: object) -> str:
    """What it is, without the place in a contract that the rule comes from: that is for who reads the code."""
    text = re.sub(r"\s+", " ", (documented.__doc__ or "").split("\n\n")[0])
    return re.sub(r" \([^()]*\bsection [^()]*\)", "", text).strip()


PAGES: dict[Path, dict[str, Callable[[], list[str]]]] = {
    README: {"benchmark": figures},
    BENCHMARKS: {"benchmark": benchmark},
    API: {"actions": actions, "errors": errors, "close codes": close_codes},
    SETTINGS: {"settings": settings_table},
    DOCUMENTS: {"rules": rules},
}


def up_to_date(page: Path) -> str:
    """A page with its tables as they should be."""
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
    for each in PAGES:
        each.write_text(up_to_date(each))
