"""The parent process of several gateways: it owns the data file, starts them, and restarts those that end.

All listen on one port (`SO_REUSEPORT`), and have the whole state in memory. They write through the parent, which tells
each what the others wrote. Its sockets are in a folder that only the user of the process can enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import msgspec
from msgspec import Raw, structs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

from hivewire.app import Load, check
from hivewire.link import SCHEME, Failed, Link, LinkLost
from hivewire.parent import SETTINGS, Alive, Fact, Listening, Metrics, SettingsGiver, message_of
from hivewire.settings import Settings, SettingsError, StartError, changed, reloaded
from hivewire.slices import in_slices
from hivewire.store import share_store
from hivewire.telemetry import Single, configure_logging, log, of_process
from hivewire.transport import server as port
from hivewire.welcome import Started, welcome
from hivewire_protocol.tenant.steps import Steps

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a gateway that ended is started again. The pause doubles while they end soon."""

LONG_LIFE = 60.0
"""Seconds after which a gateway did not end soon."""

STOP_SECONDS = 30.0
"""Time beyond `drain_seconds` after which a gateway that does not stop is killed."""

GUARD_SECONDS, HANG_SECONDS = 10.0, 30.0
"""Interval of checks whether each gateway answers, and the time for an answer."""

OWN = {"data", "port", "workers"}
"""Settings that each gateway gets otherwise than in the sources, so that it does not notice when those change."""

SCRAPE_SECONDS = 2.0
"""Time for the metrics of a gateway; those of one that does not answer are left out."""


async def serve(
    settings: Settings,
    arguments: Sequence[str],
    load: Load,
    show: Callable[[Started], None],
    *,
    accept_loss: bool = False,
) -> None:
    """Run several gateways until they are stopped. `arguments` are those of this command. Raises StartError."""
    if sys.platform != "linux":
        raise SettingsError("several workers need Linux, which spreads connections over the processes of one port")
    if settings.store is not None:
        raise SettingsError("workers share one data file: with a store, start several gateways, each with its own data")
    async with contextlib.AsyncExitStack() as stack:
        hung_up = port.stop_by_signal()
        check(settings)
        sock = port.reserve(settings.host, settings.port)
        stack.callback(sock.close)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="hivewire-")))
        shared = await share_store(settings, stack, accept_loss=accept_loss)
        ledger = shared.ledger
        await _listen(stack, folder / "ledger", ledger.connected)
        for name, service in shared.messages.items():
            await _listen(stack, folder / name, service.connected)
        own = [*arguments, f"--port={sock.getsockname()[1]}", "--workers=1"]
        gateways = Gateways(folder, own, structs.replace(settings, port=sock.getsockname()[1]))
        gateways.counters = lambda: [
            CounterMetricFamily("hivewire_entries", "Entries that the parent wrote.", value=ledger.entries),
            CounterMetricFamily(
                "hivewire_late_entries",
                "Entries that were evaluated again, because another gateway's was written first.",
                value=ledger.late,
            ),
        ]
        stack.push_async_callback(gateways.close)
        started = await gateways.start(stack)
        welcome(structs.replace(started, data=shared.address), show)
        stopping = asyncio.Event()

        def stop(number: int) -> None:
            stopping.set()
            gateways.signal(number)

        port.handle_signals(stop, partial(_reload, gateways, load, settings), hung_up)
        await stopping.wait()
        await gateways.close()
        log.info("stopped")


def _reload(gateways: Gateways, load: Load, begun: Settings) -> None:
    """Make all gateways reload; they log what changed, and what is wrong. `begun` are the settings of the start."""
    with contextlib.suppress(StartError):
        fresh = load()
        settings = reloaded(gateways.settings, fresh)
        check(settings)
        gateways.settings = settings
        configure_logging(settings.log_format, settings.log_level)
        if left := changed(begun, fresh) & OWN:
            log.warning("settings have changed that need a restart", settings=sorted(left))
    gateways.signal(signal.SIGHUP)


async def _listen(stack: contextlib.AsyncExitStack, path: Path, connected: Callable[[], asyncio.Protocol]) -> None:
    try:
        server = await asyncio.get_running_loop().create_unix_server(connected, str(path))
    except OSError as error:
        hint = "" if error.errno is not None else "; set TMPDIR to a shorter path"  # too long for a socket
        raise StartError(f"cannot listen at {path}: {error.strerror or error}{hint}") from error
    stack.callback(server.close)


class Gateways:
    """The processes of `settings.workers` gateways, numbered from 1."""

    def __init__(self, folder: Path, arguments: Sequence[str], settings: Settings) -> None:
        """`arguments` are those of `hivewire serve`, but for the address of the ledger. It connects in `folder`."""
        self.settings = settings
        """Those that all gateways have: of the start, or of the last reload."""
        self._folder = folder
        self._arguments = arguments
        self._numbers = range(1, settings.workers + 1)
        self._patience = settings.drain_seconds + STOP_SECONDS
        self._processes: dict[int, Process] = {}
        self._links: dict[int, Link] = {}
        self._listening: dict[int, Started] = {}
        self._all_listen = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._begun = False
        self._stopping = asyncio.Event()
        self._starts: Counter[int] = Counter()
        self.counters: Callable[[], Iterable[Metric]] = lambda: ()
        """More metrics of the parent."""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def start(self, stack: contextlib.AsyncExitStack) -> Started:
        """Start all and wait until they listen. Returns the welcome of one. Raises StartError when one ends before."""
        await _listen(stack, self._folder / SETTINGS, lambda: SettingsGiver(self.settings))
        for number in self._numbers:
            await _listen(stack, self._folder / f"gateway.{number}", partial(self._connected, number))
            self._keepers.append(asyncio.create_task(self._keep(number), name=f"keeper of gateway {number}"))
        everybody = asyncio.create_task(self._all_listen.wait())
        await asyncio.wait([everybody, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        if not everybody.done():
            everybody.cancel()
            raise StartError("a gateway ended during the start")
        self._begun = True
        found = list(self._listening.values())
        return next((started for started in found if started.password is not None), found[0])

    async def _keep(self, number: int) -> None:
        """Run one gateway, again and again until it is stopped."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = monotonic()
            self._starts[number] += 1
            code = await self._run(number)
            if self._stopping.is_set() or not self._begun:
                return
            pause = FIRST_PAUSE if monotonic() - began > LONG_LIFE else min(2 * pause, LONGEST_PAUSE)
            log.error("a gateway ended; it is started again", gateway=number, code=code, seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run(self, number: int) -> int | None:
        """Run one gateway until it ends. Returns its exit code; None if there is no process for it, which is logged."""
        try:
            process = self._processes[number] = await create_subprocess_exec(
                *(sys.executable, "-P", "-m", "hivewire", "serve", *self._arguments),
                f"--data={SCHEME}{self._folder}/{number}",
                stdin=DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=True,  # the signals of a terminal are for the parent
            )
        except OSError as error:  # too many files or processes, no memory, or Python is just being replaced
            log.error("a gateway cannot be started", gateway=number, reason=str(error))
            return None
        log.info("gateway started", gateway=number, process=process.pid)
        if self._stopping.is_set():
            process.terminate()
        guard = asyncio.create_task(self._guard(number, process))
        code = await process.wait()
        guard.cancel()
        del self._processes[number]
        return code

    async def _guard(self, number: int, process: Process) -> None:
        """Kill a gateway that has loaded and no longer answers: its clients would wait without end."""
        while True:
            await asyncio.sleep(GUARD_SECONDS)
            link = self._links.get(number)
            # Asked twice: when the parent itself was suspended, the first time-out is over at once.
            if link is not None and link.open and not (await _answers(link) or await _answers(link)):
                log.error("a gateway does not answer; it is killed", gateway=number)
                process.kill()
                return

    def signal(self, number: int) -> None:
        """Send a signal to all."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def close(self) -> None:
        """Stop all, and wait until they have ended. May be called twice."""
        if not self._stopping.is_set():
            self._stopping.set()
            self.signal(signal.SIGTERM)
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=self._patience)
            if late:
                log.error("gateways did not stop; they are killed", gateways=sorted(self._processes))
                self.signal(signal.SIGKILL)
                await asyncio.wait(late)

    # Metrics.

    def _connected(self, number: int) -> Link:
        link = self._links[number] = Link(self._answer, partial(self._told, number))
        return link

    def _told(self, number: int, body: Raw) -> None:
        message = message_of(body)
        if isinstance(message, Listening):
            self._listening[number] = message.started
            if len(self._listening) == len(self._numbers):
                self._all_listen.set()
        elif isinstance(message, Fact):
            for other, link in self._links.items():
                if other != number:
                    link.tell(message)

    async def _answer(self, body: Raw) -> bytes:
        """The metrics of all gateways and of the parent."""
        links = self._links.copy()  # another gateway may connect meanwhile
        pages = await asyncio.gather(*map(self._page, links.values()))
        found = {str(number): page for number, page in zip(links, pages, strict=True) if page}
        found["parent"] = "".join(generate_latest(Single(metric)).decode() for metric in of_process())
        return await in_slices(labelled(found)) + generate_latest(self._registry)

    async def _page(self, link: Link) -> str:
        with contextlib.suppress(Exception):  # it ended, or hangs
            answer = await asyncio.wait_for(link.ask(Metrics()), SCRAPE_SECONDS)
            return msgspec.msgpack.decode(answer, type=bytes).decode()
        return ""

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus-client at a scrape."""
        starts = CounterMetricFamily("hivewire_gateway_starts", "Starts of each gateway.", labels=["gateway"])
        for number in self._numbers:
            starts.add_metric([str(number)], self._starts[number])
        return [starts, *self.counters()]


async def _answers(link: Link) -> bool:
    """Whether a gateway answers in HANG_SECONDS. One that has ended counts: that is noticed elsewhere."""
    try:
        await asyncio.wait_for(link.ask(Alive()), HANG_SECONDS)
    except TimeoutError:
        return False
    except (Failed, LinkLost):
        pass
    return True


def labelled(pages: Mapping[str, str]) -> Steps[bytes]:
    """Pages in the text format of Prometheus as one: each sample with a label `gateway`.

    Together they may have tens of thousands of samples.
    """
    families: dict[tuple[str, str], list[str]] = {}
    for gateway, page in pages.items():
        label = f'gateway="{gateway}"'
        for family in page.split("# HELP ")[1:]:
            sentence, kind, *samples = family.splitlines()
            found = families.setdefault((sentence, kind), [])
            for sample in samples:
                found.append(_with(label, sample))
                yield
    lines = [f"# HELP {sentence}\n{kind}\n" + "".join(samples) for (sentence, kind), samples in families.items()]
    return "".join(lines).encode()


def _with(label: str, sample: str) -> str:
    name, _, value = sample.partition(" ")
    name, brace, labels = sample.partition("{") if "{" in name else (name, "", f"}} {value}")
    return f"{name}{{{label}{',' if brace else ''}{labels}\n"
