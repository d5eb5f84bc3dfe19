"""HTTP and WebSocket with `aiohttp`.

HTTP: standard input has METHOD PATH BODY on each line; printed are the status and body of each. WebSocket: each line
has a number and a message; printed are as many messages as the number says, and at last the close code.
"""

import asyncio
import sys

import aiohttp


async def http(base: str, token: str) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for line in sys.stdin:
            method, path, body = line.rstrip("\n").split(" ", 2)
            headers = {"Content-Type": "application/json"} if body else {}
            async with session.request(method, base + path, data=body or None, headers=headers) as answer:
                print(answer.status, await answer.text())


async def websocket(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for line in sys.stdin:
            count, message = line.rstrip("\n").split(" ", 1)
            await socket.send_str(message)
            for _ in range(int(count)):
                print(await socket.receive_str())
        await socket.close()
        print(socket.close_code)


asyncio.run(http(*sys.argv[1:]) if len(sys.argv) > 2 else websocket(sys.argv[1]))
