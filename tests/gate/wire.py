"""WebSocket and HTTP bytes by hand, for what no library would send."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.running import PATIENCE, RunningGateway

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x12\x34\x56\x78"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
INFO = b'{"action":"server/info","requestId":1}'
MALFORMED = {"code": 400, "status": "error", "error": "Malformed Json received."}


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    announced: int | None = None,
) -> bytes:
    """A client's frame; `announced` is the length that its head claims."""
    length = len(payload) if announced is None else announced
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([masked << 7 | length])
    elif length < 1 << 16:
        head += bytes([masked << 7 | 126]) + length.to_bytes(2)
    else:
        head += bytes([masked << 7 | 127]) + length.to_bytes(8)
    if not masked:
        return head + payload
    size = len(payload)
    mask = (MASK * (size // 4 + 1))[:size]
    return head + MASK + (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


def upgrade(path: str = "/api/websocket", token: str | None = None) -> bytes:
    """The request that opens a socket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: gateway",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


class Wire:
    """A TCP connection to a gateway and the bytes that came over it."""

    def __init__(self, gateway: RunningGateway, receive_buffer: int | None = None, source: str = "") -> None:
        self.socket = socket.socket()
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        """Each piece with a call of its own."""
        for piece in pieces:
            self.socket.sendall(piece)

    def read(self, size: int) -> bytes:
        """Exactly this many bytes."""
        data = self._reader.read(size)
        assert len(data) == size, f"the connection ended after {data!r}"
        return data

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an HTTP response."""
        status = int(self._reader.readline().split()[1])
        headers = {}
        while line := self._reader.readline().strip().decode():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def response(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of an HTTP response."""
        status, headers = self.head()
        body = self.read(int(headers.get("content-length", "0")))
        return status, headers, json.loads(body) if body else None

    def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame that is not a ping, because pings arrive at any time."""
        opcode, payload = self.any_frame()
        while opcode == PING:
            opcode, payload = self.any_frame()
        return opcode, payload

    def any_frame(self) -> tuple[int, bytes]:
        """The next frame, which must be whole and unmasked."""
        first, length = self.read(2)
        assert first & 0xF0 == 0x80, "every frame of a server is whole and without extension bits"
        assert length < 128, "no frame of a server is masked"
        if length >= 126:
            length = int.from_bytes(self.read(2 if length == 126 else 8))
        return first & 0x0F, self.read(length)

    def answer(self) -> Any:
        """The JSON value of the next message."""
        opcode, payload = self.frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame that comes next."""
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2]), payload[2:].decode()

    def ended(self) -> bool:
        """Whether nothing more comes: waits for the end of the connection."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Hang up."""
        self._reader.close()
        self.socket.close()


@contextmanager
def dial(gateway: RunningGateway, receive_buffer: int | None = None, source: str = "") -> Iterator[Wire]:
    """A TCP connection, from a certain address of this machine when it matters."""
    wire = Wire(gateway, receive_buffer, source)
    try:
        yield wire
    finally:
        wire.close()


@contextmanager
def opened(gateway: RunningGateway, token: str | None = None, receive_buffer: int | None = None) -> Iterator[Wire]:
    """A connection whose handshake is done."""
    with dial(gateway, receive_buffer) as wire:
        wire.send(upgrade(token=token))
        status, headers = wire.head()
        assert status == 101
        digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        yield wire


def until(holds: Callable[[], Any]) -> None:
    """Ask until it holds, with pauses in which the gateway can get there; the limit of the test ends the waiting.

    The pauses grow, because most questions are requests, and take the gateway from what is waited for.
    """
    pause = 0.01
    while not holds():
        time.sleep(pause)
        pause = min(1.5 * pause, 0.1)


def guess(once: Callable[[], int]) -> list[int]:
    """The statuses of a guess that is made again until the guesser has to wait.

    The first waits are a second or two: who is slow may guess once more after them, and then waits longer.
    """
    statuses = [once()]
    until(lambda: statuses[-1] == 429 or statuses.append(once()))
    return statuses


def gauge(gateway: RunningGateway, name: str) -> float:
    """A metric without labels, as it is now."""
    with urllib.request.urlopen(gateway.url + "/metrics") as answer:
        text = answer.read().decode()
    for line in text.splitlines():
        if line.startswith(f"hivewire_{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def memory(gateway: RunningGateway, name: str = "VmRSS") -> int:
    """Bytes that the gateway's process holds; as `VmHWM`, the most so far."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) << 10
