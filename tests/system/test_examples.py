"""The programs in `examples`, run as they stand against a real gateway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import PASSWORD, RunningGateway, Talk

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def environment(url: str, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    return {**plain, "HIVEWIRE_URL": url, "HIVEWIRE_PASSWORD": PASSWORD, **more}


def run(gateway: RunningGateway | str, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    url = gateway if isinstance(gateway, str) else gateway.url
    return subprocess.run(command, env=environment(url, **more), capture_output=True, text=True, timeout=30)


@contextmanager
def agent(url: str, *arguments: str | Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The device agent, running."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "device_agent.py", *arguments],
        env=environment(url, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: object) -> str:
    """The next line that the agent prints."""
    return stream.readline().strip()  # type: ignore[attr-defined,no-any-return]


def test_put_and_read_in_python(shared_gateway: RunningGateway, talk: Talk) -> None:
    """The Python example puts, reads, meets a conflict and gets over it."""
    first = run(shared_gateway, sys.executable, EXAMPLES / "put_and_read.py")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "put: example.counter = 41, version 1",
        "read: example.counter = 41, version 1",
        "conflict: 409 Configuration 'example.counter' is at version 2, not 1",
        "put: example.counter = 100, version 3",
    ]
    assert talk("configuration/get", name="example.counter")["configuration"]["value"] == "100"
    token = shared_gateway.token()
    again = run(
        shared_gateway, sys.executable, EXAMPLES / "put_and_read.py", HIVEWIRE_TOKEN=token, HIVEWIRE_PASSWORD=""
    )
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "put: example.counter = 100, version 6")


@needs_curl
def test_put_and_read_with_curl(shared_gateway: RunningGateway, talk: Talk) -> None:
    """The shell example logs in, puts, reads, and is shown what was in the way of its last put."""
    first = run(shared_gateway, EXAMPLES / "put_and_read.sh")
    assert (first.returncode, first.stderr) == (0, "")
    assert '{"name":"example.greeting","value":"good morning","entityVersion":1}' in first.stdout
    assert '{"name":"example.greeting","value":"good day","entityVersion":2}' in first.stdout
    assert first.stdout.rstrip().endswith("412")
    assert talk("configuration/get", name="example.greeting")["configuration"]["value"] == "good day"
    again = run(shared_gateway, EXAMPLES / "put_and_read.sh", HIVEWIRE_TOKEN=shared_gateway.token())
    assert (again.returncode, again.stderr) == (0, "")


@needs_curl
def test_put_and_read_with_curl_says_why_it_fails(shared_gateway: RunningGateway) -> None:
    """With a wrong password or token the shell example ends with an error and shows the gateway's words."""
    wrong = run(shared_gateway, EXAMPLES / "put_and_read.sh", HIVEWIRE_PASSWORD="wrong password")
    assert wrong.returncode == 1
    assert 'login failed: {"error":401,' in wrong.stderr
    bad = run(shared_gateway, EXAMPLES / "put_and_read.sh", HIVEWIRE_TOKEN="no.token")
    assert bad.returncode != 0
    assert '"error":401' in bad.stdout


def test_a_device_applies_a_value_once(shared_gateway: RunningGateway, talk: Talk, tmp_path: Path) -> None:
    """With --once the agent writes the value as it is and exits, with a token that reaches only its own names."""
    value = "höhe = 3\r\nname = 日本\n"
    talk("configuration/put", name="door.1", value=value)
    token = talk("token/create", payload={"userId": 1, "actions": ["GetConfiguration"], "configurations": ["door.1"]})
    file = tmp_path / "settings"
    file.write_text("old")
    command = (sys.executable, EXAMPLES / "device_agent.py", "--once")
    found = run(shared_gateway, *command, "door.1", file, HIVEWIRE_TOKEN=token["accessToken"])
    assert (found.returncode, found.stderr) == (0, "")
    assert file.read_bytes() == value.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["settings"]

    denied = run(shared_gateway, *command, "door.2", file, HIVEWIRE_TOKEN=token["accessToken"])
    assert (denied.returncode, denied.stderr.strip()) == (1, "refused: 403 Access is denied")
    unreachable = run("http://127.0.0.1:9", *command, "door.1", file)
    assert unreachable.returncode == 1
    assert unreachable.stderr.startswith("cannot reach http://127.0.0.1:9: ")
    assert file.read_bytes() == value.encode()


def test_a_device_follows_changes(shared_gateway: RunningGateway, talk: Talk, tmp_path: Path) -> None:
    """A running agent applies every later change, outlives a delete, and stops when it is asked to."""
    talk("configuration/put", name="door.3", value="one")
    file = tmp_path / "settings"
    with agent(shared_gateway.url, "door.3", file, "--every", "0.02") as process:
        assert line(process.stdout) == "applied door.3 version 1"
        assert file.read_text() == "one"
        talk("configuration/put", name="door.3", value="two")
        assert line(process.stdout) == "applied door.3 version 2"
        assert file.read_text() == "two"
        talk("configuration/delete", name="door.3")
        talk("configuration/put", name="door.3", value="three")
        assert line(process.stdout) == "applied door.3 version 1"
        assert file.read_text() == "three"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_device_comes_back_when_the_gateway_says(data: Path, tmp_path: Path) -> None:
    """When the gateway stops, the agent waits as long as it was told to, comes back and applies what is new."""
    file = tmp_path / "settings"
    spread = ("--drain-spread", "0.1")
    with RunningGateway(data, *spread) as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="door.4", value="one")
        with agent(gateway.url, "door.4", file, "--every", "0.05") as process:
            assert line(process.stdout) == "applied door.4 version 1"
            assert gateway.stop() == 0
            told = line(process.stderr)
            assert "server going away; retry=" in told
            assert "next attempt in 0." in told
            # The port is the same one, so that the agent finds the new gateway.
            with RunningGateway(data, *spread, "--port", str(gateway.port)) as again:
                with again.socket() as talk:
                    talk("configuration/put", name="door.4", value="two")
                assert line(process.stdout) == "applied door.4 version 2"
            assert file.read_text() == "two"
