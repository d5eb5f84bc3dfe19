"""`hivewire import --from`: what other programs write is read as they meant it, and what cannot be is named."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench.nodes import steady_port
from bench.processes import Process
from hypothesis import given
from hypothesis import strategies as st

from hivewire.cli.export_format import BadFile, ImportEntry, checked
from hivewire.cli.import_formats import FORMATS, PAGE, read
from hivewire_protocol.nouns.configuration import TEXT
from tests.command import Run
from tests.running import RunningGateway, Talk

JSON = "application/json"

KEYS = {"/app/limits/max": b"42", "/app/name": "Zürich".encode()}

DOTENV = """\
# Where it listens
export HOST=example.com
PORT=8080 # the usual one
URL="http://${HOST}:${PORT}"
TEXT="two
lines"
RAW='a # b'
PORT=9090
"""

TOML = """\
title = "Zürich"
started = 2026-03-01T09:30:00Z
[limits]
max = 42
ratio = 0.5
on = true
[limits."per.user"]
names = ["a", "b"]
empty = {}
"""

YAML = """\
title: Zürich
started: 2026-03-01
limits: &limits
  max: 42
  ratio: 1e3
  on: yes
copy: {<<: *limits, max: 012}
opens: 12:30
list: [{a: 1}, b]
7: seven
"""


def base64_of(text: bytes) -> str:
    return base64.b64encode(text).decode()


def etcd_output(keys: dict[str, bytes]) -> bytes:
    """What `etcdctl get --prefix KEY -w json` of etcd 3.4 prints."""
    kvs = [{"key": base64_of(key.encode()), "version": 1, "value": base64_of(value)} for key, value in keys.items()]
    return json.dumps({"header": {"cluster_id": 14841639068965178418, "revision": 4}, "kvs": kvs, "count": 2}).encode()


def consul_output(keys: dict[str, bytes]) -> bytes:
    """What `consul kv export` prints."""
    return json.dumps([{"key": key, "flags": 0, "value": base64_of(value)} for key, value in keys.items()]).encode()


@pytest.mark.parametrize(
    ("form", "data", "expected"),
    [
        ("etcd", etcd_output(KEYS), {"/app/limits/max": "42", "/app/name": "Zürich"}),
        ("consul", consul_output({"app/": b"", **KEYS}), {"/app/limits/max": "42", "/app/name": "Zürich"}),
        ("env", b"A=1\nB=x=y\n", {"A": "1", "B": "x=y"}),
        ("env", b"A=two\nlines\0B=x=y\0", {"A": "two\nlines", "B": "x=y"}),
        ("env", b"", {}),
        (
            "dotenv",
            DOTENV.encode(),
            {
                "HOST": "example.com",
                "PORT": "9090",
                "URL": "http://example.com:8080",
                "TEXT": "two\nlines",
                "RAW": "a # b",
            },
        ),
        ("dotenv", b"A=${HOME}/a:${NOT_SET:-b}\nHOME=c\nB=${HOME}", {"A": "${HOME}/a:b", "HOME": "c", "B": "c"}),
        (
            "toml",
            TOML.encode(),
            {
                "title": "Zürich",
                "started": "2026-03-01T09:30:00+00:00",
                "limits.max": ("42", JSON),
                "limits.ratio": ("0.5", JSON),
                "limits.on": ("true", JSON),
                "limits.per.user.names": ('["a", "b"]', JSON),
                "limits.per.user.empty": ("{}", JSON),
            },
        ),
        (
            "yaml",
            YAML.encode(),
            {
                "title": "Zürich",
                "started": "2026-03-01",
                "limits.max": ("42", JSON),
                "limits.ratio": ("1000.0", JSON),
                "limits.on": "yes",
                "copy.max": "012",
                "copy.ratio": ("1000.0", JSON),
                "copy.on": "yes",
                "opens": "12:30",
                "list": ('[{"a": 1}, "b"]', JSON),
                "7": "seven",
            },
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_is_read_as_its_program_means_it(
    form: str, data: bytes, expected: dict[str, str | tuple[str, str]]
) -> None:
    """Text stays as it is, numbers and lists are JSON, and tables become parts of names."""
    wanted = [
        ImportEntry(name, *(value if isinstance(value, tuple) else (value, TEXT))) for name, value in expected.items()
    ]
    assert sorted(checked(read(form, data, "the file", {}), "the file")) == sorted(wanted)


@pytest.mark.parametrize(
    ("form", "data", "problem"),
    [
        ("etcd", b"[]", "Expected `object`, got `array`"),
        ("etcd", b'{"header":{"revision":1},"kvs":[{"key":"/w=="}]}', "is not UTF-8 text"),
        ("consul", b"{}", "Expected `array`, got `object`"),
        ("env", b"A=1\nno equals\n", "line 2 is not NAME=VALUE"),
        ("dotenv", b"A=1\n'\n", "line 2 is not NAME=VALUE"),
        ("dotenv", b"A=\xff", "is not UTF-8 text"),
        ("toml", b"a = ", "Invalid value (at end of document)"),
        ("toml", b"a = [nan]", "not JSON compliant"),
        ("yaml", b"- a", "its top level is not a mapping"),
        ("yaml", b"a: [1", "line 1, column 6"),
        ("yaml", b"a: 1\n---\nb: 2", "expected a single document"),
        ("yaml", b"a: [!!set {b, c}]", "a set cannot be written as JSON"),
        ("yaml", b"{a: " * 5_000, "is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(form: str, data: bytes, problem: str) -> None:
    """The error names the file."""
    with pytest.raises(BadFile, match=r"^settings ") as raised:
        read(form, data, "settings", {})
    assert problem in str(raised.value)


@given(form=st.sampled_from([*FORMATS]), data=st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(form: str, data: bytes) -> None:
    """Nothing else is raised."""
    try:
        entries = read(form, data, "the file", {})
    except BadFile:
        return
    assert all(isinstance(entry["name"], str) for entry in entries)


@given(keys=st.dictionaries(st.text(min_size=1).filter(lambda key: key[-1] != "/"), st.binary(min_size=1)))
def test_all_keys_of_etcd_and_consul_are_read(keys: dict[str, bytes]) -> None:
    """Each with its value, or without one if that is no text."""
    for form, output in (("etcd", etcd_output(keys)), ("consul", consul_output(keys))):
        found = {entry["name"]: entry["value"] for entry in read(form, output, "the file", {})}
        assert {name: value for name, value in found.items() if value is not None} == {
            name: value.decode() for name, value in keys.items() if not _is_binary(value)
        }
        assert [*found] == [*keys]


def _is_binary(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


def test_only_names_that_are_mapped_are_imported_under_their_new_names(logged_in: Run, talk: Talk) -> None:
    """The first option that fits counts; a dry run shows the names that would be written."""
    told = logged_in(
        *("import", "-", "--from", "env", "--map", "APP_DB_=mapped.db.", "--map", "APP_=mapped.", "--dry-run"),
        stdin=b"APP_DB_HOST=h\0APP_PORT=1\0PATH=/bin\0",
    )
    assert (told.code, told.err) == (0, "would be 2 created, 0 updated, 0 unchanged\n")
    assert told.out == "create mapped.db.HOST: h\ncreate mapped.PORT: 1\n"
    assert talk("configuration/get", name="mapped.PORT")["error"]


def test_what_was_imported_is_there_with_its_type(logged_in: Run, talk: Talk, tmp_path: Path) -> None:
    """A second import of the same file finds everything unchanged."""
    (tmp_path / "settings.toml").write_text(TOML)
    command = ("import", str(tmp_path / "settings.toml"), "--from", "toml", "--map", "limits.=typed.")
    assert logged_in(*command).err == "5 created, 0 updated, 0 unchanged\n"
    found = talk("configuration/get", name="typed.max")["configuration"]
    assert (found["value"], found["contentType"]) == ("42", JSON)
    assert logged_in(*command).err == "0 created, 0 updated, 5 unchanged\n"


def test_values_that_are_empty_or_binary_are_refused_or_left_out(logged_in: Run) -> None:
    """Nothing is imported unless the user says so."""
    output = etcd_output({"left.empty": b"", "left.binary": b"\xff", "left.good": b"1"})
    command = ("import", "-", "--from", "etcd")
    told = logged_in(*command, stdin=output)
    assert told.code == 2
    assert "entries[0] 'left.empty': the value is empty" in told.err
    assert "entries[1] 'left.binary': the value is not text" in told.err
    told = logged_in(*command, "--skip-binary", stdin=output)
    assert (told.code, told.err.splitlines()) == (
        0,
        [
            "hivewire: warning: left out, because they are empty or not text: left.empty, left.binary",
            "1 created, 0 updated, 0 unchanged",
        ],
    )


def test_names_that_become_equal_are_refused(logged_in: Run) -> None:
    """As in an export."""
    told = logged_in("import", "-", "--from", "toml", stdin=b'"a.b" = "1"\n[a]\nb = "2"\n')
    assert told.code == 2
    assert "entries[1] 'a.b': the same name as entries[0]" in told.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-", "--map", "a=b"), "an address need --from"),
        (("-", "--skip-binary"), "an address need --from"),
        (("http://127.0.0.1:1",), "an address need --from"),
        (("http://127.0.0.1:1", "--from", "consul"), "only etcd is read from its address"),
        (("-", "--from", "env", "--map", "a"), "--map wants OLD=NEW"),
    ],
)
def test_options_that_do_not_fit_are_refused(logged_in: Run, arguments: tuple[str, ...], problem: str) -> None:
    """Before anything is read."""
    told = logged_in("import", *arguments)
    assert told.code == 2
    assert problem in told.err


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[str]:
    """The address of an etcd."""
    if (program := shutil.which("etcd")) is None:
        pytest.skip("no `etcd` here: it is the Debian package etcd-server")
    address, peer = (f"http://127.0.0.1:{steady_port()}" for _ in range(2))
    command = [program, "--data-dir", str(tmp_path / "etcd"), "--listen-client-urls", address]
    command += ["--advertise-client-urls", address, "--listen-peer-urls", peer]
    command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    process = Process("etcd", command, tmp_path / "etcd.log", health=f"{address}/health")
    process.start()
    try:
        process.wait_until_ready()
        yield address
    finally:
        process.kill()


def test_all_keys_of_a_running_etcd_are_imported(logged_in: Run, talk: Talk, etcd: str) -> None:
    """However many pages they take."""
    puts = [
        {"requestPut": {"key": base64_of(b"/etcd/%05d" % number), "value": base64_of(b"%d" % number)}}
        for number in range(PAGE + 5)
    ]
    for begin in range(0, len(puts), 100):
        answer = httpx.post(f"{etcd}/v3/kv/txn", json={"success": puts[begin : begin + 100]})
        assert answer.json()["succeeded"], answer.text
    told = logged_in("import", etcd, "--from", "etcd", "--map", "/etcd/=etcd.")
    assert told.err == f"{PAGE + 5:,} created, 0 updated, 0 unchanged\n"
    assert talk("configuration/get", name=f"etcd.{PAGE + 4:05d}")["configuration"]["value"] == str(PAGE + 4)


@pytest.mark.skipif(shutil.which("etcdctl") is None, reason="no `etcdctl` here: it is the Debian package etcd-client")
def test_the_output_of_etcdctl_is_imported(logged_in: Run, etcd: str) -> None:
    """As it comes through a pipe."""
    command = [str(shutil.which("etcdctl")), "--endpoints", etcd]
    for name, value in {"ctl.a": "1", "ctl.b": "2"}.items():
        subprocess.run([*command, "put", name, value], env={"ETCDCTL_API": "3"}, check=True, capture_output=True)
    output = subprocess.run(
        [*command, "get", "--prefix", "ctl.", "-w", "json"], env={"ETCDCTL_API": "3"}, check=True, capture_output=True
    ).stdout
    assert logged_in("import", "-", "--from", "etcd", stdin=output).err == "2 created, 0 updated, 0 unchanged\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"header": {"revision": "7"}, "kvs": [{"key": "YQ==", "value": "MQ=="}], "more": True}, "do not go on"),
        ({"header": {"revision": "7"}, "more": True}, "do not go on"),
        ('{"x":' + "[" * 100_000, "does not answer as etcd does"),
    ],
)
def test_a_server_whose_pages_do_not_go_on_is_no_etcd(logged_in: Run, answer: Any, words: str) -> None:
    """Pages that repeat themselves are not asked for without end."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        told = logged_in("import", f"http://127.0.0.1:{server.server_address[1]}", "--from", "etcd")
        server.shutdown()
        thread.join()
    assert (told.code, words in told.err) == (3, True), told.err


@pytest.mark.parametrize("host", ["a..b", "x\u202e"])
def test_what_is_no_name_of_a_host_is_no_etcd(logged_in: Run, host: str) -> None:
    """As any other server that is not there."""
    told = logged_in("import", f"http://{host}", "--from", "etcd")
    assert (told.code, "does not answer as etcd does" in told.err) == (3, True), told.err


def test_an_etcd_that_is_not_there_is_not_reached(logged_in: Run) -> None:
    """Nothing was answered, so nothing is said of logins."""
    told = logged_in("import", "http://127.0.0.1:1/", "--from", "etcd")
    assert (told.code, told.err) == (
        3,
        "hivewire: error: cannot reach an etcd at http://127.0.0.1:1/: Connection refused\n",
    )


def test_what_refuses_to_answer_as_etcd_is_named(logged_in: Run, shared_gateway: RunningGateway) -> None:
    """With what helps where etcd wants a login, or a certificate."""
    told = logged_in("import", shared_gateway.url, "--from", "etcd")
    assert told.code == 3
    assert f"{shared_gateway.url}/v3/kv/range answers with HTTP 404; if it wants a login" in told.err
    assert "etcdctl get" in told.err
