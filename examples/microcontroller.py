"""Follow one configuration with what a microcontroller has: a socket and JSON, and nothing that MicroPython has not.

python microcontroller.py http://HOST:PORT TOKEN NAME
"""

import binascii
import json
import os
import socket
import sys
import time


def frame(text):  # a client's WebSocket frame of up to 65,535 bytes (RFC 6455, section 5.2)
    data, mask = text.encode(), os.urandom(4)
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + mask + bytes([byte ^ mask[index % 4] for index, byte in enumerate(data)])


def receive(stream):  # the next message; answers pings
    while True:
        kind, size = stream.read(2)
        if size > 125:
            size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
        data = stream.read(size)
        if kind == 0x81:
            return json.loads(data)
        if kind == 0x89:
            stream.write(b"\x8a\x80" + os.urandom(4))
        if kind == 0x88:
            raise OSError("the gateway has closed the connection")


def follow(host, port, token, name, show):
    connection = socket.socket()
    connection.connect(socket.getaddrinfo(host, port)[0][-1])
    stream = connection if hasattr(connection, "read") else connection.makefile("rwb", buffering=0)
    key = binascii.b2a_base64(os.urandom(16)).strip().decode()
    stream.write(
        f"GET /api/websocket HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    while stream.readline() != b"\r\n":
        pass
    stream.write(frame(json.dumps({"action": "configuration/subscribe", "requestId": 1, "names": [name]})))
    while True:
        message = receive(stream)
        for each in message.get("configurations", [message.get("configuration")]):
            if each:
                show(name, "=", each["value"])


if __name__ == "__main__":
    address, token, name = sys.argv[1:]
    host, port = address.split("//")[1].split(":")
    while True:
        try:
            follow(host, int(port), token, name, print)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
        time.sleep(1 + os.urandom(1)[0] / 128)
