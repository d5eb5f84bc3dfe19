"""The thermostats and controllers in `examples`, run unchanged: with the Python client, with the package `devicehive`,
with `websockets` alone, with `curl`, and in the browser's page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.node_js import needs_websocket
from tests.running import PATIENCE, RunningGateway, Talk
from tests.system.test_examples import EXAMPLES, environment, line, needs_curl
from tests.system.test_live_table import DOCUMENT, Page, page

PAGE = EXAMPLES / "thermostats.html"
WAYS = ("client", "devicehive", "websockets", "curl")


def command(what: str, way: str, *arguments: str) -> list[str]:
    """How the program of one way is started; a thermostat reports as often as it can."""
    if way == "curl":
        return [str(EXAMPLES / f"{what}_curl.sh"), *arguments, *(["1"] if what == "thermostat" else [])]
    often = ["--every", "0.1"] if what == "thermostat" else []
    return [sys.executable, str(EXAMPLES / f"{what}_{way}.py"), *arguments, *often]


@pytest.mark.parametrize(
    ("way", "package"), [("client", "hivewire-client"), ("devicehive", "devicehive"), ("websockets", "websockets")]
)
@pytest.mark.parametrize("what", ["thermostat", "controller"])
def test_a_program_says_which_library_it_needs(what: str, way: str, package: str) -> None:
    """In place of a traceback; without `site` there are no installed packages."""
    done = subprocess.run(
        [sys.executable, "-S", str(EXAMPLES / f"{what}_{way}.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.endswith(f": pip install {package}\n"), done.stderr.count("\n")) == (
        1,
        True,
        1,
    )


@contextmanager
def running(url: str, folder: Path, *called: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A program that keeps its files in a folder."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell does not end the `curl` that it waits for: both end as one group.
    with subprocess.Popen(called, cwd=folder, env=environment(url, **more), start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """End a program, and what it started, without a word."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


@contextmanager
def thermostats(
    url: str, folder: Path, prefix: str, tokens: dict[str, str] | None = None
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """One of each way, connected; their ids begin with a prefix. They log in, unless there are tokens."""
    with ExitStack() as stack:
        found = {}
        for way in WAYS:
            variables = {}
            if tokens is not None:
                kind = "refreshToken" if way == "devicehive" else "accessToken"
                variables = {"HIVEWIRE_TOKEN": tokens[kind], "HIVEWIRE_PASSWORD": ""}
            called = command("thermostat", way, f"{prefix}-{way}")
            found[way] = stack.enter_context(running(url, folder, *called, **variables))
        for way, process in found.items():
            assert line(process.stdout) == f"{prefix}-{way} is connected"
        yield found


def set_all(url: str, folder: Path, prefix: str, pairs: dict[str, str], target: str) -> dict[str, str]:
    """What the controllers of these ways say, when each has set the thermostat of another way."""
    with ExitStack() as stack:
        found = {
            by: stack.enter_context(running(url, folder, *command("controller", by, f"{prefix}-{way}", target)))
            for by, way in pairs.items()
        }
        said = {by: process.communicate(timeout=PATIENCE) for by, process in found.items()}
        assert not any(process.returncode for process in found.values()), said
    return {by: output for by, (output, _) in said.items()}


@needs_curl
def test_each_thermostat_obeys_each_controller_and_misses_nothing(
    shared_gateway: RunningGateway, talk: Talk, tmp_path: Path
) -> None:
    """Controllers see the result, and the temperatures until the target is reached. What is sent to thermostats that
    were killed is done when they are back, in order and once, with a token for what devices do; a target that makes no
    sense is refused by them. Their names and data stay."""
    pairs = dict(zip(WAYS, (*WAYS[1:], WAYS[0]), strict=True))
    with thermostats(shared_gateway.url, tmp_path, "thermo") as found:
        for way in WAYS:  # what people call it, and keep with it
            talk("device/save", deviceId=f"thermo-{way}", device={"name": "In the hall", "data": {"room": "hall"}})
        for by, output in set_all(shared_gateway.url, tmp_path, "thermo", pairs, "20.5").items():
            first, *more = output.splitlines()
            assert first == "sent: set 20.5"
            assert any(each.startswith("done: {") for each in more)
            assert more[-1].startswith(f"thermo-{pairs[by]}: 20.5")
        for way, process in found.items():
            assert line(process.stdout).startswith("set 20.5: ")
            kill(process)
            for target in (21, 99, 20):
                sent = {"command": "set", "parameters": {"target": target}}
                talk("command/insert", deviceId=f"thermo-{way}", command=sent)
    actions = ["RegisterDevice", "GetDevice", "GetDeviceCommand", "UpdateDeviceCommand", "CreateDeviceNotification"]
    payload = {"userId": 1, "actions": actions, "networkIds": ["1"], "deviceTypeIds": ["*"]}
    tokens = talk("token/create", payload=payload)
    with thermostats(shared_gateway.url, tmp_path, "thermo", tokens) as found:
        for way, process in found.items():
            told = [line(process.stdout) for _ in range(3)]
            assert [each.partition(":")[0] for each in told] == ["set 21", "set 99", "set 20"]
            wanted = {"deviceId": f"thermo-{way}", "sortField": "timestamp", "sortOrder": "asc"}
            commands: list[dict[str, Any]] = []
            while not commands or commands[-1]["status"] is None:  # it writes the line first
                commands = talk("command/list", **wanted)["commands"]
            assert [each["status"] for each in commands] == ["done", "done", "failed", "done"]
            assert commands[-1]["result"] == {"target": 20}
            notifications = talk("notification/list", deviceId=f"thermo-{way}", notification="temperature")
            assert set(notifications["notifications"][0]["parameters"]) == {"temperature", "target"}
            device = talk("device/get", deviceId=f"thermo-{way}")["device"]
            assert (device["name"], device["data"]) == ("In the hall", {"room": "hall"})


@needs_curl
def test_thermostats_and_controllers_outlive_the_gateway(data: Path, tmp_path: Path) -> None:
    """When the gateway restarts, controllers see the end of what they have begun, and thermostats obey those that come
    after it, whether or not they are back."""
    flags = ("--drain-spread", "0.1", "--drain-seconds", "0.5")
    with ExitStack() as stack:
        gateway = stack.enter_context(RunningGateway(data, *flags))
        stack.enter_context(thermostats(gateway.url, tmp_path, "thermo"))
        controllers = [
            stack.enter_context(running(gateway.url, tmp_path, *command("controller", way, "thermo-client", "30")))
            for way in WAYS
        ]
        for controller in controllers:
            while not line(controller.stdout).startswith("done: {"):
                assert controller.poll() is None
        gateway.stop()
        again = stack.enter_context(RunningGateway(data, "--port", str(gateway.port)))
        set_all(again.url, tmp_path, "thermo", {"curl": "devicehive", "devicehive": "curl"}, "20.5")
        for controller in controllers:
            output, errors = controller.communicate(timeout=PATIENCE)
            assert controller.returncode == 0, errors
            assert output.rstrip().splitlines()[-1].startswith("thermo-client: 30")


@needs_curl
def test_what_is_missing_or_refused_is_one_line(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    """Without a password each program says which variables to set; controllers say that there is no such device."""

    def ends(url: str, programs: dict[str, list[str]], **more: str) -> dict[str, tuple[str, str]]:
        with ExitStack() as stack:
            found = {
                name: stack.enter_context(running(url, tmp_path, *called, **more)) for name, called in programs.items()
            }
            ended = {name: process.communicate(timeout=PATIENCE) for name, process in found.items()}
            assert [process.returncode for process in found.values()] == [1] * len(found), ended
        return ended

    controllers = {f"controller {way}": command("controller", way, "nowhere", "20") for way in WAYS}
    every = controllers | {f"thermostat {way}": command("thermostat", way, "nowhere") for way in WAYS}
    for name, ended in ends(shared_gateway.url, every, HIVEWIRE_PASSWORD="").items():
        assert ended == ("", "set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN\n"), name
    for name, (output, errors) in ends(shared_gateway.url, controllers).items():
        assert output == "", name
        *_, last = errors.splitlines()
        assert last.startswith("refused: "), name
        assert "Device with such deviceId = nowhere not found" in last, name


# The page.

ENTER = """
elements.address.value = given.url; elements.token.value = given.token; elements.form.fire("submit");
const lineOf = name => elements.rows.children.find(line => line.children[0].textContent.includes(name));
const control = name => lineOf(name).children[4].children;
const says = (name, cell, text) => lineOf(name)?.children[cell].textContent === text;
"""


@needs_websocket
def test_the_page_shows_temperatures_and_sends_commands(shared_gateway: RunningGateway, talk: Talk) -> None:
    """Stored temperatures are there at once, new ones follow in the order of the devices; what became of a command is
    shown, and so is an error. Names are text. It comes back when its connection is lost."""

    def report(device: str, temperature: float) -> None:
        notification = {"notification": "temperature", "parameters": {"temperature": temperature, "target": 21}}
        talk("notification/insert", deviceId=device, notification=notification)

    for device in ("page-b", "page-a"):
        talk("device/save", deviceId=device, device={"name": "<img src=x onerror=alert(1)>"})
    report("page-b", 20)
    everything = {"userId": 1, "actions": ["*"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
    token = talk("token/create", payload=everything)["refreshToken"]
    scripts = (DOCUMENT, SOCKETS, "page", ENTER)
    with (
        page(*scripts, url=shared_gateway.url, token=token, file=PAGE) as shown,
        shared_gateway.socket() as thermostat,
    ):
        wait(shown, "says('page-b', 1, '20.0 °C') && elements.status.textContent === 'live'")
        report("page-a", 19.5)
        wait(shown, "says('page-a', 1, '19.5 °C') && says('page-a', 2, '21.0 °C')")
        wait(shown, "Number(control('page-a')[0].value) === 21")
        ids = "elements.rows.children.map(line => line.children[0].textContent).filter(name => name.includes('page-'))"
        shown.do(f"say('ids', {ids})")
        first, second = shown.hear("ids")  # the first one may have been read with its name, or pushed without
        assert (first[-6:], second) == ("page-a", "<img src=x onerror=alert(1)>page-b")

        thermostat("command/subscribe", deviceId="page-b")
        shown.do("control('page-b')[0].value = '23'; control('page-b')[1].fire('click')")
        sent = thermostat.receive()["command"]
        assert (sent["command"], sent["parameters"]) == ("set", {"target": 23})
        done = {"status": "failed", "result": {"reason": "<b>too warm</b>"}}
        wait(shown, "says('page-b', 5, 'sent')")
        thermostat("command/update", deviceId="page-b", commandId=sent["id"], command=done)
        wait(shown, "says('page-b', 5, '<b>too warm</b>')")

        shown.do("sockets.at(-1).close()")
        wait(shown, "elements.status.textContent.includes('trying again') || sockets.length > 1")
        report("page-b", 22.5)
        wait(shown, "says('page-b', 1, '22.5 °C') && elements.status.textContent === 'live'")
        talk("device/delete", deviceId="page-a")
        shown.do("control('page-a')[1].fire('click')")
        wait(shown, "says('page-a', 5, 'Device with such deviceId = page-a not found')")


SOCKETS = """
const sockets = [];
globalThis.WebSocket = class extends WebSocket {
    constructor(url) { super(url); sockets.push(this); }
};
"""


def wait(shown: Page, so: str) -> None:
    """Until something is so on the page."""
    shown.do(f"until('so', () => {so})")
    assert shown.hear("so") is True


@needs_websocket
def test_the_page_says_that_a_token_is_not_good(shared_gateway: RunningGateway) -> None:
    """It does not try again and again."""
    with page(DOCUMENT, "page", ENTER, url=shared_gateway.url, token="no.token", file=PAGE) as shown:
        wait(
            shown,
            "elements.status.textContent === 'Invalid credentials' && elements.status.className === 'trouble' "
            "&& hw.state === 'closed'",
        )
