"""Fixtures that more than one ring of tests uses."""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import signal
import ssl
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from hivewire import cli
from tests import forked, reporting
from tests.command import Outcome, Run
from tests.node_js import has_websocket
from tests.nodes import shared
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk, make_certificate

# The suite means the same on each machine: what it asks is on this one, behind no proxy; and containers set
# PYTHONUNBUFFERED, which hides programs that do not write what they print before they wait.
UNWANTED = {"PYTHONUNBUFFERED", "PYTHONWARNINGS", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LC_ALL"}
for name in [name for name in os.environ if name in UNWANTED or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["LANG"] = "C.UTF-8"  # as the locale of most users, for programs that are not in Python

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("short", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=1_000)
settings.register_profile("brief", settings.get_profile("short"), max_examples=10)
settings.load_profile("short")  # `conftest.py` of a folder may import tests before `pytest_configure`

# The five seconds that httpx waits by itself are over on a busy machine: all its functions share this one default.
WAITS = inspect.signature(httpx.request).parameters["timeout"].default
WAITS.connect = WAITS.read = WAITS.write = WAITS.pool = PATIENCE


@cache
def _trusting(certificates: str | None, *given: Any, **named: Any) -> ssl.SSLContext:
    return httpx._config.create_ssl_context(*given, **named)


# Each client of httpx loads all certificates that the machine trusts, which takes longer than a request without TLS.
vars(httpx._transports.default)["create_ssl_context"] = lambda *given, **named: _trusting(
    os.environ.get("SSL_CERT_FILE"), *given, **named
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Four more processes than there are cores: tests wait now and then. Each process loads all of them."""
    return (os.cpu_count() or 1) + 4


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The processes of the suite share one server of forks, which loads the gateway once."""
    node.workerinput["forks"] = forked.server()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: the tests that take minutes too."""
    parser.addoption("--long", action="store_true", help="run the long forms of the tests as well")


def pytest_configure(config: pytest.Config) -> None:
    """The long form tries more examples, where a test does not say how many; `--hypothesis-profile=brief` fewer."""
    form = "long" if config.getoption("--long") else "short"
    settings.load_profile(config.getoption("hypothesis_profile", None) or form)
    # A shell that starts the suite in the background lets it ignore SIGINT, and all commands that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(reporting)
    if hasattr(config, "workerinput"):
        forked.use(config.workerinput["forks"])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Thousands of tests stay to the end: the garbage collector need not look at them again and again.

    Nor at what they leave behind after every few hundred objects.
    """
    gc.disable()
    try:
        _import_own_part(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 5, 200)  # as in a gateway
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What is there after the tests of a file stays as well: some tests ask for a collection, which looks at all."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def _import_own_part(config: pytest.Config) -> None:
    """Each process of several first imports other modules.

    pytest rewrites the assertions of a module that is imported for the first time on a machine, which takes longer than
    all else. Processes that begin with the same module would all do that, with every module.
    """
    name, count = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if name is None or count is None:
        return
    places = [config.rootpath / place.partition("::")[0] for place in config.args]
    modules = sorted({file for place in places for file in (place.rglob("test_*.py") if place.is_dir() else [place])})
    for file in modules[int(name.removeprefix("gw")) :: int(count)]:
        with suppress(Exception, pytest.skip.Exception):  # what is wrong with it is said when it is collected
            import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with a time limit of their own begin first, so that no process is left with a long one at the end.

    Without `--long`, the tests marked so are skipped, and the summary says that they were.
    """
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: `make test-long` or `make faults` runs it"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The long forms end with what their tests measured (`record_property`)."""
    for report in terminalreporter.getreports("passed") if config.getoption("--long") else ():
        if report.user_properties:
            figures = ", ".join(f"{name}: {value}" for name, value in report.user_properties)
            terminalreporter.write_line(f"{report.nodeid}: {figures}")


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for all tests that do not mind what others left in it: use names of your own."""
    with RunningGateway(tmp_path_factory.mktemp("shared") / "hivewire.db") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture(scope="session")
def admin_token(shared_gateway: RunningGateway) -> str:
    """An access token of the shared gateway's administrator."""
    return shared_gateway.token()


@pytest.fixture
def talk(shared_gateway: RunningGateway, admin_token: str) -> Iterator[Talk]:
    """An authorised socket to the shared gateway."""
    with shared_gateway.socket(admin_token) as socket:
        yield socket


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A place for a data file that does not exist yet."""
    return tmp_path / "hivewire.db"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration directory without a profile, and an environment that says nothing of Hivewire."""
    for name in [name for name in os.environ if name.startswith("HIVEWIRE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def run(home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process; `stdin` is what a file on standard input holds."""

    def run(*arguments: str, stdin: bytes = b"") -> Outcome:
        (home / "stdin").write_bytes(stdin)
        with (home / "stdin").open(encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            monkeypatch.setattr(sys, "argv", ["hivewire", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def logged_in(run: Run, shared_gateway: RunningGateway) -> Run:
    """The same, after a login at the shared gateway."""
    assert run("login", "--url", shared_gateway.url, stdin=PASSWORD.encode()).code == 0
    return run


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Callable[[int], str]]:
    """The address of sites, with {site} in it, on a cluster of one or of three servers, started when it is needed."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent
    found: dict[int, str] = {}
    with ExitStack() as stack:

        def cluster(count: int) -> str:
            if count not in found:
                found[count] = stack.enter_context(shared(folder / f"nats-{count}", count))
            return found[count]

        yield cluster


@pytest.fixture(scope="session")
def node_with_websocket() -> None:
    """Skips a test that needs one (`node_js.py`)."""
    if not has_websocket():
        pytest.skip("there is no Node with a WebSocket like that of browsers")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    yield make_certificate(tmp_path_factory.mktemp("tls"))
