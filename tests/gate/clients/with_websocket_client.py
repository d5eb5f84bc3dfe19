"""WebSocket with `websocket-client`: each line of standard input has a number and a message.

Printed are as many messages as the number says, and at last the close code.
"""

import sys

import websocket

socket = websocket.create_connection(sys.argv[1])
for line in sys.stdin:
    count, message = line.rstrip("\n").split(" ", 1)
    socket.send(message)
    for _ in range(int(count)):
        print(socket.recv())
socket.send_close(1000)
opcode, payload = socket.recv_data()
print(int.from_bytes(payload[:2]))
socket.close()
