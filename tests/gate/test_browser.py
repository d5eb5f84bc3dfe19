"""The WebSocket of browsers, as Node has it: a page connects, authenticates, writes and reads."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.node_js import NODE, needs_websocket
from tests.running import PATIENCE, RunningGateway

PREAMBLE = """
const [url, token] = process.argv.slice(1);
const socket = new WebSocket(url);
let waiting = [];
socket.onmessage = event => waiting.shift()(JSON.parse(event.data));
const ask = text => new Promise(done => { waiting.push(done); socket.send(text); });
const call = (action, members) => ask(JSON.stringify({action, requestId: 1, ...members}));
const print = value => console.log(JSON.stringify(value));
socket.onclose = event => { print({code: event.code, reason: event.reason, clean: event.wasClean}); process.exit(0); };
socket.onopen = async () => {
"""

pytestmark = needs_websocket


def page(gateway: RunningGateway, script: str, token: str = "") -> list[Any]:
    """Run a script once the socket is open; what it printed, and at last how the socket was closed."""
    assert NODE is not None
    program = PREAMBLE + script + "};"
    ran = subprocess.run(
        [NODE, "--experimental-websocket", "--no-warnings", "-e", program, gateway.socket_url, token],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_page_logs_in_writes_and_reads(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A page cannot set headers, so it uses `authenticate`; then the socket closes cleanly."""
    denied, entered, put, got, closed = page(
        shared_gateway,
        """
        print(await call("configuration/get", {name: "browser.a"}));
        print(await call("authenticate", {token}));
        print(await call("configuration/put", {name: "browser.a", value: "ünï 😀"}));
        print(await call("configuration/get", {name: "browser.a"}));
        socket.close(1000, "bye");
        """,
        admin_token,
    )
    assert (denied["code"], denied["error"]) == (401, "Unauthorized")
    assert entered["status"] == "success"
    assert put["configuration"] == got["configuration"]
    assert got["configuration"]["value"] == "ünï 😀"
    assert (closed["code"], closed["clean"]) == (1000, True)


def test_a_page_may_send_large_texts_and_many(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Frames of every length form, and hundreds without waiting, are answered in order."""
    lengths, ids, _ = page(
        shared_gateway,
        """
        await call("authenticate", {token});
        const lengths = [];
        for (const length of [1, 125, 126, 65000]) {
            const put = await call("configuration/put", {name: "browser.b", value: "x".repeat(length)});
            lengths.push(put.configuration.value.length);
        }
        print(lengths);
        const asked = [...Array(300).keys()].map(requestId => ask(JSON.stringify({action: "server/info", requestId})));
        print((await Promise.all(asked)).map(answer => answer.requestId));
        socket.close();
        """,
        admin_token,
    )
    assert lengths == [1, 125, 126, 65_000]
    assert ids == list(range(300))


def test_a_page_that_sends_bytes_learns_why_it_was_closed(shared_gateway: RunningGateway) -> None:
    """The close event has the code and the reason."""
    (closed,) = page(shared_gateway, "socket.send(new Uint8Array([1, 2, 3]));")
    assert (closed["code"], closed["reason"]) == (1003, "binary frames are not spoken here")
    assert closed["clean"]
