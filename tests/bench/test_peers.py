"""A short run of `make bench-peers`, of the stores that are here, and what keeps its page true."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import pytest
from bench.peers import BROKERS, PEERS, __main__, compare, growth, messaging, peer, report
from bench.peers.brokers import JetStreamClient
from bench.peers.etcd import DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, EtcdClient, call, field, frame
from bench.peers.mosquitto import ACKNOWLEDGED, CONNECTED, PUBLISH, MqttClient, packet, text
from bench.peers.nats import NatsClient
from bench.peers.peer import VALUE, Client
from bench.peers.pocketbase import PocketBaseClient, StreamClient, record_id
from bench.peers.redis import RedisClient
from bench.watchers import Latch, Watcher

from bench import generator, watchers


def short(part: str) -> str:
    """The output of a short run."""
    command = [sys.executable, "-m", "bench.peers", "--quick", "--only", part]
    found = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def compared() -> str:
    """A short run of all stores that are here."""
    return short("peers")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", PEERS)
def test_the_short_form_measures_a_store_that_is_here(program: str, compared: str) -> None:
    """Its server starts, every answer of it is checked, and each work has its figure; one that is not here is named."""
    kind = PEERS[program]
    absent = f"{kind.name} is left out: no `{program}` was found"
    if kind().find() is None:
        assert absent in compared
        pytest.skip(f"no `{program}` here")
    assert absent not in compared
    measured = [line for line in compared.splitlines() if f"  {kind.name} " in line]
    for work, title in compare.works(compare.QUICK).items():
        found = [line for line in measured if line.startswith(f"{title} ")]
        assert len(found) == (work in ("put", "get") or kind.watched is not None), compared
    synced = [line for line in measured if line.startswith("syncs of 100 puts")]  # none without strace
    if "**before**" not in kind.durable:
        assert all(int(line.split()[-1]) >= 100 for line in synced), "puts were answered without a sync each"


@pytest.mark.timeout(600)
def test_the_short_form_measures_brokers() -> None:
    """Each that is here has every figure; one that is not is named."""
    printed = short("brokers")
    for kind in BROKERS.values():
        if kind().find() is None:
            assert f"{kind.name} is left out: no `{kind.program}` was found" in printed
            continue
        lines = [line for line in printed.splitlines() if f"  {kind.name}  " in line]
        for title in messaging.works(compare.QUICK).values():
            assert any(line.startswith(f"{title} ") for line in lines), printed


@pytest.mark.timeout(600)
def test_the_short_form_measures_growth() -> None:
    """The short form measures growth with entries, connections and subscriptions."""
    printed = short("growth")
    assert all(f"put, from {counts[0]}" in printed for counts in growth.QUICK_SIZES.values()), printed


def test_a_run_that_lacks_what_is_installed_is_not_written_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would take the place of a whole one; nothing is measured first."""
    monkeypatch.setattr(compare, "present", lambda kinds: {"hivewire": PEERS["hivewire"](), "etcd": PEERS["etcd"]()})
    monkeypatch.setattr(sys, "argv", ["python -m bench.peers", "--write"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    assert "a run without NATS KV and PocketBase is not worth writing down" in capsys.readouterr().err


def test_the_page_shows_the_run_that_is_kept() -> None:
    """docs/benchmarks.md and its plot are what docs/benchmark-peers.json says."""
    run = json.loads(report.RESULTS.read_text())
    page = report.PAGE.read_text()
    assert page == report.up_to_date(page, run), "run `python -m bench.peers.report`"
    assert report.PLOT.read_text() == report.plot(run), "run `python -m bench.peers.report`"


def kept() -> dict[str, Any]:
    """The run that is kept, to be changed."""
    found: dict[str, Any] = json.loads(report.RESULTS.read_text())
    return found


def missing(run: dict[str, Any], name: str) -> str:
    """The text of the page about one missed aim."""
    for row in run["rows"]:
        row["met"] = row["name"] != name
    (line,) = report.missed(run)
    return line


@pytest.mark.parametrize("store", ["etcd", "NATS KV", "Redis", "PocketBase"])
@pytest.mark.parametrize("work", ["put", "get"])
def test_a_full_core_is_a_cause_only_where_it_was_full(work: str, store: str) -> None:
    """Whatever else is known of a miss is said of such a run alone; the figures in it are the run's."""
    run, name = kept(), f"{work}: Hivewire / {store}"
    run["rows"] = [{"name": name, "value": 0.1, "at_least": 0.5, "at_most": None, "unit": "x"}]
    own = run["figures"][work]["hivewire"]
    own["server"] = 0.89
    line = missing(run, name)
    assert "core was not full in this run (89 %" in line
    assert "core is full" not in line
    assert "Not explained" not in line
    own["server"] = 0.93
    line = missing(run, name)
    assert "not full" not in line
    assert ("Not explained" in line) == (name not in report.CAUSES)


def test_a_cause_is_told_in_figures_of_the_run() -> None:
    """Microseconds of the core for a request, and the aim in the same unit."""
    run = kept()
    figures = run["figures"]
    figures["put"]["hivewire"] |= {"value": 25_000.0, "server": 1.0}
    figures["get"]["hivewire"] |= {"value": 50_000.0, "server": 0.95, "generator": 0.5}
    figures["put"]["etcd"]["value"] = 10_000.0
    figures["get"]["nats-server"]["value"] = 40_000.0
    line = missing(run, "put: Hivewire / etcd")
    assert "it spends 40 µs on a put. 19 µs of these are the cost of a get" in line
    assert line.endswith("The aim is 25 µs in total.")
    assert "120,000 /s, more than the client can request: 100,000 /s" in missing(run, "get: Hivewire / NATS KV")
    figures["get"]["nats-server"]["value"] = 30_000.0
    assert "can request" not in missing(run, "get: Hivewire / NATS KV")


def test_slower_growth_is_told_with_its_rounds_and_the_core() -> None:
    """A growth over its bound is reported with its rounds, and as unexplained where the core was full."""
    run, name = kept(), "put, from 1,000 to 1,000,000 entries"
    points = run["growth"]["entries"]
    points[0]["values"]["put"], points[-1]["values"]["put"] = [10.0, 10.0], [5.0, 7.0]
    points[0]["server"]["put"], points[-1]["server"]["put"] = 0.5, 0.6
    line = missing(run, name)
    assert "Its rounds: 0.50 … 0.70 x" in line
    assert "It was not full" in line
    points[-1]["server"]["put"] = 0.95
    assert "Not explained." in missing(run, name)


def test_the_page_names_stores_that_were_absent() -> None:
    """No table is empty, and no aim is evaluated that was not measured."""
    run = kept()
    run["peers"]["etcd"] |= {"version": None, "absent": "no `etcd` was found"}
    for by in run["figures"].values():
        by.pop("etcd", None)
    run["rows"] = [row for row in run["rows"] if "etcd" not in row["name"]]
    run["others"], run["syncs"] = [], {}
    page = report.up_to_date(report.PAGE.read_text(), run)
    assert "**etcd is left out: no `etcd` was found.**" in page
    assert "Neither `nats-py` nor `redis-benchmark` was there" in page
    assert "| work | store | through |" not in page
    assert "etcd" not in report.plot(run)
    run["others"] = [
        {"store": "Redis", "client": "redis-benchmark", "work": "get", "value": 9e4, "server": 0.9, "generator": 0.5}
        | {"raw": 8e4}
    ]
    run["syncs"] = {"puts": 1_000, "calls": {"hivewire": 1_000, "pocketbase": 3}}
    page = report.up_to_date(page, run)
    assert "| Redis | `redis-benchmark` | 90,000 | 90 % | 50 % | 80,000 |" in page
    assert "| PocketBase | 3 |" in page


def test_every_table_is_one() -> None:
    """Each of its lines has as many cells as its head, or it would be shown without the last ones."""
    widths: set[int] = set()
    for line in [*report.PAGE.read_text().splitlines(), ""]:
        if line.startswith("|"):
            widths.add(line.count("|"))
        else:
            assert len(widths) < 2, line
            widths = set()


def test_a_ratio_is_never_rounded_to_its_bound() -> None:
    """4.997 is not shown as 5, nor 1.2004 as at most 1.2."""
    assert report.times({"value": 4.997, "at_least": 5, "at_most": None}) == "4.99"
    assert report.times({"value": 1.2004, "at_least": None, "at_most": 1.2}) == "1.21"


def test_the_page_shows_every_aim() -> None:
    """In a run with all programs, each aim stands in the row of its figure."""
    page = "\n".join(report.figures(kept()))
    names = {program: kind.name for program, kind in PEERS.items()}
    titles = compare.works(compare.FULL)
    for work, aims in compare.AIMS.items():
        for program, aim in aims.items():
            (line,) = (each for each in page.splitlines() if each.startswith(f"| {titles[work]} | {names[program]} |"))
            assert f" | {aim:g} x | " in line


def point(count: int, put: float, memory: float) -> dict[str, Any]:
    """The figures at one size."""
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


CLIENTS: tuple[type[Client], ...] = (NatsClient, RedisClient, PocketBaseClient, EtcdClient, MqttClient)


class Unexpected(Exception):
    """The error with which a client ends its process."""


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


def made(kind: type[Client], work: str, requests: list[bytes], latch: Latch | None = None) -> tuple[Client, Wire]:
    """A client that is connected to a wire."""
    client, wire = kind(argparse.Namespace(work=work), 7, requests, latch), Wire()
    client.connection_made(wire)
    return client, wire


MESSAGE = b"\0" + (len(VALUE) + 2).to_bytes(4, "big") + field(5, VALUE)
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5a\r\nid:x\nevent:PB_CONNECT\n"
HTTP = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{"value":"%b"}' % VALUE
PUSH = b'event:bench/x\ndata:{"record":{"value":"%b"},"action":"update"}\n\n\r\n' % VALUE
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
    "jetstream": (JetStreamClient, "put", b'PONG\r\nMSG in.7.r 1 26\r\n{"stream":"bench","seq":12}\r\n'),
    "mqtt": (MqttClient, "put", CONNECTED + ACKNOWLEDGED),
    "mqtt push": (MqttClient, "fan", CONNECTED + packet(PUBLISH, text("fan.1"), b"\0\7", VALUE)),
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
    "jetstream": (JetStreamClient, "put", b'MSG in.7.r 1 29\r\n{"stream":"KV_bench","seq":12}\r\n'),
    "mqtt refused": (MqttClient, "put", b"\x20\2\0\5"),
    "mqtt acknowledged another": (MqttClient, "put", CONNECTED + b"\x40\2\0\2"),
    "mqtt pushed another": (MqttClient, "fan", CONNECTED + packet(PUBLISH, text("fan.1"), b"\0\7", b"w" * 20)),
    "redis": (RedisClient, "put", b"-MISCONF no disk\r\n"),
    "redis without a value": (RedisClient, "get", b"$-1\r\n"),
    "pocketbase": (PocketBaseClient, "put", HTTP.replace(b"200 OK", b"400 Bad Request")),
    "pocketbase without the value": (PocketBaseClient, "get", HTTP.replace(b"v" * 20, b"w" * 20)),
    "pocketbase pushed another": (
        StreamClient,
        "fan",
        STREAM + b'data:{"clientId":"a"}\n\n' + PUSH.replace(VALUE, b"w"),
    ),
    "etcd": (EtcdClient, "put", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0")),
    "etcd without the value": (EtcdClient, "get", frame(DATA, 0, 1, b"\0\0\0\0\0")),
    "etcd reset": (EtcdClient, "put", frame(3, 0, 1, b"\0\0\0\2")),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_an_invalid_answer_ends_the_run(case: str) -> None:
    """An error, or a get without the value, is not counted."""
    kind, work, data = ERRORS[case]
    client, _ = made(kind, work, [call("KV/Put", b"")] if kind is EtcdClient else [])
    with pytest.raises(Unexpected):
        client.data_received(data)


async def test_a_push_of_mqtt_is_acknowledged_by_its_own_identifier() -> None:
    """MQTT 3.1.1, section 4.3.2; a broker sends no more than a few without it."""
    client, wire = made(MqttClient, "fan", [])
    wire.written = b""
    client.data_received(CONNECTED + packet(PUBLISH, text("fan.1"), b"\1\7", VALUE))
    assert wire.written == b"\x40\2\1\7"


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
        latch = Latch()
        done = latch.expect(2)
        watcher = Watcher(argparse.Namespace(path="/", token=""), latch)
        watcher.connection_made(Wire())
        for part in (OPEN, data[:cut], data[cut:]):
            watcher.data_received(part)
        assert (latch.left, done.done()) == (0, True), cut


async def test_an_answer_of_hivewire_has_the_value_in_it() -> None:
    """A get counts with its value and ends the run without it, and so does a push."""
    getter = generator.Connection("/", None, [], generator.proof("get"))
    watcher = Watcher(argparse.Namespace(path="/", token=""), Latch())
    for connection in (getter, watcher):
        connection.connection_made(Wire())
        connection.data_received(OPEN)
    getter.data_received(FETCHED * 2)
    assert getter.answers == 2
    for connection, frames in ((getter, FETCHED), (watcher, CHANGED)):
        with pytest.raises(Unexpected):
            connection.data_received(frames.replace(VALUE, b"w" * len(VALUE)))


async def test_the_next_request_goes_out_with_each_answer() -> None:
    """One request stays in flight, the next of the list each time; etcd's streams have the next odd number."""
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
    """Different names give different PocketBase ids of 15 letters and digits."""
    names = ["fan.1", "bench.1.12", "bench.11.2", "bench.49.19"]
    ids = {record_id(name) for name in names}
    assert len(ids) == len(names)
    assert all(len(each) == 15 and each.isalnum() for each in ids)
