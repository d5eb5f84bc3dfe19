"""Logging and metrics: fields and names in one place.

Tokens, passwords and values are never logged: the functions here take none. Counters of the hot path are plain
dictionaries that are read when somebody scrapes, because a locked counter costs as much as a whole decoded request.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOBase
from pathlib import Path
from time import perf_counter, process_time, time
from typing import Any, Literal, TextIO, TypeAlias, cast

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hivewire.slices import in_slices
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Request, action_of
from hivewire_protocol.tenant.steps import Steps


@contextmanager
def _without_rich() -> Iterator[None]:
    """Whoever wants rich gets none, unless it is loaded.

    structlog would load it for tracebacks that we do not show: a tenth of each start, and 4 MB of each gateway.
    """
    modules: dict[str, Any] = sys.modules
    if missing := "rich" not in modules:
        modules["rich"] = None
    yield
    if missing:
        del modules["rich"]


with _without_rich():
    import structlog

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Gauges: TypeAlias = dict[str, tuple[str, Callable[[], float]]]
"""Metrics that are read at a scrape, by name: the help text, and a function that returns the value."""


log: structlog.stdlib.BoundLogger = structlog.get_logger("hivewire")

FIELDS: dict[str, Any] = {}
"""Members of every line of the log: which one of several gateways writes it."""


OF_NO_USE = (
    "SSL connection is closed",
    "socket.send() raised exception.",
    "returning true from eof_received() has no effect when using ssl",
)
"""Useless warnings of the event loop: one for each write to a connection that the peer has reset, until the protocol is
told, hundreds for a client that writes much and resets; and one for each connection over TLS to NATS."""


class _Output(TextIOBase):
    """Standard error, for the lines of the log.

    A line that cannot be written is lost: the disk may be full, the terminal closed, or the program behind a pipe gone,
    and none of them may fail a request or stop the writer. Lines come by `WriteLogger`, each in one write, because
    several gateways share standard error: `PrintLogger` writes the line feed apart, and with PYTHONUNBUFFERED, which
    containers set, lines would run into one another.
    """

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            if sys.stderr is not None:  # None: it was closed before the start
                sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()


_OUTPUT = cast(TextIO, _Output())

# For commands that work without `configure_logging`: standard output is for their results.
structlog.configure(
    logger_factory=lambda *_: structlog.WriteLogger(_OUTPUT),
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)


def configure_logging(
    form: Literal["auto", "console", "json"], level: Literal["debug", "info", "warning", "error"] = "info"
) -> None:
    """Log structured lines of this level and above to standard error, each with FIELDS.

    `auto` is readable text on a terminal and JSON elsewhere.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    console = form == "console" or (form == "auto" and _OUTPUT.isatty())
    common: list[Any] = [
        lambda _, __, event: FIELDS | event,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    # Plain tracebacks: rich ones show local variables, which may hold passwords and values.
    renderer: Any = structlog.processors.JSONRenderer()
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=_OUTPUT.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*common, renderer],
        logger_factory=structlog.WriteLoggerFactory(_OUTPUT),
        wrapper_class=structlog.make_filtering_bound_logger(least),
    )
    # Libraries log warnings and errors only, in the same format.
    handler = logging.StreamHandler(_OUTPUT)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(lambda record: record.name != "asyncio" or record.msg not in OF_NO_USE)
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)


class Single(Collector):
    """One metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus-client."""
        return (self._metric,)


class Telemetry:
    """The metrics of one gateway.

    `requests` counts answers by action and code. An action is a request type, a name such as `document/put` in dialects
    without request types, or None for input that is not a request. Actions come from the code and never from a peer, so
    their number is fixed. Components add their `gauges`, which are read at a scrape.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[type[Request] | str | None, int], int] = defaultdict(int)
        self.succeeded: defaultdict[type[Request], int] = defaultdict(int)
        self.failed_authentications = 0
        self.on_failure: Callable[[str, str, str, str | None], None] = lambda how, reason, address, login: None
        self.gauges: Gauges = {}
        self.page: Callable[[], Awaitable[bytes]] = self.exposition
        """The metrics for a scrape: of this gateway, or of all if it is one of several."""
        self.registry = CollectorRegistry()
        self.commit_seconds = Histogram(
            "hivewire_commit_seconds",
            "Time of a commit, until its changes are durable.",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.batch_changes = Histogram(
            "hivewire_batch_changes",
            "Changes made durable by one commit.",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        )
        self.http_seconds = Histogram(
            "hivewire_http_seconds",
            "Time from the head of an HTTP request until its answer is ready to be sent.",
            ["action"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self._http_timers: dict[type[Request] | str | None, Histogram] = {}  # found again without making a label
        self.registry.register(self)

    def committed(self, changes: int, seconds: float) -> None:
        """Count one commit and its number of changes."""
        self.batch_changes.observe(changes)
        self.commit_seconds.observe(seconds)

    def answered(self, action: type[Request] | str | None, code: int, began: float) -> None:
        """Count and time the answer to an HTTP request; `began` is a time of `time.perf_counter`."""
        self.requests[action, code] += 1
        timer = self._http_timers.get(action)
        if timer is None:
            timer = self._http_timers[action] = self.http_seconds.labels(name_of(action))
        timer.observe(perf_counter() - began)

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus-client at a scrape."""
        requests = CounterMetricFamily("hivewire_requests", "Requests by action and code.", labels=["action", "code"])
        counts: Counter[tuple[str, int]] = Counter()
        for (action, code), count in list(self.requests.items()):
            counts[name_of(action), code] += count
        for shape, count in list(self.succeeded.items()):
            counts[name_of(shape), 200] += count
        for (name, code), count in counts.items():
            requests.add_metric([name, str(code)], count)
        yield requests
        yield CounterMetricFamily(
            "hivewire_failed_authentications",
            "Wrong passwords and bad tokens.",
            value=self.failed_authentications,
        )
        for name, (sentence, value) in self.gauges.items():
            yield GaugeMetricFamily(f"hivewire_{name}", sentence, value=value())

        yield from of_process()

    async def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return await in_slices(self._render())

    def _render(self) -> Steps[bytes]:
        """The same, a metric in each step: a hundred actions with ten codes have three thousand lines, in 20 ms."""
        rendered = []
        for metric in self.registry.collect():
            rendered.append(generate_latest(Single(metric)))
            yield
        return b"".join(rendered)

    def authentication_failed(self, how: str, error: type[WireError], address: str, login: str | None = None) -> None:
        """Count and log a failed authentication: the method, the error and the address; never the credential.

        The reason is the name of the error, because texts may have a login or a number of seconds in them.
        """
        self.failed_authentications += 1
        reason = error.__name__
        log.warning("authentication failed", how=how, reason=reason, address=address, login=login)
        self.on_failure(how, reason, address, login)

    def unexpected(self, where: str, error: BaseException) -> None:
        """Log an unexpected error with its traceback."""
        log.error("unexpected error", where=where, exc_info=error)


_STARTED = time()


def of_process() -> Iterable[Metric]:
    """What the process uses, by the names that are usual in Prometheus.

    The collector of prometheus-client also counts the open files, which takes 10 ms with 15,000 connections.
    """
    yield CounterMetricFamily("process_cpu_seconds", "Processor time of the process.", value=process_time())
    yield GaugeMetricFamily("process_start_time_seconds", "Start of the process, in s since 1970.", value=_STARTED)
    statm = Path("/proc/self/statm")
    if statm.exists():  # on Linux
        pages = int(statm.read_text().split()[1])
        sentence = "Memory that the process has."
        yield GaugeMetricFamily("process_resident_memory_bytes", sentence, value=pages * os.sysconf("SC_PAGE_SIZE"))


def name_of(action: type[Request] | str | None) -> str:
    """The name of an action in metrics and traces."""
    if action is None:
        return "invalid"
    return action if isinstance(action, str) else action_of(action)
