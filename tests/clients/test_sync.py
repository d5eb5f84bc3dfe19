"""The client without asyncio: the same, in threads."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from pathlib import Path

import pytest

from hivewire_client import Backoff, Changes, Conflict, NotReady, Reset, StateChanged, Stopped
from hivewire_client.sync import Hivewire
from hivewire_client.testing import FakeGateway
from hivewire_client.thread import LoopThread
from tests.running import PATIENCE


def test_a_program_without_asyncio(fake: FakeGateway, tmp_path: Path) -> None:
    """It reads, writes and follows; a loop over a watch ends when another thread closes the client."""
    fake.change({"limits.api": {"max": 5}, "limits.day": "1"})
    seen: list[int | None] = []
    with Hivewire(fake.url, token=fake.token, names=["limits.*"], cache=tmp_path / "cache") as hw:
        hw.ready(PATIENCE)
        assert (hw.state, hw.stale_since, hw.reason) == ("live", None, None)
        assert hw.get("limits.api", dict[str, int]) == {"max": 5}
        assert (hw.get("limits.none", int, 3), hw.names()) == (3, ("limits.api", "limits.day"))
        stop = hw.on_change("limits.day", seen.append, int)
        with pytest.raises(Conflict):
            hw.put("limits.day", 2, expect=7)
        watch = hw.watch("limits.day")
        assert isinstance(next(watch), Reset)
        with hw.transaction("why") as tx:
            tx.put("limits.day", 2)
            tx.put("limits.hour", 1)
        assert len(tx.entries) == 2 and isinstance(next(watch), Changes)
        stop()
        hw.put("limits.day", 3)
        assert (seen, hw.rollback("limits.day", 1).value, hw.delete("limits.hour") > 0) == ([2], "1", True)
        assert [entry.name for entry in hw.list()] == ["limits.api", "limits.day"]
        assert (hw.fetch("limits.day", int).value, len(hw.history("limits.day"))) == (1, 4)
        closing = threading.Timer(0.01, hw.close)
        closing.start()
        assert [type(event) for event in watch] == [Changes, Changes, StateChanged]
        closing.join()
        assert (hw.state, hw.get("limits.day"), hw.get("limits.day", int)) == ("closed", "1", 1)
    fake.stop()
    with Hivewire(fake.url, token=fake.token, names=["limits.*"], cache=tmp_path / "cache", timeout=1) as hw:
        hw.ready(PATIENCE)
        assert (hw.state, hw.get("limits.day")) == ("stale", "1")
        with pytest.raises(NotReady):
            hw.ready(0, stale=False)
        hw.logout()
    assert not (tmp_path / "cache").exists()


def test_devices_without_asyncio(fake: FakeGateway) -> None:
    """A thread obeys commands, another one sends them."""
    options = {"token": fake.token, "names": [], "backoff": Backoff(0.01)}
    with Hivewire(fake.url, **options) as sender, Hivewire(fake.url, **options) as device:  # type: ignore[arg-type]
        started = sender.insert_command("dev-1", "first")
        with device.commands("dev-1", since="0-0") as again:  # a position of another gateway: all that is there
            first = next(again)
            assert (first.id, first.reset) == (started, True)

        def obey() -> None:
            with device.commands("dev-1", since=first.position) as commands:
                device.done(next(commands), {"ok": True})

        obeying = threading.Thread(target=obey)
        obeying.start()
        answer = sender.send_command("dev-1", "on", timeout=PATIENCE)
        obeying.join(PATIENCE)
        assert answer.result == {"ok": True}
        sender.insert_notification("dev-1", "temperature", {"t": 20})
        with sender.notifications("dev-1", since="0-0") as notifications:
            assert next(notifications).parameters == {"t": 20}
    with pytest.raises(Stopped):
        sender.insert_notification("dev-1", "temperature")


def test_an_interrupt_before_a_call_begins_leaves_no_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would warn of one that nobody runs, behind what Ctrl-C prints."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    thread, work = LoopThread(), asyncio.sleep(0)
    thread.start()
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            thread.run(work)
    thread.stop()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_threads_that_use_a_client_while_it_ends() -> None:
    """Each gets its answer or Stopped; none waits forever."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads meet in the middle of what they do
    try:
        for _ in range(50):
            thread, begun, outcomes = LoopThread(), threading.Barrier(5), list[type[BaseException]]()

            def work(thread: LoopThread, begun: threading.Barrier, outcomes: list[type[BaseException]]) -> None:
                begun.wait()
                try:
                    while True:
                        thread.run(asyncio.sleep(0))
                except BaseException as error:
                    outcomes.append(type(error))

            workers = [threading.Thread(target=work, args=(thread, begun, outcomes), daemon=True) for _ in range(4)]
            thread.start()
            for each in workers:
                each.start()
            begun.wait()
            thread.stop()
            for each in workers:
                each.join(PATIENCE)
            assert outcomes == [Stopped] * 4
    finally:
        sys.setswitchinterval(interval)
