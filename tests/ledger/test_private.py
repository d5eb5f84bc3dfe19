"""Only the ledger talks to the journal."""

from __future__ import annotations

import ast
from pathlib import Path

import hivewire

SOURCES = Path(hivewire.__file__).parent


def test_nobody_above_the_ledger_touches_the_journal() -> None:
    """Outside of `ledger/` no code reads an attribute `journal` or imports an engine.

    One place asks for an engine, and the command asks whether the data file is free before it loads the gateway.
    """
    found, asked = [], []
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith("ledger/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("journal", "_journal"):
                found.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hivewire.ledger.engines"):
                asked.append((name, node.module))
    assert found == []
    assert asked == [("cli/serve.py", "hivewire.ledger.engines"), ("store.py", "hivewire.ledger.engines")]
