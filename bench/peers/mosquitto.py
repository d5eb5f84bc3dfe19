"""Mosquitto, a broker of MQTT: publishing with QoS 1 is answered, and syncs nothing."""

from __future__ import annotations

import argparse
import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import VALUE, Client, Peer, fail, opened, running
from bench.servers import Server, free_port
from bench.watchers import Latch

CONNECTED, ACKNOWLEDGED, SUBSCRIBED = b"\x20\x02\0\0", b"\x40\x02\0\x01", b"\x90\x03\0\x01\x01"
"""CONNACK, PUBACK and SUBACK (MQTT 3.1.1, sections 3.2, 3.4 and 3.9) to what is sent here: the packet identifier is
always 1, as there is one packet in flight."""
PUBLISH, PUBACK, SUBSCRIBE, CONNECT = 0x32, 0x40, 0x82, 0x10
CLEAN = 0x02
"""A session that ends with its connection."""


def packet(kind: int, *parts: bytes) -> bytes:
    """A packet of less than 128 bytes behind its head."""
    body = b"".join(parts)
    if len(body) > 127:
        raise ValueError("a length of two bytes is not needed here")
    return bytes((kind, len(body))) + body


def text(value: str) -> bytes:
    """A string with its length (MQTT 3.1.1, section 1.5.3)."""
    return len(value).to_bytes(2, "big") + value.encode()


class MqttClient(Client):
    """MQTT 3.1.1 over TCP."""

    def open(self) -> None:
        head = text("MQTT") + bytes((4, CLEAN)) + b"\0\0"  # without a keep-alive
        self.transport.write(packet(CONNECT, head, text(f"bench-{self.number}")))

    def read(self, data: bytes) -> tuple[int, int]:
        found = at = 0
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:
            whole = data[at : at + 2 + data[at + 1]]
            at += len(whole)
            if whole == CONNECTED:
                self.ready.set_result(None)
            elif whole in (ACKNOWLEDGED, SUBSCRIBED):
                found += 1
            elif whole[0] == PUBLISH and whole.endswith(VALUE):
                found += 1
                identifier = 4 + int.from_bytes(whole[2:4], "big")
                self.transport.write(packet(PUBACK, whole[identifier : identifier + 2]))
            else:
                fail(whole)
        return found, at

    def watch(self) -> None:
        """Subscribe with QoS 1: what comes is acknowledged."""
        self.transport.write(packet(SUBSCRIBE, b"\0\x01", text("fan.1"), b"\x01"))


class Mosquitto(Peer):
    """A broker with persistence: every half hour it writes the messages that its sessions lack to a file."""

    name = "Mosquitto"
    program = "mosquitto"
    source = "`mosquitto` where it is on the PATH"
    client = "raw MQTT 3.1.1 packets, QoS 1"
    durable = "**before** anything is on the disk: it syncs nothing, and keeps only what a session has not received yet"
    watched = "a subscription with QoS 1, in a session that ends with its connection"

    def version(self) -> str:
        shown = subprocess.run([self.find() or "", "-h"], capture_output=True, text=True, timeout=20, check=False)
        return shown.stdout.split()[2]  # the code of its help is 3

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        port = free_port()
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\nlog_type error\n"
            f"persistence true\npersistence_location {folder}/\n"
        )
        with running([self.find() or "", "-c", str(settings)], folder, port) as server:
            yield server

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        return [packet(PUBLISH, text(name), b"\0\x01", VALUE) for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        return await opened(options, MqttClient(options, number, requests, latch))

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await opened(options, MqttClient(options, number, [], latch))
        ready = latch.expect(1)
        client.watch()
        await ready
        return client
