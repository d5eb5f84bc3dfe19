"""Gateways of a cluster, on loopback ports."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import nodes
from bench.processes import Process
from bench.servers import SECRET, Server


class Gateway(Process):
    """A gateway with its file `NAME.db` in a folder, and its log beside it. Its port stays its own over restarts."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        store: str | None,
        password: str,
        port: int | None = None,
        flags: Sequence[str] = (),
        secret: str | None = SECRET,
        program: str = "hivewire",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`store` is the log that it shares with others; None: its file is the log. `password` is that of `admin`.

        `program` is the module with the command.
        """
        self.port = port or nodes.steady_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / f"{name}.db"
        command = [sys.executable, "-m", program, "serve", "--port", str(self.port), "--data", str(self.data)]
        command += [*(("--store", store) if store is not None else ()), "--log-format", "json", *flags]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
        variables |= {"HIVEWIRE_ADMIN_PASSWORD": password, **(environment or {})}
        variables |= {"HIVEWIRE_STORE_PASSWORD": nodes.PASSWORD} if store is not None else {}
        variables |= {"HIVEWIRE_JWT_SECRET": secret} if secret is not None else {}
        log = folder / f"{name}.log"
        super().__init__(name, command, log, environment=variables, health=f"{self.url}/health/ready")

    def server(self) -> Server:
        """The same, as load generators want it."""
        return Server(self.pid, self.port, "/api/websocket", self.data)
