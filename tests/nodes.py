"""NATS servers that all processes of a run of the tests share, so that they are started once."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.nodes import Nodes

_started: list[Nodes] = []  # by this process


@contextmanager
def shared(folder: Path, count: int) -> Iterator[str]:
    """The address of sites on a cluster of so many servers, with {site} in it.

    Whoever comes first starts them, in the folder that all name, and whoever leaves last ends them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _noted(folder) as note:
        if not note:
            nodes = Nodes(folder / secrets.token_hex(4), count)
            try:
                nodes.start()
                # A server removes the folder of streams with the last one, also while it makes another one there.
                nodes.ask("$JS.API.STREAM.CREATE.kept", b'{"name":"kept","subjects":["kept"]}')
            except BaseException:
                nodes.stop()
                raise
            pids = [node.pid for node in nodes]
            _started.append(nodes)
            note |= {"users": 0, "pids": pids, "store": nodes.store("{site}")}
        note["users"] += 1
        store: str = note["store"]
    try:
        yield store
    finally:
        with _noted(folder) as note:
            note["users"] -= 1
            if not note["users"]:
                for pid in note["pids"]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                note.clear()
                for nodes in _started:
                    nodes.stop()


@contextmanager
def _noted(folder: Path) -> Iterator[dict[str, Any]]:
    """What is noted of the servers, for one process at a time; changes are kept."""
    with (folder / "servers.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        note: dict[str, Any] = json.loads(file.read() or "{}")
        yield note
        file.truncate(0)
        file.write(json.dumps(note))
