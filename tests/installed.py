"""A folder like `.venv` for shells, whose `hivewire` is a fork of the loaded command (`forked.py`).

The pages call it 140 times, and loading it takes longer than what it does. So a small program stands in its place: it
hands its arguments, environment, folder and streams over, and ends with the exit code of the fork.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUnixStreamServer
from typing import Self

from tests.forked import Forked
from tests.running import PATIENCE

PROGRAM = """\
#!{python} -IS
import _socket, marshal, os, sys
tests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
tests.connect({address!r})
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
call = marshal.dumps((sys.argv[1:], dict(os.environ), os.getcwd()))
tests.sendmsg([call], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
sys.exit(int(tests.recv(8)))
"""
"""It loads only what is part of the interpreter: `json` and `socket` would take as long as all else."""

LARGEST = 1 << 17
"""Bytes of a call; most are its environment."""


class Installed(ThreadingUnixStreamServer):
    """The folder. As a context manager it runs what is called there."""

    socket_type = socket.SOCK_SEQPACKET

    def __init__(self, folder: Path) -> None:
        self._sockets = tempfile.TemporaryDirectory()  # its path is short: that of a socket has at most 107 bytes
        super().__init__(f"{self._sockets.name}/calls", _Call)
        program = folder / "bin" / "hivewire"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(PROGRAM.format(python=sys.executable, address=self.server_address))
        program.chmod(0o755)
        for path in (*Path(sys.prefix).iterdir(), *Path(sys.prefix, "bin").iterdir()):
            if not (link := folder / path.relative_to(sys.prefix)).exists():
                link.symlink_to(path)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()  # waits for the calls
        self._sockets.cleanup()


class _Call(BaseRequestHandler):
    def handle(self) -> None:
        caller: socket.socket = self.request
        message, streams, _, _ = socket.recv_fds(caller, LARGEST, 3)
        arguments, environment, folder = marshal.loads(message)
        process = Forked("hivewire.cli:main", arguments, environment, streams, folder)
        for number in streams:
            os.close(number)
        if caller in wait([caller, process.sentinel]):
            process.send_signal(signal.SIGTERM)  # which is what has ended its caller
        code = process.wait(PATIENCE)
        with suppress(BrokenPipeError):
            caller.send(b"%d" % (code if code >= 0 else 128 - code))
