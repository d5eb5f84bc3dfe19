"""Redis with an append-only file that is synced before each answer."""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import VALUE, Client, Peer, fail, opened, running, said
from bench.servers import GENERATOR_CORES, Server, cpu_seconds, free_port, pin
from bench.watchers import Latch

STORED = b"+OK\r\n"
FETCHED = b"$%d\r\n%b\r\n" % (len(VALUE), VALUE)


class RedisClient(Client):
    """RESP: all answers to one kind of request are the same bytes."""

    def read(self, data: bytes) -> tuple[int, int]:
        answer = STORED if data[:1] == b"+" else FETCHED
        found = len(data) // len(answer)
        used = found * len(answer)
        if data[:used] != answer * found or not answer.startswith(data[used:]):
            fail(data)
        return found, used


class Redis(Peer):
    """A server of its own; nothing is watched: its notifications are neither kept nor resumed."""

    name = "Redis"
    program = "redis-server"
    source = "`redis-server` where it is on the PATH"
    client = "raw RESP"
    durable = "after the fsync of its append-only file (`appendfsync always`); puts of one turn share one"
    watched = None

    def version(self) -> str:
        return said(self.find() or "", "--version").partition("v=")[2].partition(" ")[0]

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        port = free_port()
        command = [self.find() or "", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        with running(command, folder, port) as server:
            yield server

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        if work == "put":
            return [_command(b"SET", name.encode(), VALUE) for name in names]
        return [_command(b"GET", name.encode()) for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        return await opened(options, RedisClient(options, number, requests, latch))


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def own_benchmark(server: Server, work: str, requests: int) -> dict[str, float]:
    """The result of Redis' own `redis-benchmark` (in C) with 50 connections, one request in flight on each."""
    command = ["redis-benchmark", "-p", str(server.port), "-c", "50", "-n", str(requests), "-d", str(len(VALUE))]
    command += ["-r", "1000", "-t", {"put": "set", "get": "get"}[work], "--csv"]

    def clocks() -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), used.ru_utime + used.ru_stime, cpu_seconds(server.pid)

    before = clocks()
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, preexec_fn=lambda: pin(GENERATOR_CORES)
    )
    elapsed, own, of_server = (late - early for late, early in zip(clocks(), before, strict=True))
    rate = float(list(csv.reader(run.stdout.splitlines()))[-1][1])
    return {"value": rate, "generator": own / elapsed, "server": of_server / elapsed}
