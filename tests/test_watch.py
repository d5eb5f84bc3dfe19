"""`hivewire watch`: what it prints, and how it gets over what happens to the gateway, its token and its reader."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from rich.console import Console
from websockets.sync.server import ServerConnection

from hivewire import cli
from hivewire.cli import profile as profiles
from hivewire.cli.device import DEVICE, PRESENCE
from hivewire.cli.fleet_watch import FleetLines
from hivewire.cli.following import MOST_UNREAD
from hivewire.cli.gateway import Access
from hivewire.cli.output import local
from hivewire.cli.profile import Profile
from hivewire.cli.remote import Remote, endpoint
from hivewire.cli.watch import Lines, Watcher, _content, watch
from hivewire_protocol.nouns.user import Role, Status
from tests.command import Run
from tests.forked import Forked, Piped
from tests.gate.wire import gauge, until
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk, brief_tokens, serving
from tests.tables import DOCS
from tests.users import ADMIN, write_users

RESUME = re.compile(r"hivewire: to resume from here: --since \S+\n\n")


class Watching:
    """The command, running into a pipe."""

    def __init__(self, process: Piped) -> None:
        self.process = process

    def item(self) -> dict[str, Any]:
        """The next line."""
        line = self.process.stdout.readline()
        assert line, f"the command ended: {self.notes()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def value(self) -> str | None:
        """Name and value of the next change, a group of them in parts."""
        item = self.item()
        while item["type"] == "bookmark":
            item = self.item()
        assert item["type"] == "update", item
        return f"{item['configuration']['name']}={item['configuration']['value']}"

    def note(self) -> str:
        """The next line on standard error."""
        return self.process.stderr.readline()

    def notes(self) -> str:
        """All that is left on standard error, once it has ended."""
        return self.process.stderr.read()

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


def environment(place: Path, url: str, token: str | None) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    plain |= {"HIVEWIRE_URL": url, "HIVEWIRE_PROFILE": str(place / "profile.json")}
    return plain if token is None else {**plain, "HIVEWIRE_TOKEN": token}


@pytest.fixture
def watching(tmp_path: Path) -> Any:
    """Start the command at a gateway, with its administrator's token unless another one or None (profile) is given.

    `what` is `command` or `notification`, to watch these."""

    @contextmanager
    def start(
        gateway: RunningGateway | str,
        *arguments: str,
        token: str | None = "",
        main: str = "hivewire.cli:main",
        what: tuple[str, ...] = (),
    ) -> Iterator[Watching]:
        url = gateway if isinstance(gateway, str) else gateway.url
        if token == "" and isinstance(gateway, RunningGateway):
            token = gateway.token()
        with Piped(main, [*what, "watch", *arguments], environment(tmp_path, url, token)) as process:
            try:
                yield Watching(process)
            finally:
                process.kill()

    return start


def log_in(gateway: RunningGateway, place: Path) -> Profile:
    """Do the same as `hivewire login`."""
    with gateway.socket("") as talk:
        tokens = talk("token", login="admin", password=PASSWORD)
    profile = Profile(endpoint(gateway.url), "admin", tokens["accessToken"], tokens["refreshToken"])
    profiles.save(profile, place / "profile.json")
    return profile


# What it prints.


def test_pushes_go_into_a_pipe_as_json(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """One object per line: the matching state, then each change with its members, also a deletion."""
    talk("configuration/put", name="watch.a.1", value="one")
    talk("configuration/put", name="watch.b.1", value="not this one")
    with watching(shared_gateway, "watch.a.*", "watch.c") as running:
        state = running.item()
        assert list(state) == ["type", "position", "configurations", "last"]
        assert state["type"] == "snapshot"
        assert state["configurations"] == [{"name": "watch.a.1", "value": "one", "entityVersion": 1}]
        put = talk("configuration/put", name="watch.c", value="ünï\n", description="why")
        talk("configuration/put", name="watch.b.1", value="nor this")
        change = running.item()
        assert change.pop("modified")
        assert change == {
            "type": "update",
            "position": change["position"],
            "revision": put["revision"],
            "operation": "put",
            "modifiedBy": "admin",
            "description": "why",
            "configuration": {"name": "watch.c", "value": "ünï\n", "entityVersion": 1},
        }
        talk("configuration/delete", name="watch.a.1")
        gone = running.item()
        assert (gone["operation"], gone["configuration"]["value"]) == ("delete", None)
        assert running.interrupt() == 130
        assert RESUME.fullmatch(running.notes())


def test_a_transaction_is_shown_whole(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """Its changes follow one another, and the last of them alone has a position."""
    changes = [{"operation": "put", "name": f"watch.group.{number}", "value": "v"} for number in range(3)]
    with watching(shared_gateway, "watch.group.*") as running:
        assert running.item()["configurations"] == []
        talk("configuration/transact", changes=changes)
        items = [running.item() for _ in changes]
    assert [item.get("more", False) for item in items] == [True, True, False]
    assert ["position" in item for item in items] == [False, False, True]
    assert len({item["revision"] for item in items}) == 1


def test_without_a_snapshot_it_begins_with_its_position(
    watching: Any, shared_gateway: RunningGateway, talk: Talk
) -> None:
    """A bookmark with the position, then changes only; with --since everything after a position."""
    talk("configuration/put", name="watch.s", value="one")
    with watching(shared_gateway, "watch.s", "--no-snapshot") as running:
        start = running.item()
        assert list(start) == ["type", "position"]
        assert start["type"] == "bookmark"
        talk("configuration/put", name="watch.s", value="two")
        assert running.value() == "watch.s=two"
    talk("configuration/delete", name="watch.s")
    talk("configuration/put", name="watch.s", value="three")
    with watching(shared_gateway, "watch.s", "--since", start["position"]) as running:
        assert [running.value() for _ in range(3)] == ["watch.s=two", "watch.s=None", "watch.s=three"]


def test_a_position_of_another_ledger_is_answered_with_the_state(
    watching: Any, shared_gateway: RunningGateway, talk: Talk
) -> None:
    """`reset` says that it replaces the state; without a snapshot there is only `reset`, and a message."""
    talk("configuration/put", name="watch.reset", value="one")
    with watching(shared_gateway, "watch.reset", "--since", "another-5") as running:
        assert running.item()["type"] == "reset"
        assert running.item()["configurations"][0]["value"] == "one"
        assert "the gateway's data were replaced" in running.note()
    with watching(shared_gateway, "watch.reset", "--since", "another-5", "--no-snapshot") as running:
        assert running.item()["type"] == "reset"
        assert list(running.item()) == ["type", "position"]
        talk("configuration/put", name="watch.reset", value="two")
        assert running.value() == "watch.reset=two"


class Screen:
    """The command on a terminal of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    def until(self, words: str) -> list[str]:
        """The lines up to the one with these words."""
        while not re.search(re.escape(words) + ".*\n", self._text):
            assert select.select([self._descriptor], [], [], PATIENCE)[0], self._text
            self._text += re.sub(r"\x1b\[[\d;]*m", "", os.read(self._descriptor, 65_536).decode()).replace("\r", "")
        before, found, rest = self._text.partition(words)
        line, _, self._text = rest.partition("\n")
        return (before + found + line).split("\n")


def test_a_command_runs_for_each_configuration_and_change(
    watching: Any, shared_gateway: RunningGateway, talk: Talk
) -> None:
    """The value is on its standard input, also binary; its output is the output of the watch."""
    bearer = {"Authorization": f"Bearer {shared_gateway.token()}", "Content-Type": "image/png"}
    place = shared_gateway.rest_url + "/configuration/watch.exec.b/content"
    talk("configuration/put", name="watch.exec.a", value="one two")
    assert httpx.put(place, content=b"\xff\x00", headers=bearer).status_code == 200
    command = 'echo "[\\"$HIVEWIRE_OPERATION\\",\\"$HIVEWIRE_NAME\\",$HIVEWIRE_VERSION,$(wc -c)]"'
    with watching(shared_gateway, "watch.exec.*", "--exec", command) as running:
        assert running.item() == ["put", "watch.exec.a", 1, 7]
        assert running.item() == ["put", "watch.exec.b", 1, 2]
        talk("configuration/put", name="watch.exec.a", value="1")
        assert running.item() == ["put", "watch.exec.a", 2, 1]
        talk("configuration/delete", name="watch.exec.a")
        assert running.item() == ["delete", "watch.exec.a", 3, 0]
        assert running.interrupt() == 130


def interrupted_in_a_destructor() -> None:
    """The command, which gets Ctrl-C while an object of a command that has run is destroyed."""

    class Done:
        returncode = 0

        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    vars(subprocess)["run"] = lambda command, **_: Done()
    cli.main()


def test_an_interrupt_is_not_lost_when_a_command_ends(
    watching: Any, shared_gateway: RunningGateway, talk: Talk
) -> None:
    """Python itself drops an exception that is raised in a destructor."""
    talk("configuration/put", name="watch.late", value="v")
    main = f"{__name__}:interrupted_in_a_destructor"
    with watching(shared_gateway, "watch.late", "--exec", "true", main=main) as running:
        assert running.process.wait(PATIENCE) == 130


def test_secrets_and_layers_are_watched(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """A secret is shown with --reveal only, binary ones to a command too; of a layer the command gets its name."""
    talk("schema/put", names="watch.secret.*", secret=True)
    talk("configuration/put", name="watch.secret.a", value="hidden", layer="global")
    bearer = {"Authorization": f"Bearer {shared_gateway.token()}", "Content-Type": "image/png"}
    place = shared_gateway.rest_url + "/configuration/watch.secret.b/content"
    assert httpx.put(place, content=b"\xff\x00", headers=bearer).status_code == 200
    with watching(shared_gateway, "watch.secret.*", "--layer", "global") as running:
        assert running.item()["configurations"][0]["value"] is None
    with watching(shared_gateway, "watch.secret.*", "--layer", "*", "--reveal") as running:
        assert running.item()["configurations"][0]["value"] == "hidden"
    command = 'echo "[\\"$HIVEWIRE_LAYER\\",\\"$HIVEWIRE_NAME\\",$(wc -c)]"'
    with watching(shared_gateway, "watch.secret.*", "--layer", "global", "--reveal", "--exec", command) as running:
        assert running.item() == ["global", "watch.secret.a", 6]
    with watching(shared_gateway, "watch.secret.*", "--reveal", "--exec", command) as running:
        assert running.item() == ["", "watch.secret.b", 2]
    talk("configuration/delete", name="watch.secret.a", layer="global")
    talk("configuration/delete", name="watch.secret.b")
    talk("schema/delete", names="watch.secret.*")


def test_a_name_is_no_command(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """The shell that runs --exec does not run what is in a name or a value; examples make no path of a name."""
    name = "watch.inject.$(echo run)`echo run`;'\""
    talk("configuration/put", name=name, value="$(echo run)")
    command = 'printf \'["%s"]\\n\' "$(printf \'%s\' "$HIVEWIRE_NAME $(cat)" | base64 -w0)"'
    with watching(shared_gateway, "watch.inject.*", "--exec", command) as running:
        (given,) = running.item()
        assert base64.b64decode(given).decode() == f"{name} $(echo run)"
    for page in (watch.epilog or "", (DOCS / "following.md").read_text()):
        assert not re.search(r"--exec '[^']*(>|mv|cp|/) *[^' ]*HIVEWIRE_NAME", page)


def test_a_command_that_fails_ends_the_watch(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """With the name of the configuration, so that none is skipped silently."""
    talk("configuration/put", name="watch.fails", value="1")
    with watching(shared_gateway, "watch.fails", "--exec", "exit 3") as running:
        assert running.process.wait(PATIENCE) == 1
        assert running.notes() == "hivewire: error: the command failed with 3 for watch.fails\n"


@contextmanager
def on_terminal(
    environment: dict[str, str], columns: int, *arguments: str, what: tuple[str, ...] = ()
) -> Iterator[tuple[Forked, Screen]]:
    """`hivewire watch` on a terminal of this width, and what it shows."""
    shown, terminal = pty.openpty()
    variables = {**environment, "COLUMNS": str(columns), "TERM": "xterm"}
    process = Forked("hivewire.cli:main", [*what, "watch", *arguments], variables, [terminal] * 3)
    os.close(terminal)
    try:
        yield process, Screen(shown)
    finally:
        process.kill()
        process.wait()
        os.close(shown)


def test_on_a_terminal_there_are_lines_for_the_eye(
    shared_gateway: RunningGateway, admin_token: str, talk: Talk, tmp_path: Path
) -> None:
    """The state set apart, then who did what when; values obey nobody and are cut; the position comes at the end."""
    talk("configuration/put", name="watch.tty.a", value="\x1b]0;owned\x07[bold]x")
    with on_terminal(environment(tmp_path, shared_gateway.url, admin_token), 120, "watch.tty.*") as (process, screen):
        heading, row, changes = screen.until("changes:")
        assert (heading, changes) == ("state:", "changes:")
        assert row == r"  watch.tty.a  version 1  \x1b]0;owned\x07[bold]x"
        talk("configuration/put", name="watch.tty.b", value="42", description="for\nlunch")
        (line,) = screen.until("watch.tty.b")
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+  admin  watch\.tty\.b  version 1  42  for\\nlunch", line
        )
        talk("configuration/delete", name="watch.tty.b")
        assert screen.until("watch.tty.b")[0].endswith("  admin  watch.tty.b  version 2  deleted")
        talk("configuration/put", name="watch.tty.c", value="y" * 5_000)
        (line,) = screen.until("watch.tty.c")
        assert len(line) == 120
        assert line.endswith("y…")
        process.send_signal(signal.SIGINT)
        position = screen.until("--since")[-1].rpartition(" ")[2]
        assert process.wait(PATIENCE) == 130
        assert re.fullmatch(r"[0-9a-zA-Z]+-\d+", position)


def test_long_names_leave_room_for_values(
    watching: Any, shared_gateway: RunningGateway, admin_token: str, talk: Talk, tmp_path: Path
) -> None:
    """On a narrow terminal the name is cut, and times and versions are not; a pipe gets whole lines."""
    name = "watch.long." + "n" * 100
    talk("configuration/put", name=name, value="before")
    with on_terminal(environment(tmp_path, shared_gateway.url, admin_token), 80, "watch.long.*") as (_, screen):
        assert screen.until("changes:")[1] == f"  {name[:25]}…  version 1  before"
        talk("configuration/put", name=name, value="after")
        (line,) = screen.until("version 2")
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \w+  admin  {name[:25]}…  version 2  after", line)
    with watching(shared_gateway, "watch.long.*", "-o", "table") as running:
        assert running.process.stdout.readline() == "state:\n"
        assert running.process.stdout.readline() == f"  {name}  version 2  after\n"


# The gateway goes and comes back.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_outlives_the_gateway(watching: Any, data: Path, number: int) -> None:
    """After a stop and after a crash it reconnects and shows every change from in between, once."""
    spread = ("--drain-spread", "0.1")
    with RunningGateway(data, *spread) as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="w", value="1")
        with watching(gateway, "w*") as running:
            assert running.item()["configurations"][0]["value"] == "1"
            gateway.stop(number)
            told = running.note()
            assert told.startswith("hivewire: disconnected (")
            assert ("server going away; retry=" in told) == (number == signal.SIGTERM)
            assert re.search(r"; reconnecting in \d+\.\d s\n$", told)
            with RunningGateway(data, *spread, "--port", str(gateway.port)) as again, again.socket() as talk:
                talk("configuration/put", name="w", value="2")
                talk("configuration/put", name="w", value="3")
                assert [running.value(), running.value()] == ["w=2", "w=3"]
                assert running.note() == "hivewire: reconnected, nothing is missing\n"
                talk("configuration/put", name="w", value="4")
                assert running.value() == "w=4"
                assert running.interrupt() == 130
                assert RESUME.fullmatch(running.notes())


def update(revision: int, name: str, **members: Any) -> dict[str, Any]:
    """A pushed change."""
    resource = {"name": name, "value": str(revision), "entityVersion": 1}
    change = {"revision": revision, "operation": "put", "modified": "2027-01-01T00:00:00.000", "modifiedBy": "admin"}
    return {"action": "configuration/update", **members, **change, "description": None, "configuration": resource}


SNAPSHOT = {"action": "configuration/snapshot", "configurations": [{"name": "a", "value": "1", "entityVersion": 1}]}

Connection = tuple[dict[str, Any], list[dict[str, Any]], "tuple[int, str] | None"]


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """A gateway of our own making: each connection has the answer to its `configuration/subscribe`, what is pushed
    behind it, and how the connection is closed then, if it is. `asked` gets the subscriptions."""

    def start(asked: list[dict[str, Any]], *script: Connection) -> str:
        turns = iter(script)

        def handle(connection: ServerConnection) -> None:
            reply, pushes, end = next(turns)
            for message in connection:
                frame = json.loads(message)
                answer = {"requestId": frame["requestId"], "status": "success"}
                if frame["action"] != "configuration/subscribe":
                    connection.send(json.dumps(answer))
                    continue
                asked.append({name: frame[name] for name in frame if name not in ("action", "requestId")})
                connection.send(json.dumps(answer | {"subscriptionId": 1} | reply))
                for push in pushes:
                    connection.send(json.dumps({"subscriptionId": 1, **push}))
                if end is not None:
                    connection.close(*end)
                    return

        return servers.enter_context(serving(handle))

    with ExitStack() as servers:
        yield start


def test_incomplete_groups_are_not_shown(watching: Any, stub: Any) -> None:
    """An incomplete snapshot or transaction leaves no trace, and is sent again over the next connection."""
    first, second = update(2, "a", more=True), update(2, "b", position="e-2")
    asked: list[dict[str, Any]] = []
    url = stub(
        asked,
        ({"mode": "snapshot"}, [{**SNAPSHOT, "last": False}, update(1, "a", more=True)], (1011, "internal error")),
        ({"mode": "snapshot"}, [{**SNAPSHOT, "position": "e-1", "last": True}, first], (1001, "retry=0")),
        ({"mode": "resumed", "position": "e-1"}, [first, second], (4008, "slow consumer")),
        ({"mode": "resumed", "position": "e-2"}, [{"action": "configuration/bookmark", "position": "e-9"}], None),
    )
    with watching(url, "a", "b", "--no-conflate", token="t") as running:
        shown = [running.item() for _ in range(4)]
        assert running.interrupt() == 130
    assert [item["type"] for item in shown] == ["snapshot", "update", "update", "bookmark"]
    assert [item.get("position") for item in shown] == ["e-1", None, "e-2", "e-9"]
    common = {"names": ["a", "b"], "conflate": False}
    assert asked == [common, common, {"since": "e-1", **common}, {"since": "e-2", **common}]


def test_pushes_about_the_token_are_not_shown(watching: Any, stub: Any) -> None:
    """They are not messages of the subscription; later messages are shown."""
    about = [{"action": "token/expiring", "expires": "x"}, {"action": "subscription/paused", "reason": "x"}]
    url = stub([], ({"mode": "live", "position": "e-1"}, [*about, update(2, "a", position="e-2")], None))
    with watching(url, token="t") as running:
        assert [running.item()["type"] for _ in range(2)] == ["bookmark", "update"]
        assert running.interrupt() == 130


def test_a_reset_amid_a_subscription_is_shown(watching: Any, stub: Any) -> None:
    """A snapshot that replaces the state is announced, and the group that it cut off is not shown."""
    url = stub(
        [],
        (
            {"mode": "live", "position": "e-1"},
            [update(2, "a", more=True), {**SNAPSHOT, "reset": True, "position": "e-5", "last": True}],
            None,
        ),
    )
    with watching(url, token="t") as running:
        assert [running.item()["type"] for _ in range(3)] == ["bookmark", "reset", "snapshot"]


@pytest.mark.parametrize(
    ("since", "cause"),
    [
        ("e-5", "the gateway's log does not go back to that position"),
        ("e-12", "that position is ahead of the gateway's data"),
        ("other-5", "the gateway's data were replaced since that position"),
    ],
)
def test_the_cause_of_a_reset_is_named(watching: Any, stub: Any, since: str, cause: str) -> None:
    """It follows from the position that was asked for and the one that comes with the state."""
    snapshot = {**SNAPSHOT, "position": "e-9", "last": True}
    with watching(stub([], ({"mode": "reset", "oldest": 7}, [snapshot], None)), "--since", since, token="t") as running:
        assert [running.item()["type"] for _ in range(2)] == ["reset", "snapshot"]
        assert cause in running.note()


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009])
def test_it_does_not_reconnect_when_told_not_to(watching: Any, stub: Any, code: int) -> None:
    """Close codes with the advice not to reconnect end it with the gateway's reason."""
    url = stub([], ({"mode": "live", "position": "e-1"}, [], (code, "the reason")))
    with watching(url, token="t") as running:
        assert running.process.wait(PATIENCE) == 1
        assert re.search(rf"hivewire: error: .* {code} .*the reason", running.notes())


def test_it_goes_to_another_gateway_when_its_own_stops(watching: Any, stub: Any) -> None:
    """At once, to one that the gateway names, from its position on."""
    here: list[dict[str, Any]] = []
    there: list[dict[str, Any]] = []
    other = stub(there, ({"mode": "resumed", "position": "e-1"}, [update(2, "b", position="e-2")], None))
    draining = {"action": "server/draining", "alternatives": [other], "retry": 90_000}
    end = (1001, "server going away; retry=90000")
    url = stub(here, ({"mode": "live", "position": "e-1"}, [draining], end))
    with watching(url, "--no-snapshot", token="t") as running:
        assert [running.item()["position"] for _ in range(2)] == ["e-1", "e-2"]
        assert there == [{"snapshot": False, "since": "e-1"}]
        assert "reconnecting in 0.0 s" in running.note()


def test_a_refusal_when_it_comes_back_ends_it(watching: Any, stub: Any) -> None:
    """Rights can be gone by then; an error of the gateway's own is tried again."""
    url = stub(
        [],
        ({"mode": "live", "position": "e-1"}, [], (1011, "")),
        ({"status": "error", "code": 503, "error": "Service is not available"}, [], None),
        ({"status": "error", "code": 403, "error": "Access is denied"}, [], None),
    )
    with watching(url, token="t") as running:
        assert running.process.wait(PATIENCE) == 1
        assert running.note().startswith("hivewire: disconnected (")
        assert running.notes() == "hivewire: error: Access is denied\n"


def test_a_refusal_ends_it(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """A bad pattern, a bad position, a token without the right or an invalid one: exit code 1 and the gateway's
    text."""
    payload = {"userId": 1, "actions": ["GetDevice"]}
    weak = talk("token/create", payload=payload)["accessToken"]
    for arguments, token, words in (
        (["a*b"], "", "'*' is allowed at the end only"),
        (["--since", "nonsense"], "", "since is not a position"),
        ([], weak, "Access is denied"),
        ([], "no.token", "the gateway refused the token of --token or HIVEWIRE_TOKEN"),
    ):
        with watching(shared_gateway, *arguments, token=token) as running:
            assert running.process.wait(PATIENCE) == 1
            error = running.notes()
            assert words in error
            assert error.count("\n") == 1


def test_nothing_to_connect_to_at_first_is_an_error(watching: Any) -> None:
    """Exit code 3, like every other command: only a gateway that was there is waited for."""
    with watching("http://127.0.0.1:1", token="t") as running:
        assert running.process.wait(PATIENCE) == 3
        assert "cannot reach a gateway" in running.notes()


def test_a_token_that_is_refused_after_a_restart_ends_it(watching: Any, data: Path) -> None:
    """The new gateway has another secret, so reconnecting would never succeed."""
    with RunningGateway(data, "--drain-spread", "0.1") as gateway, watching(gateway, "w") as running:
        assert running.item()["configurations"] == []
        gateway.stop()
        other = {"HIVEWIRE_JWT_SECRET": "another secret that has its 32 bytes"}
        with RunningGateway(data, "--port", str(gateway.port), env=other):
            assert running.process.wait(PATIENCE) == 1
            assert "disconnected" in running.note()
            assert "refused the token of --token" in running.note()


# Tokens.


@pytest.mark.parametrize("main", ["hivewire.cli:main", "tests.clockless:main"])
def test_a_login_is_renewed_without_a_gap(watching: Any, data: Path, tmp_path: Path, main: str) -> None:
    """Long after the access token of the profile has expired changes arrive, over the same connection: the token is
    renewed in time or, when the clock is no help, once it is refused. The new one is kept for other commands."""
    with RunningGateway(data, "--access-token-lifetime", "2") as gateway:
        payload = {"userId": 1, "actions": ["*"], "expiration": "2100-01-01T00:00:00"}
        with gateway.socket() as talk:
            token = talk("token/create", payload=payload)["accessToken"]
        used = {log_in(gateway, tmp_path).access_token}
        with gateway.socket(token) as talk, watching(gateway, "w", token=None, main=main) as running:
            assert running.item()["type"] == "snapshot"
            written = 0
            while len(used) < 3:
                written += 1
                talk("configuration/put", name="w", value=str(written))
                assert running.value() == f"w={written}"
                kept = profiles.load(tmp_path / "profile.json")
                assert kept is not None
                used.add(kept.access_token)
            assert running.interrupt() == 130
            assert RESUME.fullmatch(running.notes())


def test_a_token_that_expires_before_the_subscription_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last millisecond may pass between `authenticate` and `configuration/subscribe`."""
    asked: list[str] = []
    answers: dict[str, list[dict[str, Any]]] = {
        "authenticate": [{}, {}],
        "configuration/subscribe": [
            {"status": "error", "code": 401, "error": "Token expired"},
            {"subscriptionId": 1, "mode": "live", "position": "x-1"},
        ],
        "token/refresh": [{"accessToken": "another"}],
    }

    def handle(connection: ServerConnection) -> None:
        for message in connection:
            frame = json.loads(message)
            asked.append(frame["action"])
            answer = {"requestId": frame["requestId"], "status": "success"}
            connection.send(json.dumps(answer | answers[frame["action"]].pop(0)))
            if not answers["configuration/subscribe"]:
                connection.close(1003, "over")
                return

    monkeypatch.setenv("HIVEWIRE_PROFILE", str(tmp_path / "profile.json"))
    with serving(handle) as url:
        entry = Access(url, "expiring", Profile(url, "admin", "expiring", "refresh"))
        watcher = Watcher(
            entry, "configuration", {"names": None, "snapshot": None, "conflate": None}, None, lambda item: None
        )
        with pytest.raises(click.ClickException, match="over"):
            watcher.run()
    again = ["token/refresh", "authenticate", "configuration/subscribe"]
    assert asked == ["authenticate", "configuration/subscribe", *again]
    assert (watcher.position, entry.token) == ("x-1", "another")


def test_a_content_is_fetched_with_a_new_token_when_the_old_one_has_expired(
    shared_gateway: RunningGateway, talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of `--exec` may take longer than the token lives."""
    monkeypatch.setenv("HIVEWIRE_PROFILE", str(tmp_path / "profile.json"))
    with shared_gateway.http() as client:
        client.put("/configuration/watch.logo/content", content=b"\x89PNG", headers={"Content-Type": "image/png"})
    profile = log_in(shared_gateway, tmp_path)
    expired = talk("token/create", payload={"userId": 1, "actions": ["*"], "expiration": 1_500_000_000_000})
    entry = Access(shared_gateway.url, expired["accessToken"], profile)
    assert _content(entry, {"name": "watch.logo", "value": None}, None, False) == b"\x89PNG"
    assert entry.token not in (expired["accessToken"], "")


def test_a_login_that_was_locked_out_ends_it(watching: Any, data: Path, tmp_path: Path) -> None:
    """The gateway says that the login is refused, and no token can be had any more."""
    write_users(data, ADMIN, ("second", Role.ADMIN, Status.ACTIVE))
    with RunningGateway(data) as gateway, gateway.http() as http:
        log_in(gateway, tmp_path)
        with watching(gateway, token=None) as running:
            assert running.item()["type"] == "snapshot"
            assert http.put("/user/1", json={"status": 1}).status_code == 204
            assert running.process.wait(PATIENCE) == 1
            assert "the saved login is no longer valid" in running.notes()


def test_a_given_token_ends_it_when_it_expires(run: Run, shared_gateway: RunningGateway, talk: Talk) -> None:
    """`watch --token` ends with the reason when the token expires, also while nothing is pushed."""
    for token in brief_tokens(talk):
        ended = run("watch", "watch.token", "--url", shared_gateway.url, "--token", token)
        if ended.out:
            break
    assert json.loads(ended.out)["type"] == "snapshot"
    assert (ended.code, ended.err) == (
        1,
        "hivewire: error: the gateway refused the token of --token or HIVEWIRE_TOKEN: Token expired\n",
    )


def test_a_later_login_is_not_undone(
    shared_gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login during the watch stays in the profile and is not replaced by the old one with a renewed token."""
    monkeypatch.setenv("HIVEWIRE_PROFILE", str(tmp_path / "profile.json"))
    old = log_in(shared_gateway, tmp_path)
    later = Profile(old.url, "somebody", "an access token", "a refresh token")
    profiles.save(later, tmp_path / "profile.json")
    with Remote(old.url) as remote:
        remote.authenticate(Access(old.url, "an expired token", old))
        assert remote.request("user/getCurrent")["current"]["login"] == "admin"
    assert profiles.load(tmp_path / "profile.json") == later


# Its reader.


def test_a_closed_pipe_ends_it(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """`| head -1`: no traceback, and it does not wait for the next change to notice."""
    with watching(shared_gateway, "watch.reader") as running:
        assert running.item()["type"] == "snapshot"
        running.process.stdout.close()
        assert running.process.wait(PATIENCE) == 1
        assert running.notes() == ""


def test_a_slow_reader_gets_everything(watching: Any, shared_gateway: RunningGateway, talk: Talk) -> None:
    """More changes than the command and its pipe hold come in order, none of them is left out."""
    numbers = range(3 * MOST_UNREAD)
    with watching(shared_gateway, "watch.slow", "--no-snapshot", "--no-conflate") as running:
        assert running.item()["type"] == "bookmark"
        for number in numbers:
            talk("configuration/put", name="watch.slow", value=f"{number} " + 2_000 * "x")
        found = [str(running.value()).split()[0] for _ in numbers]
    assert found == [f"watch.slow={number}" for number in numbers]


# Commands and notifications.


def until_followed(gateway: RunningGateway, number: int) -> None:
    """Until exactly so many subscriptions are there."""
    until(lambda: gauge(gateway, "subscriptions") == number)


@pytest.fixture
def devices(shared_gateway: RunningGateway, talk: Talk) -> Iterator[tuple[str, str, str]]:
    """The ids of three new devices; the last one is in a network of its own. Nobody follows anything yet."""
    until_followed(shared_gateway, 0)
    network = talk("network/insert", network={"name": "watch.far"})["network"]["id"]
    ids = ("watch-a", "watch-b", "watch-c")
    for name, where in zip(ids, (1, 1, network), strict=True):
        saved = talk("device/save", deviceId=name, device={"name": name, "networkId": where})
        assert saved["status"] == "success", saved
    yield ids
    talk("network/delete", networkId=network, force=True)
    for name in ids[:2]:
        talk("device/delete", deviceId=name)


def sent(talk: Talk, kind: str, device: str, name: str, **members: Any) -> int:
    """Insert a message; its number."""
    number: int = talk(f"{kind}/insert", deviceId=device, **{kind: {kind: name, **members}})[kind]["id"]
    return number


class Messages:
    """What a command that watches messages prints, without bookmarks."""

    def __init__(self, running: Watching, kind: str) -> None:
        self._running, self._kind = running, kind
        self.position = ""

    def next(self) -> tuple[str, str, str]:
        """The type, device and name of the next message."""
        while (item := self._running.item())["type"] == "bookmark":
            pass
        self.position = item["position"]
        message = item[self._kind]
        return item["type"], message["deviceId"], message[self._kind]


def test_messages_are_watched(
    watching: Any, shared_gateway: RunningGateway, talk: Talk, devices: tuple[str, str, str]
) -> None:
    """Of each device that is named, or of networks and types, or of all; new ones, or updates; with some names."""
    a, b, c = devices
    with ExitStack() as stack:
        started = [
            ("command", (a, b, a)),
            ("command", ("--network", "watch.far", "--type", "1", "--name", "on", "--name", "off")),
            ("command", ("--updates",)),
            ("notification", ("--name", "t")),
        ]
        named, far, updates, told = (
            Messages(stack.enter_context(watching(shared_gateway, *arguments, what=(kind,))), kind)
            for kind, arguments in started
        )
        until_followed(shared_gateway, 5)
        number = sent(talk, "command", c, "on")
        sent(talk, "command", c, "else")
        for device in (a, b):
            sent(talk, "command", device, "on", parameters={"n": 1})
        talk("command/update", deviceId=c, commandId=number, command={"status": "ok"})
        sent(talk, "command", c, "off")
        sent(talk, "notification", b, "u")
        sent(talk, "notification", c, "t")
        assert [named.next(), named.next()] == [("insert", a, "on"), ("insert", b, "on")]
        assert [far.next(), far.next()] == [("insert", c, "on"), ("insert", c, "off")]
        assert updates.next() == ("update", c, "on")
        assert told.next() == ("insert", c, "t")


def test_a_watch_of_messages_resumes_from_any_line(
    watching: Any, shared_gateway: RunningGateway, talk: Talk, devices: tuple[str, str, str]
) -> None:
    """Nothing is missing after `--since`; where it cannot resume, `reset` and everything that is stored follow."""
    a, b, _ = devices
    with watching(shared_gateway, a, b, what=("command",)) as running:
        until_followed(shared_gateway, 2)
        shown = Messages(running, "command")
        sent(talk, "command", a, "1")
        assert shown.next() == ("insert", a, "1")
        assert running.interrupt() == 130
        assert RESUME.fullmatch(running.notes())
    sent(talk, "command", b, "2")
    sent(talk, "command", a, "3")
    with watching(shared_gateway, a, b, "--since", shown.position, what=("command",)) as running:
        again = Messages(running, "command")
        found = [again.next(), again.next()]
        if found[0][2] == "1":  # with several devices some may come again
            found = [*found[1:], again.next()]
        assert sorted(found) == [("insert", a, "3"), ("insert", b, "2")]
    with watching(shared_gateway, a, "--since", "another-5", what=("command",)) as running:
        assert running.item() == {"type": "reset"}
        assert "the gateway's data were replaced" in running.note()
        again = Messages(running, "command")
        assert [again.next()[2], again.next()[2]] == ["1", "3"]
    with watching(shared_gateway, "watch-nobody", what=("notification",)) as running:
        assert running.process.wait(PATIENCE) == 1
        assert running.notes().count("\n") == 1


def test_a_watch_of_messages_outlives_the_gateway(watching: Any, data: Path, tmp_path: Path) -> None:
    """After a crash it shows every command from in between, once; who waits for an answer goes on waiting."""
    with RunningGateway(data) as gateway:
        with gateway.socket() as talk:
            talk("device/save", deviceId="d", device={"name": "d"})
        with ExitStack() as stack, watching(gateway, "d", what=("command",)) as running:
            shown = Messages(running, "command")
            until_followed(gateway, 1)
            with gateway.socket() as talk:
                sent(talk, "command", "d", "1")
            assert shown.next()[2] == "1"
            asking = stack.enter_context(
                Piped(
                    "hivewire.cli:main",
                    ["command", "send", "d", "ask", "--wait", "--timeout", "10m"],
                    environment(tmp_path, gateway.url, gateway.token()),
                )
            )
            stack.callback(asking.kill)
            assert shown.next()[2] == "ask"
            until(lambda: gauge(gateway, "polls") == 1)
            gateway.stop(signal.SIGKILL)
            assert running.note().startswith("hivewire: disconnected (")
            with RunningGateway(data, "--port", str(gateway.port)) as again, again.socket() as talk:
                sent(talk, "command", "d", "2")
                sent(talk, "command", "d", "3")
                assert [shown.next()[2], shown.next()[2]] == ["2", "3"]
                assert running.note() == "hivewire: reconnected, nothing is missing\n"
                sent(talk, "command", "d", "4")
                assert shown.next()[2] == "4"
                number = talk("command/list", deviceId="d", command="ask")["commands"][0]["id"]
                talk("command/update", deviceId="d", commandId=number, command={"status": "ok"})
                assert asking.stdout.read() == "d answers: ok\n"


def test_messages_on_a_narrow_terminal(
    shared_gateway: RunningGateway, admin_token: str, talk: Talk, devices: tuple[str, str, str], tmp_path: Path
) -> None:
    """Each is a line that fits: the time of the day, the device unless there is one, the name, and what is in it."""
    a, b, _ = devices
    there = environment(tmp_path, shared_gateway.url, admin_token)
    for columns, asked, line in (
        (30, (a,), r"\d\d:\d\d:\d\d  tempera…  {\"n\":\"v+…"),
        (60, (a, b), r"\d\d:\d\d:\d\d  watch-a  temperature  {\"n\":\"v+…"),
    ):
        with on_terminal(there, columns, *asked, what=("notification",)) as (process, screen):
            until_followed(shared_gateway, len(asked))
            sent(talk, "notification", a, "temperature", parameters={"n": "v" * 100})
            *_, shown = screen.until("{")
            assert re.fullmatch(line, shown)
            assert len(shown) == columns
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        until_followed(shared_gateway, 0)


def test_the_fleet_is_watched(
    watching: Any, shared_gateway: RunningGateway, talk: Talk, devices: tuple[str, str, str]
) -> None:
    """Its state, then changes: of one device, of networks by their names, and who comes online."""
    a, _, c = devices
    with ExitStack() as stack:
        started = [
            *(("device", (a,)), ("device", ("--network", "watch.far"))),
            *(("device", (a, "--presence")), ("network", ("watch.far",)), ("type", ("--no-snapshot", "-o", "value"))),
        ]
        one, far, present, network, kinds = (
            stack.enter_context(watching(shared_gateway, *arguments, what=(noun,))) for noun, arguments in started
        )
        assert [row["id"] for row in one.item()["devices"]] == [a]
        assert [row["id"] for row in far.item()["devices"]] == [c]
        assert present.item()["devices"][0]["online"] is False
        assert network.item()["networks"][0]["name"] == "watch.far"
        until_followed(shared_gateway, 5)
        number = talk("devicetype/insert", deviceType={"name": "watch.type"})["deviceType"]["id"]
        talk("network/update", networkId=network_of(talk, c), network={"description": "x"})
        talk("device/save", deviceId=c, device={"name": "moved", "networkId": 1})
        talk("device/save", deviceId=a, device={"name": "renamed"})
        assert next_change(one)["device"]["name"] == "renamed"
        gone = next_change(far)
        assert (gone["operation"], gone["deviceId"], gone["device"]) == ("delete", c, None)
        assert next_change(network)["network"]["description"] == "x"
        assert kinds.process.stdout.readline() == f"{number}\n"
        assert present.item()["device"]["name"] == "renamed"
        talk("command/subscribe", deviceId=a)
        item = present.item()
        assert (item["type"], item["deviceId"], item["online"]) == ("presence", a, True)
        talk("command/unsubscribe")
        talk("devicetype/delete", deviceTypeId=number)
        assert one.interrupt() == 130
        position = one.notes().split()[-1]
        talk("device/save", deviceId=a, device={"name": "later"})
        again = stack.enter_context(watching(shared_gateway, a, "--since", position, what=("device",)))
        assert next_change(again)["device"]["name"] == "later"


def test_counts_of_a_fleet_are_watched(
    watching: Any, shared_gateway: RunningGateway, talk: Talk, devices: tuple[str, str, str]
) -> None:
    """A line for each change of them, as the gateway pushes it; a wrong question ends the command."""
    a, *_ = devices
    label = f"watched={a}"
    with watching(shared_gateway, "--label", label, "-o", "json", what=("fleet",)) as counted:
        assert counted.item()["devices"] == 0
        talk("device/label", deviceId=a, labels=dict([label.split("=")]))
        found = counted.item()
        assert (found["type"], found["devices"]) == ("count", 1)
        assert found["applied"] + found["pending"] == 1, "other tests may have values for all devices"
        assert counted.interrupt() == 130
    with watching(shared_gateway, "--rollout", "999999", what=("fleet",)) as refused:
        assert refused.process.wait(PATIENCE) == 1
        assert "Rollout 999999 is not open" in refused.notes()


SAMPLE = "e50d6085-2aba-48e9-b1c3-73c673e414be"


def network_of(talk: Talk, device: str) -> int:
    """The id of the network of a device."""
    number: int = talk("device/get", deviceId=device)["device"]["networkId"]
    return number


def next_change(running: Watching) -> dict[str, Any]:
    """The next message that is no bookmark."""
    while (item := running.item())["type"] == "bookmark":
        pass
    return item


def test_on_a_terminal_the_fleet_has_columns_and_messages_are_waited_for(
    shared_gateway: RunningGateway, admin_token: str, talk: Talk, devices: tuple[str, str, str], tmp_path: Path
) -> None:
    """Networks and types are shown by name; who waits for messages is told that the connection is there."""
    a, _, c = devices
    there = environment(tmp_path, shared_gateway.url, admin_token)
    with on_terminal(there, 120, "--network", "watch.far", what=("device",)) as (process, screen):
        assert screen.until("changes:") == [
            *("state:", "  watch-c  watch-c  watch.far  Default Device Type", "changes:"),
        ]
        talk("device/save", deviceId=c, device={"name": "Lamp", "data": {"x": "\x1b[2J"}})
        (line,) = screen.until("Lamp")
        stars = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+  admin  watch-c  Lamp     watch\.far  Default Device Type  "
        assert re.fullmatch(stars + r'\{"x": "\\u001b\[2J"\}', line)
        talk("device/save", deviceId=c, device={"name": "Lamp", "networkId": 1})
        assert screen.until("gone")[0].endswith("  admin  gone  watch-c")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    with on_terminal(there, 60, SAMPLE, what=("device",)) as (_, screen):
        assert screen.until("changes:")[1] == f"  {SAMPLE}  Sample Device  Samp…"
    with on_terminal(there, 120, a, "--presence", what=("device",)) as (_, screen):
        assert screen.until("changes:")[1] == "  watch-a  offline  watch-a"
        with on_terminal(there, 120, a, what=("command",)) as (_, waiting):
            assert waiting.until("Ctrl-C") == ["hivewire: connected, waiting for commands; Ctrl-C ends it"]
            assert screen.until("is online") == ["watch-a  is online"]
    until_followed(shared_gateway, 0)


@pytest.mark.parametrize(("color", "shown"), [(None, "\x1b[1mlamp\x1b[0m\n"), (False, "lamp\n")])
def test_a_terminal_that_knows_no_colours_gets_nothing_bold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], color: bool | None, shown: str
) -> None:
    """The command line says so for all its output."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with click.Context(click.Command("watch"), color=color):
        Lines().line(("lamp", "bold"))
    assert capsys.readouterr().out == shown


def test_times_and_deletes_are_whole_on_a_narrow_terminal() -> None:
    """A line becomes wider than the terminal before a part of a time, a version or a device is missing."""
    screen, who = (
        io.StringIO(),
        {"modified": "2026-11-27T08:00:00.000", "modifiedBy": "administrator", "type": "update"},
    )
    fleet, configurations = FleetLines(DEVICE), Lines()
    fleet.columns = PRESENCE
    fleet.console = configurations.console = Console(file=screen, width=60, force_terminal=True, color_system=None)
    seen = {"id": SAMPLE, "name": "n" * 50, "online": False, "lastSeen": who["modified"]}
    fleet.show({"type": "snapshot", "devices": [seen], "last": True})
    fleet.show({**who, "deviceId": SAMPLE, "device": None})
    changed = {"name": "n" * 50, "entityVersion": 12_345, "value": None}
    configurations.show({**who, "operation": "delete", "configuration": changed, "description": "r" * 50})
    when = re.escape(local(who["modified"]))
    _, state, _, gone, deleted = screen.getvalue().splitlines()
    assert re.fullmatch(rf"  {SAMPLE}  offline  {when}  n+…", state)
    assert re.fullmatch(rf"{when}  administrator  gone  {SAMPLE}", gone)
    assert re.fullmatch(rf"{when}  administrator  n+…  version 12345  deleted  r+…", deleted)


def test_a_position_covers_all_devices(watching: Any) -> None:
    """It is that of the subscription that is farthest behind, also where only some know that the log is another."""
    asked: list[tuple[str, str | None]] = []
    pushes = [
        {"action": "notification/insert", "subscriptionId": 1, "position": "e-9", "notification": {"id": 1}},
        {"action": "notification/bookmark", "subscriptionId": 2, "position": "e-7"},
        {"action": "notification/bookmark", "subscriptionId": 1, "position": "f-1", "reset": True},
        {"action": "notification/bookmark", "subscriptionId": 2, "position": "f-3", "reset": True},
    ]

    def handle(connection: ServerConnection) -> None:
        for message in connection:
            frame = json.loads(message)
            answer = {"requestId": frame["requestId"], "status": "success"}
            if frame["action"] == "notification/subscribe":
                asked.append((frame["deviceId"], frame.get("since")))
                answer |= {"subscriptionId": 2 - len(asked) % 2, "mode": "resumed", "position": "e-2"}
            connection.send(json.dumps(answer))
            if frame["action"] == "notification/subscribe" and len(asked) == 2:
                for push in pushes:
                    connection.send(json.dumps(push))
                connection.close(1001, "retry=0")
                return

    with (
        serving(handle) as url,
        watching(url, "a", "b", "--since", "e-2", token="t", what=("notification",)) as running,
    ):
        items = [running.item() for _ in range(6)]
        until(lambda: len(asked) == 4)
    assert [item.get("position") for item in items] == ["e-2", "e-7", None, "e-7", None, "f-1"]
    assert items[2] == items[4] == {"type": "reset"}
    assert asked == [("a", "e-2"), ("b", "e-2"), ("a", "f-1"), ("b", "f-3")]
