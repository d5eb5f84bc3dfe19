"""A short run of `make bench-peers`, of the stores that are here, and what keeps its page true."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import pytest
from bench import generator, watchers
from bench.peers import PEERS, compare, growth, peer, report
from bench.peers.etcd import DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, EtcdClient, call, field, frame
from bench.peers.nats import NatsClient
from bench.peers.peer import VALUE, Client
from bench.peers.pocketbase import PocketBaseClient, StreamClient, record_id
from bench.peers.redis import RedisClient
from bench.watchers import Turn, Watcher


@pytest.mark.parametrize("part", ["peers", "growth"])
def test_the_short_form_measures_every_store_that_is_here(part: str) -> None:
    """Servers start, every answer of theirs is checked, and each work has its figures; the others are named."""
    found = subprocess.run(
        [sys.executable, "-m", "bench.peers", "--quick", "--only", part], capture_output=True, text=True, timeout=55
    )
    assert found.returncode == 0, found.stdout + found.stderr
    for kind in PEERS.values():
        absent = f"{kind.name} is left out: no `{kind.program}` was found"
        assert (absent in found.stdout) == (kind().find() is None), found.stdout
    if part == "growth":
        assert "entries" in found.stdout
        return
    measured = [line for line in found.stdout.splitlines() if "%" in line or line.startswith("KiB")]
    works = [
        work for work in compare.AIMS for store in compare.present().values() if work in ("put", "get") or store.watched
    ]
    assert len(measured) == len(works), found.stdout


def test_the_page_shows_the_run_that_is_kept() -> None:
    """docs/benchmarks.md and its plot are what docs/benchmark-peers.json says."""
    run = json.loads(report.RESULTS.read_text())
    page = report.PAGE.read_text()
    assert page == report.up_to_date(page, run), "run `python -m bench.peers.report`"
    assert report.PLOT.read_text() == report.plot(run), "run `python -m bench.peers.report`"


def point(count: int, put: float, memory: float) -> dict[str, Any]:
    """What was measured at one size."""
    return {"count": count, "put": put, "get": 9.0, "values": {"put": [put, put], "get": [9.0, 9.0]}, "memory": memory}


def test_growth_is_the_largest_against_the_smallest_and_one_more_against_one_more() -> None:
    """Rates by round, and memory by what each step cost for each."""
    rows = growth.rows({"entries": [point(16, 8.0, 1.0), point(32, 7.0, 2.0), point(64, 6.0, 5.0)]})
    found = {row.name: (row.value, row.met) for row in rows}
    assert found == {
        "put, from 16 to 64 entries": (0.75, False),
        "get, from 16 to 64 entries": (1.0, True),
        "KiB for each of 16 to 64 entries, at the end": (96.0, None),
        "that / KiB for each, entries, a step before": (1.5, False),
    }


def test_a_ratio_says_how_many_times_better_round_by_round() -> None:
    """More is better for rates, less for times and memory; who is not here has no row."""
    figures = {work: {"hivewire": {"values": [2.0, 4.0]}, "etcd": {"values": [1.0, 1.0]}} for work in compare.AIMS}
    rows = {row.name: (row.value, row.met) for row in compare.ratios(figures, {"etcd": "etcd"})}
    assert rows == {
        "put: Hivewire / etcd": (3.0, False),
        "fan: etcd / Hivewire": (0.375, False),
        "memory: etcd / Hivewire": (0.375, False),
    }


# The clients: what a store answers is counted once, however it is cut, and nothing else passes for an answer.


CLIENTS: tuple[type[Client], ...] = (NatsClient, RedisClient, PocketBaseClient, EtcdClient)


class Unexpected(Exception):
    """What a client ends its process with, elsewhere."""


@pytest.fixture(autouse=True)
def _raised_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise Unexpected(data)

    for module in {generator, watchers, peer, *(sys.modules[kind.__module__] for kind in CLIENTS)}:
        monkeypatch.setattr(module, "fail", fail)


class Wire:
    """Where a client writes."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def made(kind: type[Client], work: str, requests: list[bytes], turn: Turn | None = None) -> tuple[Client, Wire]:
    """A client that is connected to a wire."""
    client, wire = kind(argparse.Namespace(work=work), 7, requests, turn), Wire()
    client.connection_made(wire)
    return client, wire


MESSAGE = b"\0" + (len(VALUE) + 2).to_bytes(4, "big") + field(5, VALUE)
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5a\r\nid:x\nevent:PB_CONNECT\n"
HTTP = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{"value":"%b"}' % VALUE
PUSH = b'event:bench/x\ndata:{"record":{"value":"v"},"action":"update"}\n\n\r\n'
ANSWERS = {
    "nats put": (
        NatsClient,
        "put",
        b'INFO {}\r\nPONG\r\nMSG in.7.r 1 30\r\n{"stream":"KV_bench","seq":12}\r\nPING\r\n',
    ),
    "nats get": (NatsClient, "get", b"PONG\r\nHMSG in.7.r 1 28 48\r\nNATS/1.0\r\nNats-Seq: 1234\r\n\r\n%b\r\n" % VALUE),
    "nats push": (
        NatsClient,
        "fan",
        b"PONG\r\nHMSG push.7 2 17 17\r\nNATS/1.0 100 \r\n\r\n\r\n"
        b"MSG $KV.bench.fan.1 2 %d\r\n%b\r\n" % (len(VALUE), VALUE),
    ),
    "redis put": (RedisClient, "put", b"+OK\r\n"),
    "redis get": (RedisClient, "get", b"$20\r\n%b\r\n" % VALUE),
    "pocketbase": (PocketBaseClient, "put", HTTP),
    "pocketbase push": (StreamClient, "fan", STREAM + b'data:{"clientId":"abc"}\n\n\r\n' + PUSH),
    "etcd": (
        EtcdClient,
        "get",
        frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS, 1, b"\x88")
        + frame(DATA, 0, 1, MESSAGE)
        + frame(PING, 0, 0, b"12345678")
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0"),
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_counts_once_however_it_is_cut(case: str) -> None:
    """The bytes of one answer, in two pieces at every place, are one answer."""
    kind, work, data = ANSWERS[case]
    for cut in range(len(data)):
        client, _ = made(kind, work, [call("KV/Range", b"")] if kind is EtcdClient else [])
        for part in (data[:cut], data[cut:]):
            client.data_received(part)
        assert (client.answers, client.ready.done()) == (1, True), cut


ERRORS: dict[str, tuple[type[Client], str, bytes]] = {
    "nats": (NatsClient, "put", b'MSG in.7.r 1 39\r\n{"error":{"code":503},"stream":"KV_be"}\r\n'),
    "nats made no consumer": (NatsClient, "fan", b'MSG in.7.c 1 36\r\n{"type":"create","error":{"code":1}}\r\n'),
    "nats without a value": (NatsClient, "get", b"HMSG in.7.r 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n"),
    "nats said no": (NatsClient, "put", b"-ERR 'no'\r\n"),
    "redis": (RedisClient, "put", b"-MISCONF no disk\r\n"),
    "redis without a value": (RedisClient, "get", b"$-1\r\n"),
    "pocketbase": (PocketBaseClient, "put", HTTP.replace(b"200 OK", b"400 Bad Request")),
    "pocketbase without the value": (PocketBaseClient, "get", HTTP.replace(b"v" * 20, b"w" * 20)),
    "etcd": (EtcdClient, "put", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0")),
    "etcd without the value": (EtcdClient, "get", frame(DATA, 0, 1, b"\0\0\0\0\0")),
    "etcd reset": (EtcdClient, "put", frame(3, 0, 1, b"\0\0\0\2")),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_what_is_no_answer_ends_the_run(case: str) -> None:
    """An error, or a get without the value, is not counted."""
    kind, work, data = ERRORS[case]
    client, _ = made(kind, work, [call("KV/Put", b"")] if kind is EtcdClient else [])
    with pytest.raises(Unexpected):
        client.data_received(data)


# Hivewire's own connections.


def text_frame(text: bytes) -> bytes:
    """A server's text frame."""
    assert 126 <= len(text) < 1 << 16
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


CHANGED = text_frame(
    b'{"action":"configuration/update","subscriptionId":1,"position":"0123456789abcdef-12","revision":12,'
    b'"operation":"put","configuration":{"name":"fan.1","value":"%b","entityVersion":2}}' % VALUE
)
MARKED = text_frame(
    b'{"action":"configuration/bookmark","subscriptionId":1,"position":"0123456789abcdef-13"}'.ljust(130)
)
FETCHED = text_frame(
    b'{"action":"configuration/get","requestId":12345,"status":"success","configuration":'
    b'{"name":"bench.1.1","value":"%b","entityVersion":1},"revision":12}' % VALUE
)
OPEN = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


async def test_a_bookmark_is_nothing_that_is_waited_for() -> None:
    """However the frames are cut, a watcher counts its updates alone; bookmarks come whenever it is idle for long."""
    data = MARKED + CHANGED + MARKED + MARKED + CHANGED + MARKED
    for cut in range(len(data)):
        turn = Turn()
        done = turn.expect(2)
        watcher = Watcher(argparse.Namespace(path="/", token=""), turn)
        watcher.connection_made(Wire())
        for part in (OPEN, data[:cut], data[cut:]):
            watcher.data_received(part)
        assert (turn.left, done.done()) == (0, True), cut


async def test_an_answer_of_hivewire_has_the_value_in_it() -> None:
    """A get counts with its value and ends the run without it, and so does a push."""
    getter = generator.Connection("/", None, [], generator.proof("get"))
    watcher = Watcher(argparse.Namespace(path="/", token=""), Turn())
    for connection in (getter, watcher):
        connection.connection_made(Wire())
        connection.data_received(OPEN)
    getter.data_received(FETCHED * 2)
    assert getter.answers == 2
    for connection, frames in ((getter, FETCHED), (watcher, CHANGED)):
        with pytest.raises(Unexpected):
            connection.data_received(frames.replace(VALUE, b"w" * len(VALUE)))


async def test_the_next_request_goes_out_with_each_answer() -> None:
    """One stays in flight, in turn; etcd's have each the next odd number."""
    client, wire = made(RedisClient, "put", [b"a", b"b"])
    client.send(1)
    client.data_received(b"+OK\r\n" * 2)
    assert wire.written == b"aba"
    client, wire = made(EtcdClient, "put", [call("KV/Put", field(1, b"name"))])
    wire.written = b""
    client.send(2)
    first, second = wire.written[: len(wire.written) // 2], wire.written[len(wire.written) // 2 :]
    assert first == call("KV/Put", field(1, b"name"))
    assert second == first.replace(b"\0\0\0\1", b"\0\0\0\3")


def test_a_record_of_pocketbase_has_an_id_of_15() -> None:
    """Different names, different ids."""
    names = ["fan.1", "bench.1.12", "bench.11.2", "bench.49.19"]
    ids = {record_id(name) for name in names}
    assert len(ids) == len(names)
    assert all(len(each) == 15 and each.isalnum() for each in ids)
