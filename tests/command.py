"""The command `hivewire`, as its users call it."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import NamedTuple

from tests.forked import Forked, Piped
from tests.running import PATIENCE


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def on_terminal(*arguments: str, columns: int = 200) -> str:
    """The output of a command on its own terminal, without colours and bold."""
    text = raw_on_terminal(*arguments, COLUMNS=str(columns), TERM="xterm")
    return re.sub(r"\x1b\[[\d;]*m", "", text.decode()).replace("\r\n", "\n")


def in_pipes(*arguments: str, stdin: bytes = b"") -> CompletedProcess[bytes]:
    """The bytes that a command writes to pipes, having read others from one."""
    with Piped("hivewire.cli:main", [*arguments], dict(os.environ)) as process:
        process.stdin.buffer.write(stdin)
        process.stdin.close()
        out, err = bytes(process.stdout.buffer.read()), bytes(process.stderr.buffer.read())
        return CompletedProcess(arguments, process.wait(PATIENCE), out, err)


def raw_on_terminal(*arguments: str, **environment: str) -> bytes:
    """The bytes that a command writes to its own terminal."""
    shown, terminal = pty.openpty()
    process = Forked("hivewire.cli:main", [*arguments], os.environ | environment, [terminal] * 3)
    os.close(terminal)
    text = b""
    with os.fdopen(shown, "rb", buffering=0) as terminal_side:
        try:
            while data := terminal_side.read(65_536):
                text += data
        except OSError:
            pass  # how Linux says that the other side of a terminal is closed
    assert process.wait(PATIENCE) == 0, text
    return text
