"""Only the ledger talks to the journal, and nobody above it knows an engine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hivewire
from hivewire.ledger.engines import ENGINES
from tests.command import Run
from tests.running import NotStarted, RunningGateway

SOURCES = Path(hivewire.__file__).parent
INSIDE = ("hivewire.ledger.engines", "hivewire.ledger.journal", "sqlite3", "aiosqlite")


def above_the_ledger(*words: str) -> Iterator[tuple[str, ast.AST]]:
    """The source of the gateway outside of `ledger/`, of `streams/` beside it, and of how both copy files. Files in
    which none of the words stands are left out."""
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        text = path.read_text()
        if not name.startswith(("ledger/", "streams/", "portions.py")) and any(word in text for word in words):
            for node in ast.walk(ast.parse(text)):
                yield name, node


def imported(node: ast.AST) -> list[str]:
    """The whole names of what an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []


def test_nobody_above_the_ledger_touches_the_journal() -> None:
    """Outside of `ledger/` no code reads an attribute `journal`, except from an engine on its way to the ledger."""
    found = [
        (name, ast.unparse(node))
        for name, node in above_the_ledger("journal")
        if isinstance(node, ast.Attribute) and node.attr in ("journal", "_journal")
    ]
    assert found == [("store.py", "engine.journal")] * 2


def test_nobody_above_the_ledger_imports_an_engine() -> None:
    """Three places ask for the engine of the settings: what opens the ledger; `serve`, which first asks whether it is
    free, before it loads the gateway; and commands that need its file. And what opens it for several gateways serves it
    to them. Nothing else of engines, journal or SQLite is imported, nor named in a text that could be."""
    asked, named = [], []
    for name, node in above_the_ledger(*(whole.rpartition(".")[2] for whole in INSIDE)):
        asked += [(name, what) for what in imported(node) if what.startswith(INSIDE)]
        if isinstance(node, ast.Constant) and str(node.value).startswith(INSIDE):
            named.append((name, node.value))
    only = "hivewire.ledger.engines.engine_of"
    served = "hivewire.ledger.engines.parent.service.LedgerService"
    assert asked == [("cli/backup.py", only), ("cli/serve.py", only), ("store.py", only), ("store.py", served)]
    assert named == []


def test_an_engine_is_one_file_and_one_row(data: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a row for its addresses a gateway serves on another engine, and asks it whether the ledger is free; nothing
    above the ledger takes its place for a file, and commands that need a file say so."""
    module = "tests.ledger.elsewhere"
    with RunningGateway(data, "--data=elsewhere://here", main=f"{module}:main") as gateway, gateway.socket() as talk:
        assert talk("configuration/put", name="a", value="1")["status"] == "success"
        assert talk("configuration/get", name="a")["configuration"]["value"] == "1"
        assert gateway.events("started")[0]["data"] == "elsewhere://here"
        assert gateway.stop() == 0
    with pytest.raises(NotStarted, match="error: elsewhere://taken is taken"):
        RunningGateway(data, "--data=elsewhere://taken", main=f"{module}:main")
    monkeypatch.setitem(ENGINES, "elsewhere://", f"{module}:Elsewhere")
    for command in ("backup", "restore", "dump", "vacuum"):
        outcome = run(command, *["x"] * (command in ("backup", "restore")), "--data=elsewhere://here")
        assert outcome.code == 2
        assert "elsewhere://here is not a data file" in outcome.err
    assert not list(data.parent.glob("**/*here*"))
    assert not data.exists()
