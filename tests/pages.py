"""Run what the pages show: the blocks of a Markdown page, in the order in which they stand, against one gateway.

What a block is, its language and a mark in the line before it say:

- `sh`: commands for one shell, which lives as long as the page.
- `python`: a program, run in the folder of that shell; `javascript`: the same in Node, where there is one.
- `text` right behind one of these: what it prints. `…` stands for anything.
- `text` with lines that begin with `> ` and `< `: messages over a socket. `"token":"…"` is sent with a real token.
- `<!-- not run: REASON -->` before a block: a reader can run it, the test cannot.
- `<!-- in another terminal -->` before an `sh` block: it runs until the page ends; what is said of its output has to
  come until then.

A command that fails stands in a line with a comment that says `# refused`. All others succeed, and no answer that is
printed is an error, unless the page shows that it is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.forked import Piped
from tests.installed import Installed
from tests.node_js import has_websocket
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk

ROOT = Path(__file__).parent.parent
ADDRESS = "http://127.0.0.1:8080"
NODE = ("node", "--experimental-websocket", "--no-warnings", "--input-type=module", "-e")
ERROR = re.compile(r'"error":|"errorCode":|<error>')


class Block(NamedTuple):
    """A block of a page: `line` is where its first line stands, `mark` the comment before it, `shown` its output."""

    line: int
    language: str
    text: str
    mark: str
    shown: str | None


def pages() -> list[Path]:
    """All pages that have commands to try: the README first, because it tells how to begin."""
    clients = sorted((ROOT / "clients").glob("*/README.md"))
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", *clients]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order. An output is part of the block that prints it, and no block of its own."""
    fences = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w+)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
    found = list(fences.finditer(page))
    taken = False
    for fence, after in zip(found, [*found[1:], None], strict=False):
        if taken:
            taken = False
            continue
        mark, language, text = fence.groups(default="")
        printed = after is not None and after[2] == "text" and not page[fence.end() : after.start()].strip()
        taken = printed and language in {"sh", "python", "javascript"}
        line = page.count("\n", 0, fence.start(3)) + 1
        yield Block(line, language, text, mark, after[3] if taken and after else None)


def matches(shown: str, printed: str) -> bool:
    """Whether a program printed what the page shows: line for line, where `…` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Reader:
    """Somebody who reads a page and tries all of it, in a folder that looks like a checkout after `make serve`."""

    def __init__(self, folder: Path, gateway: RunningGateway) -> None:
        self._folder = folder
        self._gateway = gateway
        self._background: list[tuple[Block, Path, subprocess.Popen[bytes]]] = []
        self._talk: Talk | None = None
        self._installed = Installed(folder / ".venv")
        for name in ("examples", "docs"):
            if not (folder / name).exists():
                (folder / name).symlink_to(ROOT / name)
        package = folder / "node_modules" / "@hivewire" / "client"
        if not package.exists():
            package.parent.mkdir(parents=True)
            package.symlink_to(ROOT / "clients" / "js")
        (folder / "typed").write_text(PASSWORD + "\n")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")},
            "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HIVEWIRE_URL": gateway.url,
            "HIVEWIRE_PASSWORD": PASSWORD,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",  # readers have a terminal, on which each line is seen at once
        }
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=self._environment,
        )
        self._tell("trap 'echo failed >> failed' ERR")

    def take(self, block: Block) -> str | None:
        """Run a block; what is wrong with it, or None."""
        text = block.text.replace(ADDRESS, self._gateway.url)
        if block.mark == "in another terminal":
            self._start(block, text)
            return None
        if block.language == "sh":
            return self._commands(block, text)
        if block.language == "javascript" and not has_websocket():
            return None
        if block.language == "python":
            with Piped("tests.forked:execute", [text], self._environment, str(self._folder)) as program:
                printed = program.stdout.read() + program.stderr.read()
                return self._compare(block, printed, "failed" if program.wait(PATIENCE) else "")
        if block.language == "javascript":
            ran = subprocess.run(
                [*NODE, text],
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            return self._compare(block, ran.stdout + ran.stderr, "failed" if ran.returncode else "")
        if block.language == "text" and block.text.startswith("> "):
            return self._messages(text)
        return None

    def unmet(self) -> list[str]:
        """The faults of the blocks that run in other terminals."""
        waited = [(block, _await(block, output)) for block, output, _ in self._background]
        ended = [(block, output.read_text()) for block, output, process in self._background if process.poll()]
        return [f"line {block.line}: {complaint}" for block, complaint in [*waited, *ended] if complaint]

    def __enter__(self) -> Reader:
        self._installed.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for _block, _output, process in self._background:
            process.terminate()
            process.wait(PATIENCE)
        if self._talk is not None:
            self._talk.__exit__()
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.wait(PATIENCE)
        self._shell.stdout.close()
        self._installed.__exit__()

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()

    def _commands(self, block: Block, text: str) -> str | None:
        assert self._shell.stdout is not None
        (self._folder / "block").write_text(f"{text}\n:\n")  # so that a failure in its last line counts once
        (self._folder / "failed").write_text("")
        self._tell(". ./block < typed; printf '\\n%s\\n' '@ end of the block'")
        printed = ""
        for line in self._shell.stdout:
            if line == "@ end of the block\n":
                break
            printed += line
        return self._compare(block, printed, (self._folder / "failed").read_text())

    def _compare(self, block: Block, printed: str, failed: str) -> str | None:
        refused = block.text.count("# refused")
        if failed.count("failed") != refused:
            return f"{failed.count('failed')} commands failed, not {refused}: {printed}"
        if block.shown is None and not refused and ERROR.search(printed):
            return f"an error that the page does not tell of: {printed}"
        if block.shown is not None and not matches(block.shown, printed):
            return f"printed is:\n{printed}"
        return None

    def _start(self, block: Block, text: str) -> None:
        assert not re.match(r"\w+=", text.strip()), f"line {block.line}: one command, which is not an assignment"
        output = self._folder / f"output-{len(self._background)}"
        (self._folder / "variables").write_text("")
        self._commands(block._replace(text="", shown=None), "declare -p > variables")
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "--norc", "-c", f". ./variables 2>/dev/null; exec {text.strip()}"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self._folder,
                env=self._environment,
            )
        self._background.append((block, output, process))

    def _messages(self, text: str) -> str | None:
        if self._talk is None:
            self._talk = self._gateway.socket("")
        for line in text.splitlines():
            if line.startswith("> "):
                message = re.sub(r'"token":"…"', f'"token":"{self._gateway.token()}"', line[2:])
                json.loads(message)
                self._talk.connection.send(message)
            elif line.startswith("< "):
                received = str(self._talk.connection.recv(timeout=PATIENCE, decode=True))
                if not matches(line[2:], received):
                    return f"received is {received}"
        return None


def _await(block: Block, output: Path) -> str | None:
    """The expected output that a program in another terminal did not print in time."""
    end = time.monotonic() + PATIENCE
    while block.shown is not None and not matches(block.shown.strip() + "…", output.read_text()):
        if time.monotonic() > end:
            return f"printed is:\n{output.read_text()}"
        time.sleep(0.02)
    return None
