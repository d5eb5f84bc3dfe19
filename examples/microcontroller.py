"""Follow one configuration with what a microcontroller has: a socket and JSON, and nothing that MicroPython has not.

micropython microcontroller.py http://HOST:PORT TOKEN NAME
"""

import binascii
import json
import os
import socket
import sys
import time


class WebSocket:  # a connection to a gateway, authenticated (RFC 6455)
    def __init__(self, address, token):
        host, port = address.split("//")[1].split(":")
        self.socket = socket.socket()
        self.socket.connect(socket.getaddrinfo(host, int(port))[0][-1])
        key = binascii.b2a_base64(os.urandom(16)).decode().strip()
        lines = ["GET /api/websocket HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}"]
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(1)
        if b" 101 " not in answer:
            raise ValueError(answer.split(b"\r\n")[0].decode())

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise OSError("the connection has ended")
            data += part
        return data

    def write(self, kind, data):  # a frame of up to 65,535 bytes
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes([byte ^ mask[index % 4] for index, byte in enumerate(data)])
        self.socket.sendall(bytes([kind]) + size + mask + masked)

    def send(self, action, **members):
        members.update(action=action, requestId=1)
        self.write(0x81, json.dumps(members).encode())

    def receive(self):  # the next message; answers pings
        while True:
            kind, size = self.read(2)
            if size > 125:
                size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
            data = self.read(size)
            if kind == 0x81:
                return json.loads(data)
            if kind == 0x89:
                self.write(0x8A, data)
            if kind == 0x88:
                raise OSError("the gateway has closed the connection")


def again_and_again(work):  # whatever becomes of the connection
    while True:
        try:
            work()
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
        time.sleep(1 + os.urandom(1)[0] / 128)


def follow(address, token, name):
    gateway = WebSocket(address, token)
    try:
        gateway.send("configuration/subscribe", names=[name])
        while True:
            message = gateway.receive()
            for each in message.get("configurations", [message.get("configuration")]):
                if each:
                    print(name, "=", each["value"])
    finally:
        gateway.socket.close()


if __name__ == "__main__":
    again_and_again(lambda: follow(*sys.argv[1:]))
