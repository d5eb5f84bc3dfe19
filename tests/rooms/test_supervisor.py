"""What the parent of several gateways makes of their metrics, and how it refuses to start."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from hivewire import supervisor
from hivewire import telemetry as telemetries
from hivewire.link import Link
from hivewire.parent import Parent
from hivewire.settings import Settings, StartError
from hivewire.supervisor import Gateways, labelled
from hivewire.telemetry import Telemetry
from hivewire_protocol.tenant.steps import at_once
from tests.running import PATIENCE


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_each_sample_has_the_number_of_its_gateway(steps_of: Callable[..., list[int]]) -> None:
    """One page in the format of Prometheus: every family once, every sample of every gateway, odd labels too. Metrics
    are rendered one by one, because some have a thousand samples. The parent, through which all gateways write, puts
    their pages together sample by sample."""
    steps = steps_of(telemetries)
    pages: dict[str, str] = {}
    expected: dict[Any, float] = {}
    for number in ("1", "2"):
        telemetry = Telemetry()
        telemetry.gauges["speed"] = ("A gauge.", lambda number=number: float(number))  # type: ignore[misc]
        telemetry.requests['odd {"}, name', 200] += int(number)
        telemetry.committed(5, 0.002)
        telemetry.answered("documents/put", 200, 0.0)
        page = await telemetry.exposition()
        pages[number] = page.decode()
        for (name, labels), value in samples(page).items():
            expected[name, tuple(sorted((*labels, ("gateway", number))))] = value
    page = at_once(labelled(pages))
    assert samples(page) == expected
    assert sum(1 for _ in labelled(pages)) == len(expected)
    heads = [line for line in page.decode().splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert min(steps) > 5


@pytest.mark.parametrize(
    ("platform", "settings", "reason"),
    [
        ("darwin", Settings(workers=2), "need Linux"),
        ("linux", Settings(workers=2, store="nats://127.0.0.1/site"), "start several gateways"),
    ],
)
def test_where_workers_are_of_no_use_it_says_so(
    monkeypatch: pytest.MonkeyPatch, platform: str, settings: Settings, reason: str
) -> None:
    """Before anything is opened."""
    monkeypatch.setattr("sys.platform", platform)
    with pytest.raises(StartError, match=reason):
        asyncio.run(supervisor.serve(settings, [], lambda: settings, lambda started: None))


async def test_a_gateway_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that answers is left alone, for however long; one that does not is killed."""
    monkeypatch.setattr(supervisor, "GUARD_SECONDS", 0.001)
    monkeypatch.setattr(supervisor, "HANG_SECONDS", 0.05)
    hanging, asked = asyncio.Event(), 0

    async def answer(body: Raw) -> bytes:
        nonlocal asked
        asked += 1
        if hanging.is_set():
            await asyncio.Event().wait()
        return b""

    gateways = Gateways(tmp_path, [], Settings())
    ends = gateways._connected(1), Link(answer)
    for end, sock in zip(ends, socket.socketpair(), strict=True):
        await asyncio.get_running_loop().create_unix_connection(lambda end=end: end, sock=sock)  # type: ignore[misc]
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    guard = asyncio.create_task(gateways._guard(1, process))
    while asked < 5:
        await asyncio.sleep(0.001)
    assert process.returncode is None
    hanging.set()
    assert await process.wait() == -9
    await guard
    for end in ends:
        end.close()


def test_a_reload_says_which_settings_of_the_parent_need_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its gateways get these from it, and see no change. What they reload, the next one to start gets, too."""
    monkeypatch.setattr(supervisor, "configure_logging", lambda *_: None)  # it counts for the whole process
    begun = Settings(workers=2, value_length=5)
    gateways = Gateways(tmp_path, [], msgspec.structs.replace(begun, port=4_711))
    fresh = msgspec.structs.replace(begun, workers=3, value_length=6, host="::1")
    with capture_logs() as logged:
        supervisor._reload(gateways, lambda: fresh, begun)
    assert [(line["event"], line["settings"]) for line in logged] == [
        ("settings have changed that need a restart", ["workers"])
    ]
    assert gateways.settings == msgspec.structs.replace(begun, port=4_711, value_length=6)


async def test_a_gateway_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python is missing for a moment while an upgrade replaces it, and files or memory may be used up."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.001)
    python, script = tmp_path / "python", tmp_path / "script"
    script.write_text("#!/bin/sh\nexec sleep 1000")
    script.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(python))
    gateways = Gateways(tmp_path, [], Settings())
    gateways._begun = True
    gateways._keepers = [asyncio.create_task(gateways._keep(1))]
    async with asyncio.timeout(PATIENCE):
        while gateways._starts[1] < 3:
            await asyncio.sleep(0.001)
        python.symlink_to(script)
        while not gateways._processes:
            await asyncio.sleep(0.001)
        await gateways.close()
    assert not gateways._processes


async def test_a_gateway_that_is_asked_whether_it_answers_renders_no_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked every few seconds, and nobody else is served while they are rendered."""
    gateways, rendered, telemetry = Gateways(tmp_path, [], Settings()), list[None](), Telemetry()
    monkeypatch.setattr(telemetry, "exposition", lambda: rendered.append(None) or b"page")
    connected, lost = partial(gateways._connected, 1), asyncio.Event()
    async with await asyncio.get_running_loop().create_unix_server(connected, str(tmp_path / "gateway.1")):
        parent = Parent(f"parent://{tmp_path}/1", lost.set)
        await parent.join(telemetry)
        await telemetry.page()  # the page of all
        assert await supervisor._answers(gateways._links[1])
        assert len(rendered) == 1
        gateways._links[1].close()
        await lost.wait()


async def test_a_gateway_may_connect_while_others_are_asked_for_their_metrics(tmp_path: Path) -> None:
    """As at the start, when the first one is there and is scraped already."""
    gateways, asked, answers = Gateways(tmp_path, [], Settings()), asyncio.Event(), asyncio.Event()

    async def answer(body: Raw) -> bytes:
        asked.set()
        await answers.wait()
        return b"# HELP speed A gauge.\n# TYPE speed gauge\nspeed 1.0\n"

    ends = gateways._connected(1), Link(answer)
    for end, sock in zip(ends, socket.socketpair(), strict=True):
        await asyncio.get_running_loop().create_unix_connection(lambda end=end: end, sock=sock)  # type: ignore[misc]
    page = asyncio.create_task(gateways._answer(Raw()))
    await asked.wait()
    gateways._connected(2)
    answers.set()
    assert samples(await page)["speed", (("gateway", "1"),)] == 1.0
    for end in ends:
        end.close()


async def test_a_gateway_hears_when_the_parent_hangs_up(tmp_path: Path) -> None:
    """Also on the connection that has no log: without it no fact of another gateway would come any more."""
    ends: list[Link] = []

    def connected() -> Link:
        ends.append(Link(expected=NotImplementedError))
        return ends[-1]

    lost, telemetry = asyncio.Event(), Telemetry()
    async with await asyncio.get_running_loop().create_unix_server(connected, str(tmp_path / "gateway.1")):
        parent = Parent(f"parent://{tmp_path}/1", lost.set)
        await parent.join(telemetry)
        await telemetry.page()  # the other end is there
        ends[0].close()
        async with asyncio.timeout(PATIENCE):
            await lost.wait()
    page = await telemetry.page()
    assert (b"hivewire_batch_changes_count 0" in page, b"gateway=" in page) == (True, False), "its own metrics are left"


async def test_a_socket_that_cannot_be_made_says_what_helps(tmp_path: Path) -> None:
    """A shorter TMPDIR helps against a long path only."""
    async with AsyncExitStack() as stack:
        with pytest.raises(StartError, match=r"too long; set TMPDIR to a shorter path$"):
            await supervisor._listen(stack, tmp_path / ("x" * 200), Link)
        with pytest.raises(StartError, match=r"No such file or directory$"):
            await supervisor._listen(stack, tmp_path / "missing" / "socket", Link)
