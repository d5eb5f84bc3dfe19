"""The gateway as a process: starting, stopping, dying, and running out of disk."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench.nodes import steady_port
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed

from hivewire import app, cli
from hivewire.cli.serve import _welcome
from hivewire.settings import Settings
from hivewire.transport import server
from hivewire.welcome import Started
from tests.forked import Piped
from tests.gate.wire import dial
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk, process, unmeasured
from tests.workers import FORKS


def hivewire(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end with nothing but these settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    with Piped("hivewire.cli:main", [*map(str, arguments)], {**plain, **environment}) as process:
        out, err = process.stdout.read(), process.stderr.read()
    return subprocess.CompletedProcess(arguments, process.wait(PATIENCE), out, err)


def fails(found: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """It ended with this code and one line for people."""
    assert found.returncode == code, found
    assert found.stdout == ""
    lines = [line for line in found.stderr.splitlines() if line and not line.startswith("{")]
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("hivewire: error: ")
    assert "Traceback" not in found.stderr
    for word in words:
        assert word in lines[0]


def put_frames(count: int, prefix: str = "burst", names: int = 100) -> list[str]:
    """Puts that cycle through some names, numbered by their requestId."""
    return [
        json.dumps(
            {"action": "configuration/put", "requestId": n, "name": f"{prefix}.{n % names}", "value": f"value {n}"}
        )
        for n in range(count)
    ]


def answers_until_close(talk: Talk) -> tuple[list[dict[str, object]], ConnectionClosed]:
    """Every answer that still comes, and how the socket ended."""
    answers = []
    while True:
        try:
            answers.append(talk.receive())
        except ConnectionClosed as closed:
            return answers, closed


def versions(gateway: RunningGateway) -> dict[str, tuple[str, int]]:
    """Name to value and version of everything."""
    with gateway.socket() as talk:
        found = talk("configuration/list", take=10_000)["configurations"]
    return {one["name"]: (one["value"], one["entityVersion"]) for one in found}


# Dying.


@pytest.mark.parametrize("answered_before", [1, 400])
def test_what_was_answered_is_there_after_kill_9(data: Path, answered_before: int) -> None:
    """Killed in the middle of 1,000 puts, the gateway has every answered one, and nothing that was not sent."""
    frames = put_frames(1_000)
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(lambda: [talk.connection.send(frame, text=True) for frame in frames])
            answers = [talk.receive() for _ in range(answered_before)]
            gateway.process.kill()
            rest, _ = answers_until_close(talk)
            sending.exception()
        answers += rest
    assert [answer["requestId"] for answer in answers] == list(range(len(answers)))
    assert all(answer["status"] == "success" for answer in answers)

    with RunningGateway(data) as gateway:
        found = versions(gateway)
    written = sum(version for _, version in found.values())
    assert len(answers) <= written <= 1_000
    # Puts are made in order, so what is there is exactly the first `written` of them.
    expected = {f"burst.{n % 100}": (f"value {n}", n // 100 + 1) for n in range(written)}
    assert found == expected
    for answer in answers:
        n = answer["requestId"]
        assert answer["configuration"]["entityVersion"] == n // 100 + 1


def test_revisions_go_on_after_kill_9(data: Path) -> None:
    """After a crash the next put continues version and revision of the last answered one."""
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        last = [talk("configuration/put", name="a", value=str(n)) for n in range(5)][-1]
        gateway.process.kill()
        gateway.process.wait()
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        put = talk("configuration/put", name="a", value="next", entityVersion=5, revision=last["revision"])
        assert put["configuration"]["entityVersion"] == 6
        assert put["revision"] > last["revision"]
        assert gateway.stop() == 0


# Stopping.


@pytest.mark.parametrize(
    ("number", "fresh"), [(signal.SIGTERM, True), (signal.SIGINT, False)], ids=["SIGTERM", "SIGINT"]
)
def test_a_stop_answers_open_requests_and_closes_sockets(data: Path, number: int, fresh: bool) -> None:
    """On SIGTERM it answers the puts in progress, closes every socket with 1001 and a time, and exits with 0.

    So few clients reconnect within a second."""
    with RunningGateway(data, "--drain-spread", "86400", fresh=fresh) as gateway:
        token = gateway.token()
        with gateway.socket(token) as busy, gateway.socket(token) as idle, gateway.socket("") as anonymous:
            for frame in put_frames(300):
                busy.connection.send(frame, text=True)
            first = busy.receive()
            gateway.process.send_signal(number)
            answers, closed = answers_until_close(busy)
            answers.insert(0, first)
            endings = [closed, answers_until_close(idle)[1], answers_until_close(anonymous)[1]]
            assert gateway.process.wait(PATIENCE) == 0
        for ending in endings:
            assert ending.rcvd is not None
            assert ending.rcvd.code == 1001
            told = re.fullmatch(r"server going away; retry=(\d+)", ending.rcvd.reason)
            assert told
            assert 0 <= int(told[1]) <= 1_000
        assert gateway.stop() == 0
        assert [line["event"] for line in gateway.log if line["event"] in ("started", "stopping", "stopped")] == [
            "started",
            "stopping",
            "stopped",
        ]
        assert gateway.events("stopping")[0]["sockets"] == 3
        assert gateway.noise == []
    assert [answer["requestId"] for answer in answers] == list(range(len(answers)))
    done = [answer for answer in answers if answer["status"] == "success"]
    assert all(answer["code"] == 503 for answer in answers if answer["status"] == "error")
    with RunningGateway(data) as gateway:
        assert sum(version for _, version in versions(gateway).values()) == len(done)


def test_a_request_that_does_not_end_before_a_stop_is_disconnected(data: Path) -> None:
    """After `drain_seconds` a client that has not sent its body, or does not read its answer, is not waited for; it
    gets no error, and the log none either."""
    with RunningGateway(data, "--drain-seconds", "0.1") as gateway, dial(gateway) as wire:
        token = gateway.token()
        head = f"PUT /api/rest/configuration/a HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
        wire.send(f"{head}Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode())
        assert wire.head()[0] == 100  # the gateway waits for the body
        assert gateway.stop() == 0
        assert wire.ended()
        assert not [line for line in gateway.log if "exception" in line]


def test_an_idle_http_connection_does_not_prevent_a_stop(data: Path) -> None:
    """A kept-alive HTTP connection does not keep the gateway from stopping with exit code 0."""
    with RunningGateway(data) as gateway, gateway.http() as http:
        assert http.put("/configuration/a", json={"value": "1"}).status_code == 200
        assert gateway.stop() == 0


def test_a_stop_during_the_start_is_a_stop(data: Path) -> None:
    """A SIGTERM that comes before the port is open is heeded as well: the process ends."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "hivewire", "serve", "--port", "0", "--data", str(data)],
        env=plain,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        lock = data.with_name(data.name + ".lock")
        while not lock.exists() and process.poll() is None:
            time.sleep(0.001)  # the lock is the first thing that it makes, when it is far from ready
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail("the gateway did not heed SIGTERM")


def stop_at_the_last_moment() -> None:
    """The command, which gets SIGTERM immediately before it serves."""
    handle = server.handle_signals

    def late(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        handle(*arguments)

    vars(server)["handle_signals"] = late
    cli.main()


def test_a_stop_at_the_end_of_the_start_is_a_stop(data: Path) -> None:
    """A signal that the event loop has not handled yet is not lost when the gateway begins to serve."""
    with RunningGateway(data, main=f"{__name__}:stop_at_the_last_moment") as gateway:
        assert gateway.process.wait(PATIENCE) == 0


def test_a_second_signal_during_the_start_does_not_cut_the_closing_short() -> None:
    """What is half closed would keep the process alive for ever: the thread of a file waits for its next task."""
    script = """
import asyncio, os, signal
from hivewire.transport import server
async def start():
    server.stop_by_signal()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        for _ in range(10):
            await asyncio.sleep(0)
        print("closed")
try:
    asyncio.run(start())
except asyncio.CancelledError:
    print("stopped")
"""
    assert process(script).stdout.split() == ["closed", "stopped"]


# A full disk.


def test_a_full_disk_refuses_puts_and_loses_nothing(data: Path) -> None:
    """While the disk is full, puts get 503 and reads work; with space again puts work, and a restart finds all."""
    value = "x" * 50_000
    with RunningGateway(data) as gateway, gateway.socket() as talk, gateway.http() as http:
        pid = gateway.process.pid
        done = {}
        for n in range(5):
            assert talk("configuration/put", name=f"before.{n}", value=value)["status"] == "success"
            done[f"before.{n}"] = (value, 1)
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        largest = max(path.stat().st_size for path in data.parent.iterdir())
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 20_000, limits[1]))

        for n in range(20):
            name = f"full.{n}"
            refused = talk("configuration/put", name=name, value=value)
            if refused["status"] == "error":
                break
            done[name] = (value, 1)
        assert refused["code"] == 503
        assert "nothing was written" in refused["error"]
        over_http = http.put("/configuration/http", json={"value": value})
        assert over_http.status_code == 503
        assert over_http.json()["error"] == 503
        assert talk("configuration/put", name="before.0", value=value)["code"] == 503

        assert talk("configuration/get", name="before.0")["configuration"]["entityVersion"] == 1
        assert talk("configuration/get", name=name)["code"] == 404
        assert http.get("/configuration/before.1").status_code == 200
        ready = httpx.get(gateway.url + "/health/ready", params={"for": "writes"})
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        reads = httpx.get(gateway.url + "/health/ready")
        assert reads.status_code == 200
        assert reads.json()["writesRefused"] == ready.json()["reason"]
        assert httpx.get(gateway.url + "/health/live").status_code == 200

        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        again = talk("configuration/put", name="after", value=value)
        assert again["configuration"]["entityVersion"] == 1
        done["after"] = (value, 1)
        assert httpx.get(gateway.url + "/health/ready").status_code == 200
        gateway.process.kill()
        gateway.process.wait()

    with RunningGateway(data) as gateway:
        assert versions(gateway) == done
        assert gateway.stop() == 0


@pytest.mark.parametrize(("workers", "broken"), [(1, True), (2, False)])
def test_a_welcome_that_cannot_be_written_goes_to_standard_error(data: Path, workers: int, broken: bool) -> None:
    """The generated password is stored already when standard output turns out to be full, or a closed pipe."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    reader, writer = os.pipe() if broken else (None, os.open("/dev/full", os.O_WRONLY))
    if reader is not None:
        os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "hivewire", "serve", "--port=0", f"--data={data}", f"--workers={workers}"],
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert process.stderr is not None
    with process:
        assert any(line.startswith("Password ") for line in process.stderr)
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_log_that_cannot_be_written_fails_no_request(data: Path, tmp_path: Path) -> None:
    """When the log is on the full disk too, requests get their answers, and puts work again once there is space."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    environment |= {"HIVEWIRE_ADMIN_PASSWORD": PASSWORD, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    port = steady_port()
    with open("/dev/full", "w") as full, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "notify"))
        datagrams.settimeout(PATIENCE)
        process = subprocess.Popen(
            [sys.executable, "-m", "hivewire", "serve", f"--port={port}", f"--data={data}"],
            env=environment,
            stderr=full,
        )
        assert datagrams.recv(100) == b"READY=1"
    with process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/rest", timeout=PATIENCE) as http:
            wrong = http.get("/configuration/a", headers={"Authorization": "Bearer wrong"})
            assert wrong.status_code == 401  # which is a line of the log
            login = http.post("/token", json={"login": "admin", "password": PASSWORD})
            http.headers["Authorization"] = f"Bearer {login.json()['accessToken']}"
            limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000, limits[1]))
            assert http.put("/configuration/a", json={"value": "1"}).status_code == 503  # and so are writes that fail
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            assert http.put("/configuration/a", json={"value": "1"}).status_code == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0


# What keeps it from starting.


def test_a_second_gateway_on_the_same_file_does_not_start(data: Path) -> None:
    """The second one says which process has the file, and the first one goes on."""
    with RunningGateway(data) as gateway:
        found = hivewire("serve", "--port", "0", "--data", data)
        fails(found, f"{data} is in use by another gateway (process {gateway.process.pid})", "--data")
        with gateway.socket() as talk:
            assert talk("configuration/put", name="a", value="1")["status"] == "success"
        assert gateway.stop() == 0


def test_a_second_gateway_is_refused_before_it_loads_the_gateway(data: Path) -> None:
    """The refusal waits for no library that only a gateway needs, so it is quick on a busy machine too."""
    with RunningGateway(data) as gateway:
        refused = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "hivewire", "serve", "--port", "0", "--data", data],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=unmeasured(),
        )
        assert gateway.stop() == 0
    loaded = {line.rpartition("|")[2].strip() for line in refused.stderr.splitlines()}
    assert "is in use by another gateway" in refused.stderr
    assert "hivewire.settings" in loaded
    assert not loaded & {"hivewire.app", "hivewire.cli.remote", "asyncio", "sqlite3", "structlog", "uvicorn", "rich"}


def test_a_port_in_use_is_an_error(data: Path) -> None:
    """The error names the port, and no file is created."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(
            hivewire("serve", "--port", str(port), "--data", data), f"cannot listen on 127.0.0.1 port {port}", "--port"
        )
    assert os.listdir(data.parent) == []


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "a" * 64, "\u202e"])
def test_an_address_of_another_machine_or_of_none_is_an_error(data: Path, host: str) -> None:
    """The error names the address, and no file is created."""
    fails(hivewire("serve", "--host", host, "--data", data), f"cannot listen on {host}", "--host")
    assert os.listdir(data.parent) == []


@pytest.mark.parametrize(
    ("limit", "least", "words"),
    [("-v", 300_000, "292 MiB of virtual memory (ulimit -v"), ("-n", 40, "40 files (ulimit -n")],
)
def test_too_little_memory_and_too_few_files_are_errors(data: Path, limit: str, least: int, words: str) -> None:
    """The error names the limit and what is needed, before anything is created."""
    command = [sys.executable, "-m", "hivewire", "serve", "--port", "0", "--data", str(data)]
    refused = subprocess.run(
        ["/bin/sh", "-c", f'ulimit {limit} {least} && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=unmeasured(),
    )
    fails(refused, words, "needs", code=2)
    assert os.listdir(data.parent) == []


def test_a_bad_path_for_the_data_is_an_error(tmp_path: Path) -> None:
    """The error names a missing directory, or one in place of the file, and nothing is created."""
    missing = tmp_path / "missing" / "hivewire.db"
    fails(hivewire("serve", "--port", "0", "--data", missing), str(missing.parent), "does not exist")
    fails(hivewire("serve", "--port", "0", "--data", tmp_path), "is a directory", code=2)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("store", ["nats://hive:word@h1/site", "nats://h1", "redis://h1/site"])
def test_a_bad_address_of_the_store_is_an_error(data: Path, store: str) -> None:
    """The error says what is wrong, without a traceback and a password, and nothing is created."""
    found = hivewire("serve", "--port", "0", "--data", data, "--store", store)
    fails(found, "error: the address ", " store ", code=2)
    assert os.listdir(data.parent) == []


@pytest.mark.parametrize("secret", ["sh0rt", "x" * 31])
def test_a_short_jwt_secret_is_refused(data: Path, secret: str) -> None:
    """A signing secret under 32 bytes is refused without being shown, and no file is made."""
    found = hivewire("serve", "--port", "0", "--data", data, HIVEWIRE_JWT_SECRET=secret)
    fails(found, "32 bytes", code=2)
    assert secret not in found.stderr
    assert os.listdir(data.parent) == []


def test_a_weak_key_of_an_existing_installation_causes_a_warning_at_each_start(data: Path) -> None:
    """Its tokens stay valid, and the log names the risk, without the key."""
    for _ in range(2):
        with RunningGateway(
            data, "--jwt-key-derivation", "devicehive", env={"HIVEWIRE_JWT_SECRET": "devicehive"}
        ) as gateway:
            (warning,) = [line for line in gateway.log if line["level"] == "warning"]
            assert "tokens could be forged" in warning["event"]
            assert warning["bytes"] == 6
            assert "75ebe271e862" not in json.dumps(warning)
            assert gateway.stop() == 0


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_in_the_log_shows_no_local_variables(form: str) -> None:
    """The traceback of an unexpected error has no values of variables, which may be passwords."""
    script = f"""
from hivewire.telemetry import Telemetry, configure_logging
configure_logging({form!r})
def login(password):
    raise KeyError("unforeseen")
try:
    login("-".join(("hush", "hush")))
except KeyError as error:
    Telemetry().unexpected("token", error)
"""
    logged = process(script).stderr
    assert "unexpected error" in logged
    assert "Traceback" in logged
    assert "in login" in logged
    assert "unforeseen" in logged
    assert "hush-hush" not in logged


def test_a_line_of_the_log_is_one_write() -> None:
    """Gateways that share standard error do not mix their lines, also where nothing is buffered, as in containers."""
    script = "from hivewire.telemetry import configure_logging, log; configure_logging('json'); log.info('first')"
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # each write is a message
    with ours, its:
        subprocess.run([sys.executable, "-u", "-c", script], stderr=its.fileno(), check=True, timeout=PATIENCE)
        line = ours.recv(65_536).decode()
    assert line.endswith("\n")
    assert json.loads(line)["event"] == "first"


def test_bad_tls_files_are_refused(data: Path, tmp_path: Path) -> None:
    """TLS files that are missing, not PEM or a pipe are an error, and no file is created."""
    folder = tmp_path / "tls"
    folder.mkdir()
    text = folder / "text.pem"
    text.write_text("no certificate")
    missing, pipe = folder / "missing.pem", folder / "pipe.pem"
    os.mkfifo(pipe)
    for certificate, key, words in (
        (text, text, ("tls_certificate", "tls_key", str(text), "they must be a certificate and its key, in PEM")),
        (missing, text, (f"cannot read tls_certificate {missing}",)),
        (text, missing, (f"cannot read tls_key {missing}",)),
        (pipe, text, (f"cannot read tls_certificate {pipe}: it is not a regular file",)),
        (text, pipe, (f"cannot read tls_key {pipe}: it is not a regular file",)),
    ):
        found = hivewire("serve", "--port", "0", "--data", data, "--tls-certificate", certificate, "--tls-key", key)
        fails(found, *words, code=2)
        assert "None" not in found.stderr
    assert os.listdir(data.parent) == ["tls"]


def test_a_start_that_failed_does_not_swallow_the_password(data: Path, tmp_path: Path) -> None:
    """When the first start fails, the next one still prints the generated password."""
    missing = tmp_path / "missing.pem"
    arguments = "--tls-certificate", missing, "--tls-key", missing
    fails(hivewire("serve", "--port", "0", "--data", data, *arguments), code=2)
    with RunningGateway(data, env={"HIVEWIRE_ADMIN_PASSWORD": ""}) as gateway:
        assert re.search(r"^Password +(\S+)$", welcome(gateway), re.MULTILINE)


def test_a_start_that_fails_late_has_made_no_administrator(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is ready before the administrator is stored, so the next start still prints the password."""

    def broken(*_: object) -> None:
        raise OSError("out of something")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="out of something"):
        patched.setattr(app, "Server", broken)
        settings = Settings(port=0, data=str(data))
        asyncio.run(app.serve(settings, lambda: settings, broken))
    fails(hivewire("user", "unlock", "admin", "--data", data), "there is no user admin")
    with RunningGateway(data, env={"HIVEWIRE_ADMIN_PASSWORD": ""}) as gateway:
        assert re.search(r"^Password +(\S+)$", welcome(gateway), re.MULTILINE)


@pytest.mark.parametrize("arguments", [("--workers", "2"), ("--workers", "2", "--store", "nats://h1/site")])
def test_what_can_never_start_ends_with_a_code_of_its_own(data: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 2, also of the parent of several gateways, so that systemd does not try it again and again."""
    data.write_text("some notes\n" * 20)
    fails(hivewire("serve", "--port", "0", "--data", data, *arguments), code=2)
    unit = (Path(__file__).parents[2] / "docs" / "hivewire.service").read_text()
    assert "\nRestartPreventExitStatus=2\n" in unit


def test_a_foreign_file_is_not_served(tmp_path: Path) -> None:
    """A file that is something else is refused in one line and left as it is."""
    notes = tmp_path / "notes.txt"
    notes.write_text("some notes\n" * 20)
    fails(hivewire("serve", "--port", "0", "--data", notes), "is not a Hivewire ledger", "left untouched", code=2)
    assert notes.read_text() == "some notes\n" * 20


# Starting.


def welcome(gateway: RunningGateway) -> str:
    """The readable output of a gateway, once it is stopped."""
    stdout = gateway.process.stdout
    assert stdout is not None
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(PATIENCE)
    return str(stdout.read())


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told_when_the_gateway_serves(data: Path, tmp_path: Path, workers: int) -> None:
    """Once, by the process that systemd knows, when requests are answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "notify"))
        datagrams.settimeout(PATIENCE)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with RunningGateway(data, f"--workers={workers}", env=environment, main=FORKS) as gateway:
            assert datagrams.recv(100) == b"READY=1"
            assert httpx.get(gateway.url + "/health/ready").status_code == 200
            assert gateway.stop() == 0
        datagrams.setblocking(False)
        with pytest.raises(BlockingIOError):
            datagrams.recv(100)


def test_the_generated_password_is_printed_once_and_works(data: Path) -> None:
    """The first start prints a password with which one can log in; the second start does not print it."""
    nothing_set = {"HIVEWIRE_ADMIN_PASSWORD": "", "HIVEWIRE_JWT_SECRET": ""}
    with RunningGateway(data, env=nothing_set, fresh=True) as gateway:
        stdout = gateway.process.stdout
        assert stdout is not None
        lines = [stdout.readline()]
        while not lines[-1].startswith("Password "):
            lines.append(stdout.readline())
        text = "".join(lines)
        found = re.findall(r"^Password +(\S+)$", text, re.MULTILINE)
        assert len(found) == 1
        assert len(found[0]) >= 12
        token = gateway.token(password=found[0])
        with gateway.socket(token) as talk:
            assert talk("user/getCurrent")["current"]["id"] == 1
        assert found[0] not in json.dumps(gateway.log)
        assert gateway.stop() == 0
    with RunningGateway(data, env=nothing_set) as gateway:
        gateway.token(password=found[0])
        with gateway.socket(token) as talk:  # the signing secret was kept too
            assert talk("user/getCurrent")["current"]["login"] == "admin"
        assert welcome(gateway) == "", "only on a terminal"
    assert gateway.events("started")[0]["administrator"] == "admin"


def test_a_set_password_counts_at_the_first_start_only(data: Path) -> None:
    """HIVEWIRE_ADMIN_PASSWORD makes the first administrator; later it changes nothing, and it is never printed."""
    with RunningGateway(data) as gateway:
        gateway.token()
        assert PASSWORD not in welcome(gateway)
    with RunningGateway(data, env={"HIVEWIRE_ADMIN_PASSWORD": "another password"}) as gateway:
        gateway.token()
        answer = httpx.post(gateway.rest_url + "/token", json={"login": "admin", "password": "another password"})
        assert answer.status_code == 401


def test_a_start_and_a_stop_are_one_line_each(data: Path) -> None:
    """The log tells address, file, number of configurations and version at the start, and the revision at the stop."""
    with RunningGateway(data) as gateway:
        with gateway.socket() as talk:
            revision = talk("configuration/put", name="a", value="1")["revision"]
        assert gateway.stop() == 0
        assert gateway.noise == []
        assert gateway.events("stopped")[0]["revision"] >= revision
    with RunningGateway(data) as gateway:
        (started,) = gateway.events("started")
        assert started["data"] == str(data)
        assert started["configurations"] == 1
        assert started["version"]
        assert started["level"] == "info"
        assert gateway.stop() == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o600])
def test_a_data_file_that_others_can_open_causes_a_warning(data: Path, mode: int) -> None:
    """Each start warns and names the remedy; the permissions stay."""
    with RunningGateway(data) as gateway:
        assert gateway.stop() == 0
        assert not [line for line in gateway.log if line["level"] == "warning"]
    data.chmod(mode)
    with RunningGateway(data) as gateway:
        warnings = [line for line in gateway.log if line["level"] == "warning"]
        assert data.stat().st_mode & 0o777 == mode
        if mode == 0o600:
            assert not warnings
        else:
            (warning,) = warnings
            assert warning["event"] == "other users can open the data file, which holds secrets"
            assert (warning["mode"], warning["remedy"]) == (f"{mode:04o}", f"chmod 600 {data}")


@pytest.mark.parametrize(
    ("secret", "mode", "warned"),
    [(False, 0o644, False), (True, 0o644, True), (True, 0o640, True), (True, 0o600, False)],
)
def test_a_settings_file_with_secrets_that_others_can_read_causes_a_warning(
    data: Path, secret: bool, mode: int, warned: bool
) -> None:
    """The start names the remedy; without a secret in the file there is nothing to hide."""
    file = data.with_name("settings.toml")
    file.write_text('api_key = "a key of the settings file"' if secret else "name_length = 64")
    file.chmod(mode)
    with RunningGateway(data, env={"HIVEWIRE_CONFIG": str(file)}) as gateway:
        found = gateway.events("other users can read the settings file, which holds secrets")
        assert [line["remedy"] for line in found] == [f"chmod 600 {file}"] * warned


def test_a_terminal_shows_a_command_with_an_address_that_a_client_can_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the gateway listens on all of them."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _welcome(Started("http://0.0.0.0:8080", "x.db", "admin", None, 0))
    shown = capsys.readouterr().out
    assert "login --url http://127.0.0.1:8080 --login admin" in shown
    assert re.search(r"^Administrator +admin$", shown, re.MULTILINE)


def test_plain_http_on_all_interfaces_causes_a_warning(data: Path, certificate: tuple[Path, Path]) -> None:
    """Once, at the start, and not with TLS."""
    event = "plain HTTP on all interfaces: passwords and tokens can be read on the way"
    with RunningGateway(data, "--host=0.0.0.0") as gateway:
        assert [line["level"] for line in gateway.events(event)] == ["warning"]
    tls = (f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}")
    with RunningGateway(data, "--host=0.0.0.0", *tls) as gateway:
        assert not gateway.events(event)


@pytest.mark.parametrize("expired", [False, True])
def test_a_certificate_that_has_expired_causes_a_warning(
    data: Path, certificate: tuple[Path, Path], expired: bool
) -> None:
    """It is served, because some clients do not mind; the others say no more than that they cannot connect."""
    chain, key = certificate
    if expired:
        content = ssl.PEM_cert_to_DER_cert(chain.read_text())
        [end] = server.VALIDITY.findall(content)
        chain = data.with_name("expired.pem")
        chain.write_text(ssl.DER_cert_to_PEM_cert(content.replace(end, b"200131000000")))
    with RunningGateway(data, f"--tls-certificate={chain}", f"--tls-key={key}") as gateway:
        found = gateway.events("the TLS certificate has expired")
        told = [(line["level"], line["file"], line["expires"]) for line in found]
        assert told == [("warning", str(chain), "2020-01-31T00:00:00")] * expired
        assert httpx.get(gateway.url + "/health/live", verify=False).status_code == 200


async def ask_over_tls(url: str, trust: ssl.SSLContext, headers: dict[str, str], **request: str) -> Any:
    """The answer to one request. In one thread: the blocking client reads in another one, and on some versions of
    Python a TLS connection that two threads use at a time hangs now and then."""
    async with connect_async(url, ssl=trust, additional_headers=headers) as socket:
        await socket.send(json.dumps(request))
        return json.loads(await socket.recv())


def test_tls_from_end_to_end(data: Path, certificate: tuple[Path, Path]) -> None:
    """With a certificate, HTTPS and WSS work, for the command line too, and plain HTTP does not."""
    chain, key = certificate
    trust = ssl.create_default_context(cafile=str(chain))
    with RunningGateway(data, "--tls-certificate", str(chain), "--tls-key", str(key)) as gateway:
        assert gateway.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=gateway.rest_url, verify=trust) as http:
            answer = http.post("/token", json={"login": "admin", "password": PASSWORD})
            http.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
            assert http.put("/configuration/a", json={"value": "secure"}).status_code == 200
            headers = {"Authorization": http.headers["Authorization"]}
            got = asyncio.run(ask_over_tls(gateway.socket_url, trust, headers, action="configuration/get", name="a"))
            assert got["configuration"]["value"] == "secure"
            told = {"HIVEWIRE_URL": gateway.url, "HIVEWIRE_TOKEN": headers["Authorization"].removeprefix("Bearer ")}
            assert hivewire("get", "a", **told, SSL_CERT_FILE=str(chain)).stdout == "secure"
            assert "certificate" in hivewire("get", "a", **told).stderr
        with pytest.raises(httpx.HTTPError):
            httpx.get(gateway.url.replace("https", "http", 1) + "/health/live")
        assert gateway.stop() == 0
        assert gateway.noise == []


def client_hello(version: int) -> bytes:
    """The first flight of a client that knows no newer version, by hand: today's libraries send nothing older."""
    suites = bytes.fromhex("c02b c02f c009 c013 c00a c014 002f 0035")  # for ECDSA and RSA, from TLS 1.2 back to SSL 3.0
    groups, points = "000a 0004 0002 0017", "000b 0002 0100"  # P-256, uncompressed
    signatures = "000d 000a 0008 0403 0401 0203 0201"  # ECDSA and RSA, with SHA-256 and SHA-1
    extensions = bytes.fromhex(groups + points + signatures)
    body = version.to_bytes(2) + bytes(32) + b"\0" + len(suites).to_bytes(2) + suites + b"\1\0"
    body += len(extensions).to_bytes(2) + extensions
    return b"\x16\x03\x01" + (len(body) + 4).to_bytes(2) + b"\x01" + len(body).to_bytes(3) + body


def test_tls_older_than_1_2_is_refused(data: Path, certificate: tuple[Path, Path]) -> None:
    """A client that knows only SSL 3.0, TLS 1.0 or 1.1 gets no handshake; 1.2 and 1.3 work."""
    chain, key = certificate
    with RunningGateway(data, "--tls-certificate", str(chain), "--tls-key", str(key)) as gateway:
        for version in (0x0300, 0x0301, 0x0302, 0x0303):
            with dial(gateway) as wire:
                wire.send(client_hello(version))
                if version == 0x0303:
                    assert wire.read(6)[::5] == b"\x16\x02", "a handshake record with the server's hello"
                else:
                    assert wire.ended(), f"{version:#x}"
        for known in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trust = ssl.create_default_context(cafile=str(chain))
            trust.minimum_version = trust.maximum_version = known
            assert httpx.get(gateway.url + "/health/live", verify=trust).status_code == 200


# Settings.


def test_check_shows_every_setting_and_where_it_comes_from(tmp_path: Path) -> None:
    """`serve --check` prints what is effective and from where, hides secrets, and makes no file."""
    file = tmp_path / "hivewire.toml"
    file.write_text(
        'port = 9001\nhost = "0.0.0.0"\nname_length = 40\njwt_secret = "a secret secret, long enough to sign"\n'
    )
    found = hivewire(
        "serve",
        "--check",
        "--config",
        file,
        "--port",
        "9003",
        HIVEWIRE_PORT="9002",
        HIVEWIRE_HOST="127.0.0.2",
        HIVEWIRE_ADMIN_PASSWORD="not to be seen",
    )
    assert (found.returncode, found.stderr) == (0, "")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in found.stdout.splitlines()[1:] if line.strip()}
    assert rows["port"] == "9003 --port"
    assert rows["host"] == "127.0.0.2 HIVEWIRE_HOST"
    assert rows["name_length"].startswith("40 ")
    assert rows["data"] == "hivewire.db default"
    assert rows["jwt_secret"].startswith("********")
    assert rows["admin_password"] == "******** HIVEWIRE_ADMIN_PASSWORD"
    assert "secret secret" not in found.stdout
    assert "not to be seen" not in found.stdout
    assert os.listdir(tmp_path) == ["hivewire.toml"]
    missing = tmp_path / "missing.pem"
    fails(hivewire("serve", "--check", HIVEWIRE_JWT_SECRET="short"), "32 bytes", code=2)
    fails(hivewire("serve", "--check", "--tls-certificate", missing, "--tls-key", missing), str(missing), code=2)


def test_a_misspelt_setting_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    """A wrong name in the file, the environment or a flag ends in one line with the right one."""
    file = tmp_path / "hivewire.toml"
    file.write_text("name_lenght = 3\n")
    fails(hivewire("serve", "--check", "--config", file), "'name_lenght'", "'name_length'", str(file), code=2)
    fails(hivewire("serve", "--check", HIVEWIRE_PROT="1"), "HIVEWIRE_PROT", "HIVEWIRE_PORT", code=2)
    fails(hivewire("serve", "--check", "--prot", "1"), "--prot", "--port", code=2)
    fails(hivewire("serve", "--check", "--port", "many"), "port", "'many'", code=2)
    fails(hivewire("serve", "--jwt-secret", "x" * 40), "--jwt-secret", code=2)


# Backup.


def test_a_backup_of_a_running_gateway_can_be_restored(data: Path, tmp_path: Path) -> None:
    """`hivewire backup` copies while the gateway works; what `hivewire restore` puts back has it all, with logins."""
    copy = tmp_path / "copies" / "now.db"
    copy.parent.mkdir()
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        for frame in put_frames(200):
            talk.raw(frame)
        found = hivewire("backup", "--data", data, copy)
        assert (found.returncode, found.stderr.strip()) == (0, "")
        assert str(copy) in found.stdout
        assert copy.stat().st_mode & 0o777 == 0o600
        again = hivewire("backup", "--data", data, copy)
        fails(again, f"{copy} exists already")
        later = talk("configuration/put", name="later", value="not in the copy")
        assert later["status"] == "success"
        before = versions(gateway)
        assert gateway.stop() == 0
    assert sorted(os.listdir(copy.parent)) == ["now.db", "now.db.messages"]
    found = hivewire("restore", "--data", data, copy)
    assert (found.returncode, found.stderr.strip()) == (0, "")
    assert "The previous data file is now" in found.stdout
    with RunningGateway(data) as restored:
        del before["later"]
        assert versions(restored) == before
        with restored.socket() as talk:
            put = talk("configuration/put", name="burst.0", value="goes on", entityVersion=2)
            assert put["configuration"]["entityVersion"] == 3
        assert restored.stop() == 0
    fails(hivewire("backup", "--data", tmp_path / "none.db", tmp_path / "copy.db"), "there is no data file")


def test_file_operations_after_a_kill_are_reported(data: Path, tmp_path: Path) -> None:
    """Killed, a backup copied over the file: the backup is served, clients get its state, and the log names the stale
    WAL. Killed again, and moved without its WAL: refused with a reason, and served with --accept-loss."""
    copy, moved = tmp_path / "copy.db", tmp_path / "moved.db"
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        assert talk("configuration/put", name="a", value="old")["status"] == "success"
        assert hivewire("backup", "--data", data, copy).returncode == 0
        assert talk("configuration/put", name="a", value="new")["status"] == "success"
        position = talk("configuration/subscribe", snapshot=False)["position"]
        gateway.stop(signal.SIGKILL)
    shutil.copy(copy, data)
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        assert talk("configuration/get", name="a")["configuration"]["value"] == "old"
        assert talk("configuration/subscribe", since=position)["mode"] == "reset"
        [told] = gateway.events("a file that does not belong to the data file was renamed")
        assert Path(told["now"]).stat().st_size > 0
        [told] = gateway.events(
            "the data file has changed since it was last served; clients that follow changes get the whole state"
        )
        gateway.stop(signal.SIGKILL)
    data.rename(moved)
    fails(hivewire("serve", "--port", "0", "--data", moved), "moved.db-wal, which is missing", "--accept-loss", code=2)
    with RunningGateway(moved, "--accept-loss") as gateway, gateway.socket() as talk:
        assert talk("configuration/get", name="a")["configuration"]["value"] == "old"
        [told] = gateway.events("there is no file of messages; a new one is created")
        assert told["file"] == f"{moved}.messages"
