"""Follow one configuration with what a microcontroller has: a socket and JSON, and nothing that MicroPython has not.

micropython microcontroller.py http://HOST:PORT TOKEN NAME
"""

import json
import os
import socket
import sys
import time


def request(address, token, path, more="", body=b""):  # the socket of the answer, and its body
    host, port = address.split("//")[1].split(":")
    connection = socket.socket()
    connection.connect(socket.getaddrinfo(host, int(port))[0][-1])
    connection.settimeout(90)  # the gateway sends something every 30 seconds
    head = f"{'POST' if body else 'GET'} /api/rest/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    head += f"Accept: text/event-stream\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)
    answer = connection.makefile("rb")
    status = answer.readline()
    while answer.readline().strip():
        pass
    if b" 20" not in status:
        connection.close()
        raise ValueError(status.decode().strip())
    return connection, answer


def events(address, token, path, position=None):  # the messages of an event stream, in chunks (RFC 9112, section 7.1)
    resume = f"Last-Event-ID: {position}\r\n" if position else ""
    connection, answer = request(address, token, path, resume)
    rest = b""
    try:
        while size := int(answer.readline().strip() or b"0", 16):
            *lines, rest = (rest + answer.read(size)).split(b"\n")
            answer.readline()
            yield from [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    finally:
        connection.close()


def again_and_again(work):  # whatever becomes of the connection
    while True:
        try:
            work()
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
        time.sleep(1 + os.urandom(1)[0] / 128)


def follow(address, token, name):
    for message in events(address, token, "configuration?names=" + name):
        for each in message.get("configurations", [message.get("configuration")]):
            if each:
                print(name, "=", each["value"])


if __name__ == "__main__":
    again_and_again(lambda: follow(*sys.argv[1:]))
