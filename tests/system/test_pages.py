"""The README and the pages in `docs`, tried from their first to their last line as a reader would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import ROOT, Block, Reader, blocks, matches, pages
from tests.running import RunningGateway

NOT_RUN = "not run: "
LANGUAGES = {"sh", "python", "text", "json", "xml", "javascript", "toml"}


@pytest.mark.timeout(300)  # some sixty programs, one after the other
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_of_every_page(tmp_path: Path) -> None:
    """All blocks run in the order in which they stand, one page after the other and the README first, on one gateway:
    none fails, none collides with what an earlier one made, and each prints what the page says."""
    wrong = []
    folder = tmp_path / "reader"
    folder.mkdir()
    quiet = "--bookmark-seconds=86400"  # no bookmark comes between the messages of a page, however long they take
    with RunningGateway(folder / "hivewire.db", quiet) as gateway:
        for page in pages():
            name = page.relative_to(ROOT)
            with Reader(folder, gateway) as reader:
                tried = [(block, reader.take(block)) for block in blocks(page.read_text()) if not _reason(block)]
                wrong += [f"{name}:{block.line}: {complaint}" for block, complaint in tried if complaint]
                wrong += [f"{name}, {complaint}" for complaint in reader.unmet()]
    assert not wrong, "\n\n".join(wrong)


def test_blocks_that_are_not_run_are_these() -> None:
    """Each says why; a new one is entered here, so that nothing is left out by accident."""
    found = [
        (page.name, reason) for page in pages() for block in blocks(page.read_text()) if (reason := _reason(block))
    ]
    assert found == LEFT_OUT


LEFT_OUT = [
    ("README.md", "it serves in the foreground, and this page is tried on a gateway that is running"),
    ("README.md", "it downloads the dependencies again and serves in the foreground"),
    ("api.md", "it shows the form of messages"),
    ("benchmarks.md", "it takes minutes; tests/bench/test_peers.py runs the short form"),
    ("clients.md", "it needs FastAPI"),
    ("clients.md", "it needs Django"),
    ("clients.md", "it needs React and a page; tests/clients/test_javascript.py renders the hooks"),
    ("cluster.md", "it needs three machines"),
    ("devicehive.md", "it keeps both cores busy; tests/bench/test_fleet.py runs small fleets"),
    ("devicehive.md", "it needs a DeviceHive server"),
    ("fleet.md", "a test of the suite runs it as it stands here"),
    ("following.md", "it takes the fixed port 8000; tests/system/test_live_table.py runs the page"),
    ("guarantees.md", "they run the suite itself, or for minutes"),
    ("operations.md", "it writes to /opt and downloads the dependencies"),
    ("operations.md", "it needs root and systemd"),
    ("operations.md", "it needs a container runtime"),
    ("operations.md", "it needs a certificate and root for port 443; tests/system/test_process.py serves over TLS"),
    ("operations.md", "it needs systemd"),
    ("operations.md", "the gateway that this page is tried on is running"),
    ("operations.md", "it serves in the foreground"),
    ("operations.md", "they need an etcd and a Consul"),
    ("operations.md", "it needs a container runtime"),
    ("operations.md", "it needs a collector"),
    ("tokens.md", "it serves in the foreground"),
    ("CONTRIBUTING.md", "they run the suite itself"),
]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_block_has_a_known_language(page: Path) -> None:
    """A block whose language is missing or misspelled would not be run, and nobody would notice."""
    text = page.read_text()
    opened = re.findall(r"^ *```(.*)$", text, re.MULTILINE)[::2]
    assert {*opened} <= LANGUAGES
    assert text.count("\n```") % 2 == 0


def test_a_reader_notices_what_is_wrong(data: Path, tmp_path: Path) -> None:
    """Failing commands, errors in outputs, and different output and messages are reported; marks are obeyed."""
    page = """
```sh
false
```

```sh
x=1
false  # refused
```

```sh
echo "$x"
```

```text
2
```

```sh
echo '{"error":404}'
```

<!-- in another terminal -->
```sh
echo "$x"
```

```text
1
```

```text
> {"action":"server/info","requestId":1}
< {"action":"server/info","requestId":2,…}
```
"""
    with RunningGateway(data) as gateway, Reader(tmp_path, gateway) as reader:
        told = [(block.line, reader.take(block) is not None) for block in blocks(page)]
        assert told == [(3, True), (7, False), (12, True), (20, True), (25, False), (33, True)]
        assert reader.unmet() == []
    assert matches("a … c\n", "a b c")
    assert not matches("a … c", "a b c\nd")


def _reason(block: Block) -> str:
    return block.mark.removeprefix(NOT_RUN) if block.mark.startswith(NOT_RUN) else ""


@pytest.mark.parametrize("page", [*pages(), ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_table_is_one(page: Path) -> None:
    """A header, a rule and rows with as many cells; nothing that looks like a row stands outside of a table."""
    tables = list(_tables(page.read_text()))
    for line, rows in tables:
        widths = [len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) - 1 for row in rows]
        assert len(rows) > 2, f"line {line} is no table: a header, a rule and a row are the least"
        assert re.fullmatch(r"\|( :?-+:? \|)+", rows[1]), f"line {line + 1} is no rule"
        assert {*widths} == {widths[0]}, f"the rows from line {line} on have {widths} cells"


def _tables(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each run of lines that begin with a bar, outside of code, with the number of its first line."""
    rows: list[str] = []
    code = False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        code ^= line.startswith("```")
        if line.startswith("|") and not code:
            rows.append(line)
        elif rows:
            yield number - len(rows), rows
            rows = []
