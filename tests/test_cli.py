"""The command line as its users meet it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import click
import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from hivewire import cli
from hivewire import settings as catalogue
from hivewire.cli import listing
from hivewire.cli import plain as plain_http
from hivewire.cli import profile as profiles
from hivewire.cli.errors import BadAddress, Closed, RefusedByGateway, RemoteError, Unreachable, Unsendable
from hivewire.cli.gateway import Access
from hivewire.cli.identity import moment
from hivewire.cli.message import COMMAND
from hivewire.cli.output import lines, local, on_one_line, printable
from hivewire.cli.profile import Profile, ProfileError
from hivewire.cli.remote import Remote, endpoint
from hivewire.cli.serve import SECTIONS
from hivewire_protocol import times
from hivewire_protocol.nouns.user import Role, Status
from tests.command import Outcome, Run, in_pipes, on_terminal, raw_on_terminal
from tests.forked import Piped
from tests.gate.test_polls import until_waiting
from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk, serving, started, unmeasured
from tests.users import ADMIN, write_users

NOWHERE = "http://127.0.0.1:1"


def profile_of(url: str, access: str = "an-access-token", refresh: str = "a-refresh-token") -> Profile:
    profile = Profile(endpoint(url), "admin", access, refresh)
    profiles.save(profile, profiles.path())
    return profile


# The address.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/api/websocket"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/api/websocket"),
        ("https://config.example.com", "wss://config.example.com/api/websocket"),
        ("HTTPS://Config.Example.com:443/", "wss://config.example.com/api/websocket"),
        ("ws://h:80", "ws://h/api/websocket"),
        ("wss://h:80", "wss://h:80/api/websocket"),
        ("ws://h/dh/websocket", "ws://h/dh/websocket"),
        ("https://h/hive", "wss://h/hive/api/websocket"),
        ("h/hive/", "ws://h/hive/api/websocket"),
        ("http://[::1]:9000", "ws://[::1]:9000/api/websocket"),
        ("h", "ws://h/api/websocket"),
        ("localhost:8080", "ws://localhost:8080/api/websocket"),
        ("127.0.0.1:8080/dh/websocket", "ws://127.0.0.1:8080/dh/websocket"),
        ("[::1]:9000", "ws://[::1]:9000/api/websocket"),
    ],
)
def test_an_address_leads_to_the_socket_of_its_gateway(url: str, expected: str) -> None:
    """A path is a prefix unless it is that of a socket, no scheme means http, and two spellings of one are the same."""
    assert endpoint(url) == expected
    assert endpoint(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        *["", "h:x", "h: 1", "localhost:99999", "ftp:h", "ftp://h", "http://", "http://h:0", "http://h:99999"],
        *["http://h:x", "http://[::1", "http://a b", "http://a..b", f"http://{'x' * 300}"],
    ],
)
def test_an_invalid_address_is_wrong_usage(run: Run, url: str) -> None:
    """The error is one line with an example, before any connection is made."""
    with pytest.raises(BadAddress):
        endpoint(url)
    if url:  # an empty --url counts as none
        outcome = run("login", f"--url={url}", stdin=b"password\n")
        assert outcome.code == 2
        assert "http://127.0.0.1:8080" in outcome.err
        assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("url", ["http://admin:s3cret@h", "http://admin:s3cret@", "s3cret@h"])
def test_a_password_in_an_address_is_refused_and_not_repeated(run: Run, url: str) -> None:
    """It would otherwise be dropped silently, and be saved in the profile."""
    outcome = run("login", "--url", url)
    assert outcome.code == 2
    assert "s3cret" not in outcome.err


# The profile.


def test_the_path_of_the_profile(home: Path) -> None:
    """The profile is at HIVEWIRE_PROFILE, else below XDG_CONFIG_HOME, else below ~/.config."""
    assert profiles.path({"HIVEWIRE_PROFILE": "/p.json", "XDG_CONFIG_HOME": "/x"}) == Path("/p.json")
    assert profiles.path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/hivewire/profile.json")
    assert profiles.path({}) == Path.home() / ".config/hivewire/profile.json"


def test_only_its_owner_can_read_the_profile(home: Path) -> None:
    """The file is 0600 and its directory 0700, whatever the umask; a second one replaces the first."""
    former = os.umask(0)
    try:
        profile_of(NOWHERE)
        profile = profile_of(NOWHERE, access="another")
    finally:
        os.umask(former)
    place = profiles.path()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert profiles.load(place) == profile
    assert os.listdir(place.parent) == ["profile.json"]


def test_the_profile_is_never_readable_by_others_while_it_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file has its mode before it is moved into place."""
    modes = []
    replace = os.replace

    def watched(source: str, target: Path) -> None:
        modes.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    profile_of(NOWHERE)
    assert modes == [0o600]


def test_a_profile_does_not_show_its_tokens(home: Path) -> None:
    """Its repr, as in a traceback or a log, has only the address and the login."""
    assert "token" not in repr(profile_of(NOWHERE)).lower()


def test_without_a_profile_the_error_says_to_log_in(run: Run) -> None:
    """Without a profile a command says how to log in, and connects to no gateway."""
    outcome = run("get", "x")
    assert outcome.code == 1
    assert outcome.err == "hivewire: error: not logged in: run hivewire login, or give --token\n"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", b'{"url": "\xff"}', b"[1]"])
def test_a_broken_profile_is_an_error_but_a_login_replaces_it(
    home: Path, run: Run, shared_gateway: RunningGateway, content: bytes
) -> None:
    """The advice to log in again works; the content of the file is not quoted."""
    place = profiles.path()
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    outcome = run("get", "x")
    assert outcome.code == 1
    assert outcome.err == f"hivewire: error: {place} is not a profile: run hivewire login again\n"
    # Without --url the address of the profile would be used, so this one has to do without.
    assert run("login", stdin=b"").code in (1, 3)
    assert run("login", "--url", shared_gateway.url, stdin=PASSWORD.encode()).code == 0


def test_a_profile_that_cannot_be_written_is_one_line(home: Path) -> None:
    """A file stands where its directory should be."""
    (home / "config").write_text("")
    with pytest.raises(ProfileError, match="cannot write the profile"):
        profile_of(NOWHERE)


def test_the_profiles_token_is_for_its_gateway_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another address, from the flag or the environment, gets no token but an explanation."""
    profile_of(NOWHERE)
    other = "http://127.0.0.1:2"
    for outcome in (run("get", "x", "--url", other), _with(monkeypatch, "HIVEWIRE_URL", other, run, "get", "x")):
        assert outcome.code == 1
        assert "not sent to another gateway" in outcome.err
        assert f"hivewire login --url {other}" in outcome.err
        assert "an-access-token" not in outcome.err
    assert f"not for {other} (HIVEWIRE_URL), and" in outcome.err


def test_an_error_about_the_address_names_its_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named when the address is from there, and not when it is from the flag."""
    for bad, code in (("no address", 2), (NOWHERE, 3)):
        monkeypatch.setenv("HIVEWIRE_URL", bad)
        outcome = run("get", "x", "--token", "a.token")
        assert (outcome.code, outcome.err.startswith("hivewire: error: HIVEWIRE_URL: ")) == (code, True), outcome.err
        told = json.loads(run("get", "x", "--token", "a.token", "--json").err)
        assert told["error"].startswith("HIVEWIRE_URL: ")
        assert "HIVEWIRE_URL" not in run("get", "x", "--token", "a.token", "--url", bad).err


def test_a_profile_that_is_named_comes_before_the_environment(
    run: Run, shared_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address and its token are used, unless a flag names others; a first login takes the address of the
    environment."""
    second = ("--profile", "second")
    monkeypatch.setenv("HIVEWIRE_URL", shared_gateway.url)
    assert run("login", *second, stdin=PASSWORD.encode()).code == 0
    monkeypatch.setenv("HIVEWIRE_URL", NOWHERE)
    monkeypatch.setenv("HIVEWIRE_TOKEN", "no.token")
    assert run("put", "cli.second", "1", *second).code == 0
    assert run("get", "cli.second", *second).out == "1"
    assert run("login", *second, stdin=PASSWORD.encode()).code == 0
    assert f"not for {NOWHERE}, and" in run("get", "cli.second", *second, "--url", NOWHERE).err
    assert "no longer valid" not in (refused := run("get", "cli.second", *second, "--token", "other.token")).err
    assert (refused.code, "refused the token of --token" in refused.err) == (1, True)
    missing = run("get", "cli.second", "--profile", "nobody")
    assert (missing.code, f"run hivewire login --profile nobody --url {NOWHERE}, or" in missing.err) == (1, True)


def test_a_login_that_is_named_is_renewed_and_ends_under_its_name(
    logged_in: Run, shared_gateway: RunningGateway
) -> None:
    """A new token is kept in its profile; when it is revoked the remedy names it, and a logout promises no tokens."""
    ann, place = ("--profile", "ann"), profiles.path().with_name("profile-ann.json")
    assert logged_in("user", "add", "cli.ann", stdin=PASSWORD.encode()).code == 0
    login = ("login", *ann, "--url", shared_gateway.url, "--login", "cli.ann")
    assert logged_in(*login, stdin=PASSWORD.encode()).code == 0
    saved = profiles.load(place)
    assert saved is not None
    saved.access_token = "an.old.token"
    profiles.save(saved, place)
    assert logged_in("whoami", *ann, "-o", "value").out == "cli.ann\n"
    renewed = profiles.load(place)
    assert renewed is not None
    assert renewed.access_token != saved.access_token
    assert logged_in("user", "revoke", "cli.ann").code == 0
    remedy = f"run hivewire login --profile ann --url {shared_gateway.url} --login cli.ann\n"
    assert logged_in("whoami", *ann).err.endswith(f"(Token revoked): {remedy}")
    assert logged_in("logout", *ann).out == "cli.ann is logged out; the gateway no longer accepts its tokens\n"
    assert not place.exists()
    assert logged_in("user", "delete", "cli.ann").code == 0


def test_a_name_with_a_star_is_stored_with_a_warning(logged_in: Run) -> None:
    """The warning is on standard error, and only after a put that was done."""
    put = logged_in("put", "cli.starred.*", "1", "--json")
    warning = "hivewire: warning: cli.starred.* is the name of one configuration, not a pattern\n"
    assert (put.code, json.loads(put.out)["name"], put.err) == (0, "cli.starred.*", warning)
    refused = logged_in("put", "cli.starred.*", "1", "--expect", "7")
    assert (refused.code, "warning" in refused.err) == (1, False)
    assert logged_in("put", "cli.starred", "1").err == ""


def _with(monkeypatch: pytest.MonkeyPatch, name: str, value: str, run: Run, *arguments: str) -> Outcome:
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        return run(*arguments)


# Wrong usage is an error before anything is connected to.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["lis"], "No such command 'lis'. Did you mean 'list'? (see 'hivewire --help')"),
        (["set", "x", "1"], "No such command 'set'. Did you mean 'put'? (see"),
        (["help"], "No such command 'help'. Did you mean '--help'? (see"),
        (["-o", "json", "list"], "'-o'. Options go behind the command, as in: hivewire list -o json (see"),
        (["tenant", "chek"], "Did you mean 'check'? (see 'hivewire tenant --help')"),
        (["serve", "--prt", "1"], "No such option '--prt'. Did you mean '--port'?"),
        (["serve", "--nosuch"], "No such option '--nosuch'. (see 'hivewire serve --help')"),
        (["get"], "Missing argument 'NAME'"),
        (["put", "x"], "give either VALUE or --file"),
        (["put", "x", "1", "--file", "pyproject.toml"], "give either VALUE or --file"),
        (["put", "x", "--file", "/no/such/file"], "No such file"),
        (["put", "x", "1", "--expect", "-1"], "--expect"),
        (["put", "x", "1", "--expect", "one"], "'one' is not a valid whole number"),
        (["put", "x", "-5"], "goes behind --, as in: hivewire put name -- -5"),
        (["list", "--take", "-1"], "--take"),
        (["token"], "Missing option '--action'"),
        (["token", "--action", "GetConfigration"], "did you mean GetConfiguration?"),
        (["token", "--action", "Bogus"], "ManageConfiguration, "),
        (["user", "add", "alice", "--role", "boss"], "is not one of 'admin', 'client'"),
        (["token", "--action", "*", "--expires", "soon"], "neither a time nor a duration"),
        (["token", "--action", "*", "--expires", "0s"], "0s is in the past"),
        (["token", "--action", "*", "--refresh-expires", "2020-01-01T00:00:00"], "2020-01-01T00:00:00 is in the past"),
        (["user", "add", "ab"], "a login has 3 to 128 letters, digits and _@.-"),
        (["user", "add", "x y"], "a login has 3 to 128 letters, digits and _@.-"),
        (["put", "x", "1", "--ttl", "5"], "'5' is not a duration such as 90s"),
        (["put", "x", "1", "--ttl", "1s", "--expires", "2099-01-01"], "give either --ttl or --expires"),
        (["user", "assign", "alice"], "give --network, --type or --all-types"),
        (["user", "assign", "alice", "--all-types", "--type", "lamp"], "give --type or --all-types, not both"),
        (["user", "asign", "alice"], "No such command 'asign'. (Did you mean one of: 'assign', 'unassign'?) (see"),
        (["command", "send", "lamp", "on", "{"], "Invalid value for '[JSON]': is not JSON: Input data was truncated"),
        (["command", "send", "lamp", "on", "[]"], "must be a JSON object"),
        (["command", "send", "lamp", "on", "@/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["command", "send", "lamp", "on", "--timeout", "soon"], "'soon' is not a duration such as 90s"),
        (["notification", "send", "lamp", "on", "NaN"], "is not JSON"),
        (["command", "update", "lamp", "1"], "give --status, the result as JSON, or both"),
        (["command", "watch", "lamp", "--network", "home"], "give DEVICE, or --network and --type, not both"),
        (["notification", "snd"], "Did you mean 'send'? (see 'hivewire notification --help')"),
        (["login", "--password", "secret"], "No such option"),
        (["user", "password", "alice", "--data", "/no/such/file"], "does not exist"),
        (["tenant", "add"], "Missing argument 'NAME'"),
        (["tenant", "list", "--data", "/no/such/file"], "does not exist"),
        (["client", "add", "sync"], "Missing option '--tenant'"),
        (["client", "add", "sync", "--tenant", "t1", "--privilege", "ALL"], "not one of 'READ', 'CREATE', 'UPDATE'"),
        (["serve", "--config", "/no/such/file"], "the settings in /no/such/file: No such file or directory (see"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run: Run, arguments: list[str], words: str) -> None:
    """Wrong usage prints one line and exits with 2, without a login and without a gateway."""
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("hivewire: error: ")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["user"], ["tenant"], ["client"]])
def test_alone_a_group_prints_its_help(run: Run, command: list[str]) -> None:
    """Without arguments `hivewire` and its groups print their help, which is no error."""
    assert run(*command) == run(*command, "--help")


@pytest.mark.parametrize("arguments", [["put", "x", "-"], ["login"], ["import", "-"], ["list"]])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_traceback(logged_in: Run, arguments: list[str], closed: str) -> None:
    """A closed standard input is an empty one, and what goes to a closed output is lost."""
    numbers = "".join(str(number) for number, form in enumerate(("<&-", ">&-", "2>&-")) if form in closed.split())
    with started(CLOSED, numbers, *arguments) as process:
        process.stdin.close()
        printed = process.stdout.read(), process.stderr.read()
    assert "Traceback" not in printed[1]
    assert process.wait(PATIENCE) == (arguments != ["list"]) + (arguments[0] == "import"), printed


CLOSED = """
    import os, sys
    from hivewire import cli

    for number in map(int, sys.argv.pop(1)):
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    cli.main()
"""
"""A command whose streams of these numbers are closed, and None in Python."""


def test_too_little_memory_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway with a large file under a limit of memory says what to look for."""

    def start(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cli._hivewire, "main", start)
    code, printed, told = run("serve")
    assert (code, printed) == (1, "")
    assert told == "hivewire: error: not enough memory; is there a limit (ulimit -v, MemoryMax)?\n"


def test_at_a_start_closed_streams_are_no_traceback(logged_in: Run) -> None:
    """Python itself makes None of them."""
    line = f"{sys.executable} -m hivewire put x - <&- >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(b"hivewire: error: ")


def test_characters_that_the_locale_lacks_are_escapes(logged_in: Run) -> None:
    """Tables are printed with any locale; values in pipes are UTF-8 anyway."""
    assert logged_in("put", "cli.locale", "→" * 80).code == 0
    for command in (["history", "cli.locale"], ["list", "cli.locale"]):
        assert b"\\u2192\\u2192" in raw_on_terminal(*command, PYTHONIOENCODING="latin-1", COLUMNS="60")


def test_a_file_name_that_is_not_text_is_an_escape(logged_in: Run, tmp_path: Path) -> None:
    """A command that did its work on such a file says so, in every form."""
    assert logged_in("put", "cli.bytes", "1").code == 0
    for number, form in enumerate(("table", "json", "yaml", "value")):
        file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff%d" % number)
        outcome = logged_in("export", "cli.bytes", "--output", file, "-o", form)
        assert (outcome.code, outcome.err) == (0, "")
        assert "\\udcff" in outcome.out
        assert os.path.exists(file)
    refused = logged_in("export", "cli.bytes", "--output", file, "--json")
    assert (refused.code, "\\udcff3 exists already" in json.loads(refused.err)["error"]) == (1, True)


def test_a_terminal_that_knows_no_colours_gets_none(logged_in: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR or TERM=dumb there are no escape sequences in tables and differences."""
    assert logged_in("put", "cli.plain", "1").code == 0
    assert logged_in("put", "cli.plain", "2").code == 0
    for command in (["list", "cli.plain"], ["diff", "cli.plain"]):
        assert b"\x1b" in raw_on_terminal(*command, TERM="xterm")
        assert b"\x1b" not in raw_on_terminal(*command, TERM="xterm", NO_COLOR="1")
        assert b"\x1b" not in raw_on_terminal(*command, TERM="dumb")


def test_a_name_that_is_only_a_beginning_gets_a_hint(logged_in: Run) -> None:
    """`get` of it fails and shows how to list the names that begin so; one that begins nothing gets no hint."""
    assert logged_in("put", "cli.begin ning.one", "1").code == 0
    told = "hivewire: error: Requested config with name = cli.begin ning not found in the database\n"
    hint = "  hivewire list 'cli.begin ning*' shows the names that begin like this\n"
    assert logged_in("get", "cli.begin ning") == (1, "", told + hint)
    assert logged_in("get", "cli.begin*").err.count("\n") == 1
    assert logged_in("get", "cli.begin nothing").err.count("\n") == 1


@pytest.mark.parametrize("command", ["get", "list", "history"])
def test_reads_name_the_revision_of_a_write(logged_in: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """`--at-least` and `--fresh` go with the first request of a read; a gateway that has it answers as always."""
    logged_in("put", "elsewhere", "1")
    revision = json.loads(logged_in("put", "elsewhere", "2", "--json").out)["revision"]
    asked: list[dict[str, Any]] = []
    request = Remote.request

    def noted(remote: Remote, action: str, **members: Any) -> dict[str, Any]:
        asked.append({"action": action, **members})
        return request(remote, action, **members)

    monkeypatch.setattr(Remote, "request", noted)
    outcome = logged_in(command, "elsewhere", "--at-least", str(revision), "--fresh", "--json")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert rows[0].get("configuration", rows[0])["value"] == "2"
    read = asked[-1]
    assert (read["action"], read["atLeast"], read["fresh"]) == (f"configuration/{command}", revision, True)


def test_an_error_with_json_is_an_object(logged_in: Run) -> None:
    """With `-o json` or `--json` an error is an object on standard error, with the gateway's code if it has one."""
    outcome = logged_in("get", "cli.none", "-o", "json")
    words = "Requested config with name = cli.none not found in the database"
    assert (outcome.code, outcome.out, json.loads(outcome.err)) == (1, "", {"error": words, "code": 404})
    assert logged_in("put", "cli.json.error", "1").code == 0
    refused = json.loads(logged_in("put", "cli.json.error", "2", "--expect", "9", "--json").err)
    assert (refused["code"], "is at version 1, not 9\n  now: 1\n" in refused["error"]) == (409, True)
    for wrong in (["put", "--json"], ["put", "x", "1", "--expect", "-1", "-o", "json"], ["import", "-", "-o", "json"]):
        outcome = logged_in(*wrong)
        assert (outcome.code, json.loads(outcome.err)["code"], outcome.err.count("\n")) == (2, None, 1)
    outcome = logged_in("get", "x", "--json", "--url", NOWHERE, "--token", "t")
    assert (outcome.code, json.loads(outcome.err)["error"][:12]) == (3, "cannot reach")
    assert logged_in("get", "cli.none", "-o", "yaml").err == f"hivewire: error: {words}\n"


def test_a_password_of_a_wrong_length_is_refused_before_it_is_sent(run: Run) -> None:
    """A password of five characters is wrong usage, and nothing is sent."""
    outcome = run("user", "password", "alice", stdin=b"short\n")
    assert outcome.code == 2
    assert "6 to 128" in outcome.err


def test_a_member_that_breaks_a_rule_is_named_with_the_rule_alone(logged_in: Run) -> None:
    """Of DeviceHive's text, which the gateway answers with."""
    rule = "Field cannot be empty. The length of name should not be more than 128 symbols."
    assert logged_in("network", "add", "") == (1, "", f"hivewire: error: name: {rule}\n")
    told = logged_in("transact", "-", stdin=b'{"changes":[{"operation":"put","name":"cli.rule"}]}').err
    assert told == "hivewire: error: changes[0]: value: value field cannot be null.\n"


GROUPS = (
    *(["user"], ["tenant"], ["client"], ["network"], ["type"], ["device"], ["command"], ["notification"]),
    ["cluster"],
    ["layer"],
    ["rollout"],
    ["fleet"],
)


def every_command(command: click.Command = cli._hivewire, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command, `hivewire` itself and the groups among them."""
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from every_command(found, (*words, name))


def test_every_command_teaches_by_example(run: Run) -> None:
    """`--help` works without a gateway and shows lines to paste."""
    for command in every_command():
        outcome = run(*command, "--help")
        assert outcome.code == 0, command
        if [*command] not in GROUPS:
            assert re.search(r"(Examples|First steps):\n\s+", outcome.out), command
            line = r"^ +(.*\| ?|[A-Z_]+=\S+ )*hivewire " + " ".join(command)
            assert re.search(line, outcome.out, re.MULTILINE), command


@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_list_of_commands_is_not_cut(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Each command has one line with a whole phrase; those of `hivewire` are grouped by subject."""
    monkeypatch.setenv("COLUMNS", columns)
    for command in ([], *GROUPS):
        assert "..." not in run(*command, "--help").out.partition("\n")[2], command
    shown = run("--help").out
    assert re.findall(r"^  ([a-z][a-z-]*)  +\S", shown, re.MULTILINE) == [*cli.COMMANDS]
    assert all(f"\n{heading}:\n  {first} " in shown for first, heading in cli.SUBJECTS.items())


def test_the_settings_are_grouped_by_subject(run: Run) -> None:
    """The help of `serve` has a section for each subject; every setting with a flag is in one of them."""
    found = run("serve", "--help").out
    assert [*re.findall(r"^(\S.+):$", found, re.MULTILINE)] == ["Options", *SECTIONS.values()]
    tls = found.partition("\nTLS:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (--\S+)", tls, re.MULTILINE) == ["--tls-certificate", "--tls-key"]
    assert "  --json " in found
    flags = {f"--{name.replace('_', '-')}" for name in catalogue.names() if not catalogue.is_secret(name)}
    assert flags <= {*re.findall(r"^  (--\S+)", found, re.MULTILINE)}
    assert SECTIONS.keys() <= {*catalogue.names()}


@pytest.mark.parametrize(
    ("command", "without"),
    [
        (["get", "--help"], ["asyncio", "ssl", "websockets", "http.client", "uvicorn", "rich", "hivewire.app"]),
        (["serve", "--help"], ["asyncio", "ssl", "sqlite3", "uvicorn", "rich", "hivewire.app"]),
        (["--help"], ["asyncio", "msgspec", "hivewire.cli.configuration", "hivewire.cli.serve"]),
        (["--version"], ["importlib.metadata", "msgspec"]),
    ],
)
def test_a_command_loads_no_more_than_it_needs(command: list[str], without: list[str]) -> None:
    """Help starts neither a client nor a gateway, and that of `hivewire` loads no command."""
    code = (
        f"import sys; from hivewire import cli; sys.argv = ['hivewire', *{command}]\n"
        "try: cli.main()\n"
        f"finally: print([name for name in {without} if name in sys.modules], file=sys.stderr)"
    )
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=unmeasured())
    assert done.stderr == "[]\n"


def test_the_log_of_a_gateway_does_not_load_what_draws_tables() -> None:
    """structlog is without rich, which it would load for tracebacks that no log shows; commands can still load it."""
    code = "import sys, hivewire.telemetry; print('rich' in sys.modules); import rich.table"
    asked = [sys.executable, "-c", code]
    assert subprocess.run(asked, capture_output=True, text=True, check=True, env=unmeasured()).stdout == "False\n"


def test_the_list_of_commands_says_what_their_help_says() -> None:
    """The sentence with which `hivewire --help` and completion show a command is the first one of its own help."""
    group = cli._hivewire
    for name, (_, sentence) in cli.COMMANDS.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None, name
        assert command.get_short_help_str(1_000) == sentence, name
        (item,) = [found for found in group.shell_complete(click.Context(group), name) if found.value == name]
        assert item.help == sentence, name


# Times.


def test_a_span_counts_from_now() -> None:
    """A duration in seconds, minutes, hours or days counts from now."""
    now = time.time() * 1_000
    for text, seconds in (("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)):
        found = moment(text)
        assert found is not None
        assert abs(found - now - seconds * 1_000) < 5_000


def test_a_time_is_utc_unless_it_says() -> None:
    """An ISO 8601 time without a zone is read as UTC."""
    assert moment(None) is None
    assert moment("2027-01-01T00:00:00") == moment("2027-01-01") == 1_798_761_600_000
    assert moment("2027-01-01T01:00:00+01:00") == moment("2027-01-01T00:00:00Z") == 1_798_761_600_000


# Text of others.


def test_text_of_others_cannot_control_the_terminal() -> None:
    """Escape sequences, also of one character, line breaks and text direction marks are shown, not executed."""
    assert printable("plain été 設定") == "plain été 設定"
    assert printable("\x1b[31m\x9b\n\u202e") == "\\x1b[31m\\x9b\\n\\u202e"
    assert on_one_line("a\n  b \x1b[0m\n") == "a b \\x1b[0m"


# The dashboard.


def test_the_dashboard_is_opened(
    logged_in: Run, shared_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open` prints its address, or that of a configuration in it, and lets the system open it."""
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    page = shared_gateway.url + "/dashboard/"
    assert logged_in("open").out == page + "\n"
    assert logged_in("open", "it's a/b").out == page + "#/one/it%27s%20a%2Fb\n"
    assert opened == [page, page + "#/one/it%27s%20a%2Fb"]
    assert logged_in("open", "--print").out == page + "\n"
    assert len(opened) == 2


def test_a_gateway_without_a_dashboard_is_told(run: Run, data: Path) -> None:
    """Nothing is opened."""
    with RunningGateway(data, "--dashboard=false") as gateway:
        outcome = run("open", "--url", gateway.url)
    assert (outcome.code, outcome.out) == (1, "")
    assert "no dashboard" in outcome.err


# No gateway, or something else.


def test_nothing_listens(run: Run) -> None:
    """Exit code 3, and the address that was tried."""
    outcome = run("get", "x", "--url", NOWHERE, "--token", "s3cret")
    assert outcome == (
        3,
        "",
        "hivewire: error: cannot reach a gateway at http://127.0.0.1:1: Connection refused\n",
    )


def test_an_address_is_shown_as_it_was_typed(run: Run, shared_gateway: RunningGateway) -> None:
    """Errors, login, status and the profile show the address that was given, not the one of the socket."""
    typed = shared_gateway.url.replace("http://", "")
    assert run("get", "x", "--url", f"{typed}/elsewhere", "--token", "t").err == (
        f"hivewire: error: {typed}/elsewhere answers with HTTP 404: is it a gateway?\n"
    )
    told = run("login", "--url", typed, stdin=PASSWORD.encode())
    assert told.out == f"admin is logged in at {typed}\n"
    assert re.search(rf"^gateway +{typed}$", run("status").out, re.MULTILINE)
    assert run("list", "cli.none", "--url", shared_gateway.url).code == 0


def test_the_other_scheme_is_suggested(run: Run, shared_gateway: RunningGateway, tls_gateway: RunningGateway) -> None:
    """http to a port with TLS, and https to one without, are errors that name the address to try."""
    secure, plain = tls_gateway.url, shared_gateway.url
    wrong, given = secure.replace("https", "http"), ("--token", "s3cret")
    outcome = run("get", "x", "--url", wrong, *given)
    assert outcome.err == f"hivewire: error: {wrong} gives no HTTP answer: perhaps it expects TLS; try {secure}\n"
    bare = wrong.removeprefix("http://")
    assert run("get", "x", "--url", bare, *given).err.endswith(f"; try {secure}\n")
    wrong = plain.replace("http", "https")
    outcome = run("get", "x", "--url", wrong, *given)
    assert outcome == (3, "", f"hivewire: error: {wrong} does not use TLS; try {plain}\n")


def test_the_token_of_an_https_address_goes_over_tls(run: Run, tls_gateway: RunningGateway) -> None:
    """Also in the plain HTTP requests of status, whatever form the address was given in."""
    outcome = run("status", "--url", tls_gateway.url, "--token", tls_gateway.token(), "-o", "value")
    assert outcome == (0, "ready\n", "")


def test_a_peer_that_is_not_a_gateway(run: Run, shared_gateway: RunningGateway) -> None:
    """A path without a socket, and TLS without a TLS server, are exit code 3 as well."""
    for url in (shared_gateway.url + "/elsewhere", shared_gateway.url.replace("http", "https")):
        outcome = run("get", "x", "--url", url, "--token", "s3cret")
        assert outcome.code == 3
        assert outcome.err.count("\n") == 1
        assert "s3cret" not in outcome.err


@pytest.fixture
def tls_gateway(
    data: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningGateway]:
    """A gateway with TLS, whose certificate the command trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with RunningGateway(data, f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}") as gateway:
        yield gateway


@pytest.fixture
def stub() -> Iterator[Callable[[Callable[[dict[str, Any]], Any]], str]]:
    """Start a server that answers each frame with what a function makes of it: text, JSON, or a close code."""

    def start(answer: Callable[[dict[str, Any]], Any]) -> str:
        def handle(connection: ServerConnection) -> None:
            for message in connection:
                made = answer(json.loads(message))
                if isinstance(made, int):
                    connection.close(made)
                    return
                connection.send(made if isinstance(made, str) else json.dumps(made))

        return servers.enter_context(serving(handle))

    with ExitStack() as servers:
        yield start


@pytest.mark.parametrize("answer", ["nonsense", "[1]", "1", 1001])
def test_something_else_at_the_address_is_not_a_traceback(stub: Any, answer: Any) -> None:
    """Answers that no gateway gives, or none at all, are Unreachable."""
    with Remote(stub(lambda _: answer)) as remote, pytest.raises(Unreachable):
        remote.request("authenticate", token="t")


@pytest.mark.parametrize(("action", "unsure"), [("configuration/put", True), ("configuration/get", False)])
def test_a_write_whose_answer_is_lost_may_have_been_carried_out(stub: Any, action: str, unsure: bool) -> None:
    """The error says so; of what only reads it does not."""
    with Remote(stub(lambda _: 1001)) as remote, pytest.raises(Closed) as lost:
        remote.request(action, name="a")
    assert ("it may or may not have been carried out" in str(lost.value)) == unsure
    silent = stub(lambda frame: {"requestId": 0})
    with Remote(silent) as remote, pytest.raises(Unreachable, match="no answer in time") as late:
        remote._seconds = 0.05
        remote.request(action, name="a")
    assert ("it may or may not have been carried out" in str(late.value)) == unsure


@pytest.mark.parametrize(("method", "unsure"), [("PUT", True), ("GET", False)])
def test_a_content_whose_answer_is_lost_may_have_been_written(method: str, unsure: bool) -> None:
    """The error says so, unless nothing was sent; of what only reads it does not."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        asked = pool.submit(plain_http.ask, url, method, "/x")
        with server.accept()[0] as connection:
            assert connection.recv(65_536)
        with pytest.raises(Unreachable) as lost:
            asked.result(PATIENCE)
    assert ("it may or may not have been carried out" in str(lost.value)) == unsure
    with pytest.raises(Unreachable, match="refused") as refused:
        plain_http.ask(url, method, "/x")
    assert "may or may not" not in str(refused.value)


def test_an_error_about_a_frame_that_was_not_understood_is_not_waited_past(stub: Any) -> None:
    """It has no requestId (core protocol, section 1.2)."""
    reply = {"code": 400, "status": "error", "error": "Malformed Json received."}
    with Remote(stub(lambda _: reply)) as remote, pytest.raises(RemoteError, match="Malformed") as caught:
        remote.request("x")
    assert caught.value.code == 400


def test_answers_to_others_are_passed_over(stub: Any) -> None:
    """Only the frame with the request's number is its answer; members without a value are not sent."""
    seen = []

    def answer(frame: dict[str, Any]) -> Any:
        seen.append(frame)
        return {"requestId": frame["requestId"], "status": "success"}

    with Remote(stub(answer)) as remote:
        assert remote.request("a", left=None, kept=0)["status"] == "success"
    assert seen == [{"action": "a", "requestId": 1, "kept": 0}]


@pytest.mark.parametrize("renewed", [True, False])
def test_a_token_may_end_between_two_requests(
    stub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewed: bool
) -> None:
    """The saved login gets another one, and the request is sent again; a given token has no other one."""
    monkeypatch.setenv("HIVEWIRE_PROFILE", str(tmp_path / "profile.json"))
    seen, held = [], "old"

    def answer(frame: dict[str, Any]) -> Any:
        nonlocal held
        seen.append(frame["action"])
        held = frame.get("token", held)
        if frame["action"] == "x" and held == "old" and seen.count("x") > 1:
            return {"requestId": frame["requestId"], "status": "error", "code": 401, "error": "Token expired"}
        return {"requestId": frame["requestId"], "status": "success", "accessToken": "new"}

    url = stub(answer)
    access = Access(url, "old", Profile(url, "admin", "old", "refresh") if renewed else None)
    with Remote(url) as remote:
        remote.authenticate(access)
        remote.request("x")
        if renewed:
            assert remote.request("x")["status"] == "success"
            assert (remote.token, access.token) == ("new", "new")
            assert seen == ["authenticate", "x", "x", "token/refresh", "authenticate", "x"]
        else:
            with pytest.raises(RefusedByGateway, match="refused the token of --token"):
                remote.request("x")
            assert seen == ["authenticate", "x", "x"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 404 File not found\r\n\r\n", "expected HTTP/1.1: HTTP/1.0 404 File not found"),
        (b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", "does not pass WebSocket upgrades"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "the gateway behind this proxy does not answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP status line: SSH-2.0-OpenSSH_9.2"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "perhaps it expects TLS; try https://"),
    ],
)
def test_only_a_peer_whose_answer_cannot_be_read_may_expect_tls(answer: bytes, words: str) -> None:
    """What another server answers is shown; the last one is an alert of TLS, which ends like a line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def tell() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=tell)
        thread.start()
        with pytest.raises(Unreachable) as told, Remote(f"http://127.0.0.1:{listener.getsockname()[1]}"):
            pass
        thread.join()
    assert words in str(told.value)
    assert ("TLS" in str(told.value)) == ("TLS" in words)


def test_a_redirect_to_another_host_is_not_followed() -> None:
    """It would get the token, which is for the address that was given."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, socket.create_server(("127.0.0.1", 0)) as listener:
        elsewhere.settimeout(0.2)

        def redirect() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                place = f"ws://127.0.0.1:{elsewhere.getsockname()[1]}/"
                connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

        thread = threading.Thread(target=redirect)
        thread.start()
        with (
            pytest.raises(Unreachable, match=r"302 and a redirect to ws://.*, which is not followed"),
            Remote(f"http://127.0.0.1:{listener.getsockname()[1]}"),
        ):
            pass
        thread.join()
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_an_argument_that_is_not_text_is_not_sent(stub: Any) -> None:
    """A command's argument can hold bytes that are not UTF-8; Python has them as surrogates."""
    with Remote(stub(lambda _: "nonsense")) as remote, pytest.raises(Unsendable):
        remote.request("configuration/get", name="\udcff")


# With a gateway: who one is.


def test_login_takes_the_password_from_a_pipe_or_the_environment(
    run: Run, shared_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With or without --password-stdin; the flag overrides HIVEWIRE_PASSWORD. The password is not saved."""
    login = ("login", "--url", shared_gateway.url)
    assert run(*login, stdin=PASSWORD.encode() + b"\n").code == 0
    assert PASSWORD not in profiles.path().read_text()
    assert run(*login, "--password-stdin", stdin=PASSWORD.encode() + b"\r\n").code == 0
    monkeypatch.setenv("HIVEWIRE_PASSWORD", PASSWORD)
    assert run(*login).code == 0
    wrong = run(*login, "--password-stdin", stdin=b"not this one\n")
    assert wrong == (1, "", "hivewire: error: Invalid credentials\n")


@pytest.mark.parametrize(("stdin", "words"), [(b"", "no password"), (b"\n", "no password"), (b"\xff\n", "not UTF-8")])
def test_no_password_is_one_line(run: Run, shared_gateway: RunningGateway, stdin: bytes, words: str) -> None:
    """A login without a readable password fails with one line and saves no profile."""
    outcome = run("login", "--url", shared_gateway.url, stdin=stdin)
    assert outcome.code == 1
    assert words in outcome.err
    assert not profiles.path().exists()


def test_a_given_token_goes_to_the_address_of_the_profile(logged_in: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--token and HIVEWIRE_TOKEN replace the profile's token, not its address."""
    token = logged_in("token", "--action", "getconfiguration", "--name", "cli.given*").out.strip()
    assert logged_in("list", "cli.given*", "--token", token).code == 0
    refused = _with(monkeypatch, "HIVEWIRE_TOKEN", token, logged_in, "put", "cli.given", "1")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("hivewire: error: Access is denied: ")


def expired_token(talk: Talk) -> str:
    payload = {
        "userId": talk("user/getCurrent")["current"]["id"],
        "actions": ["*"],
        "expiration": "2020-01-01T00:00:00",
    }
    return str(talk("token/create", payload=payload)["accessToken"])


def test_the_error_for_a_refused_token_names_its_source(logged_in: Run, talk: Talk) -> None:
    """The profile's login is not used instead, and the token is not shown."""
    expired = expired_token(talk)
    outcome = logged_in("list", "--token", expired)
    assert outcome == (
        1,
        "",
        "hivewire: error: the gateway refused the token of --token or HIVEWIRE_TOKEN: Token expired\n",
    )


def test_an_expired_login_is_renewed_and_remembered(logged_in: Run, talk: Talk) -> None:
    """With the refresh token, silently; the next command uses the new access token."""
    place = profiles.path()
    profile = profiles.load(place)
    assert profile is not None
    profile.access_token = expired_token(talk)
    profiles.save(profile, place)
    assert logged_in("list", "cli.none*") == (0, "", "")
    renewed = profiles.load(place)
    assert renewed is not None
    assert renewed.access_token != profile.access_token
    assert renewed.refresh_token == profile.refresh_token


def test_a_login_that_has_ended_says_what_to_do(run: Run, shared_gateway: RunningGateway) -> None:
    """When neither saved token is accepted any more, the error says to log in again."""
    profile_of(shared_gateway.url)
    outcome = run("list")
    assert outcome.code == 1
    assert "run hivewire login" in outcome.err
    assert "a-refresh-token" not in outcome.err


def test_only_the_access_token_goes_into_a_pipe(logged_in: Run) -> None:
    """With --json both; on a terminal both with their names."""
    piped = logged_in("token", "--action", "GetConfiguration")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", piped.out)
    tokens = json.loads(logged_in("token", "--action", "GetConfiguration", "--json").out)
    assert list(tokens) == ["accessToken", "refreshToken"]
    shown = on_terminal("token", "--action", "GetConfiguration")
    assert "access token\n" in shown
    assert "refresh token\n" in shown


def test_a_users_password_is_set_and_its_data_kept(logged_in: Run, shared_gateway: RunningGateway, talk: Talk) -> None:
    """The gateway overwrites `data` with every update, so the command sends it back."""
    me = talk("user/getCurrent")["current"]
    talk("user/update", userId=me["id"], user={"data": {"kept": True}})
    assert logged_in("user", "password", "admin", "--password-stdin", stdin=PASSWORD.encode()).code == 0
    assert logged_in("user", "unlock", "admin").code == 0
    assert talk("user/getCurrent")["current"]["data"] == {"kept": True}
    assert logged_in("user", "unlock", "nobody.here") == (1, "", "hivewire: error: there is no user nobody.here\n")


def test_users_are_managed(logged_in: Run, shared_gateway: RunningGateway, run: Run) -> None:
    """Add, list, lock, unlock and role; a locked user cannot log in."""
    password = f"{PASSWORD}\n".encode()
    added = logged_in("user", "add", "cli.alice", stdin=password)
    assert re.fullmatch(r"cli\.alice has the role client \(id \d+\)\n", added.out)
    taken = "hivewire: error: User with such login already exists. Please, select another one\n"
    assert logged_in("user", "add", "cli.alice", stdin=password) == (1, "", taken)
    assert logged_in("user", "role", "cli.alice", "admin").out == "cli.alice has the role admin\n"
    assert logged_in("user", "lock", "cli.alice").out == "cli.alice is locked out\n"
    table = logged_in("user", "list", "-o", "table").out
    assert re.search(r"^\d+ +cli\.alice +admin +locked out +never$", table, re.MULTILINE)
    assert re.search(r"^\d+ +admin +admin +active +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+$", table, re.MULTILINE)
    alice = ("login", "--profile", "alice", "--url", shared_gateway.url, "--login", "cli.alice")
    assert run(*alice, stdin=password) == (1, "", "hivewire: error: User is locked or disabled\n")
    assert logged_in("user", "unlock", "cli.alice").out == "cli.alice is active\n"
    assert run(*alice, stdin=password).code == 0
    assert run("list", "--profile", "alice").code == 0
    assert logged_in("user", "revoke", "cli.alice").out == "the tokens of cli.alice have ended\n"
    assert run("list", "--profile", "alice").code == 1
    assert logged_in("list").code == 0
    assert logged_in("user", "revoke", "nobody.here") == (1, "", "hivewire: error: there is no user nobody.here\n")
    assert run(*alice, stdin=password).code == 0
    assert "cli.alice" in logged_in("user", "list", "-o", "value").out.splitlines()


def test_users_are_assigned_to_networks_and_device_types(logged_in: Run) -> None:
    """By name or id, and nothing if one of them is wrong; a user of all types is narrowed first, and only then."""
    assert logged_in("user", "add", "cli.member", stdin=f"{PASSWORD}\n".encode()).code == 0
    number = logged_in("network", "add", "cli.members", "-o", "value").out.strip()
    told = logged_in("user", "get", "cli.member").out
    assert re.search(r"^login +cli\.member\n(.*\n)+networks +none\ndevice types +all$", told, re.MULTILINE)
    wide = logged_in("user", "assign", "cli.member", "--network", "cli.members", "--type", "Cars")
    words = "cli.member has all device types; to give it only some, run hivewire user unassign cli.member --all-types"
    assert (wide.code, wide.err) == (1, f"hivewire: error: {words} first\n")
    assert logged_in("user", "unassign", "cli.member", "--all-types").code == 0
    wrong = logged_in("user", "assign", "cli.member", "--network", "cli.members", "--type", "cli.none")
    assert wrong == (1, "", "hivewire: error: there is no device type cli.none\n")
    assert "\nnetworks      none\ndevice types  none\n" in logged_in("user", "get", "cli.member").out
    given = ("--network", number, "--network", "Sample Network", "--type", "3", "--type", "Cars")
    for _ in range(2):
        told = logged_in("user", "assign", "cli.member", *given).out
        assert "\nnetworks      Sample Network, cli.members\ndevice types  Lightning, Cars\n" in told
    left = json.loads(logged_in("user", "unassign", "cli.member", *given[:2], *given[4:6], "-o", "json").out)
    assert ([row["id"] for row in left["networks"]], [row["id"] for row in left["deviceTypes"]]) == ([1], [7])
    assert "\ndevice types  all\n" in logged_in("user", "assign", "cli.member", "--all-types").out
    assert logged_in("user", "delete", "cli.member").out == "cli.member is deleted\n"
    missing = "hivewire: error: there is no user cli.member\n"
    for verb in ("get", "delete"):
        assert logged_in("user", verb, "cli.member") == (1, "", missing)
    assert logged_in("user", "delete", "admin").code == 1
    assert logged_in("network", "delete", number).code == 0


@pytest.mark.parametrize(("noun", "words", "full"), [("network", "network", "home"), ("type", "device type", "lamp")])
def test_networks_and_device_types_are_managed(
    logged_in: Run, shared_gateway: RunningGateway, noun: str, words: str, full: str
) -> None:
    """Add, list, change, list the devices and delete, by name; one with devices only by force."""
    name = f"cli.{noun}"
    added = logged_in(noun, "add", name, "--description", "of the test")
    number = re.fullmatch(rf"the {words} {re.escape(name)} is created \(id (\d+)\)\n", added.out)
    assert number is not None
    taken = f"{words.capitalize()} cannot be created. {words.capitalize()} with such name already exists"
    assert logged_in(noun, "add", name) == (1, "", f"hivewire: error: {taken}\n")
    assert logged_in(noun, "list", "cli.%", "-o", "value").out.splitlines() == [name]
    table = logged_in(noun, "list", "-o", "table").out
    assert re.search(rf"^{number[1]} +{re.escape(name)} +of the test$", table, re.MULTILINE)
    shown = f"id           {number[1]}\nname         {name}\ndescription  of the test\n"
    assert logged_in(noun, "get", name).out == logged_in(noun, "get", number[1]).out == shown
    assert logged_in(noun, "get", name, "-o", "value").out == f"{number[1]}\n"
    assert logged_in(noun, "change", name).code == 2
    assert logged_in(noun, "change", name, "--name", f"{name}.2").out == f"the {words} {name} is changed\n"
    missing = f"hivewire: error: there is no {words} {name}\n"
    assert logged_in(noun, "delete", name) == (1, "", missing)
    assert logged_in(noun, "devices", f"{name}.2", "-o", "value").out == ""
    member = {"network": "networkId", "type": "deviceTypeId"}[noun]
    with shared_gateway.http() as client:
        device = client.put(f"/device/cli-{full}", json={"name": "One", member: int(number[1])})
    assert device.status_code == 204
    assert logged_in(noun, "devices", f"{name}.2", "-o", "value").out == f"cli-{full}\n"
    refused = logged_in(noun, "delete", f"{name}.2")
    assert (refused.code, f"devices within this {words}: cli-{full}. Please" in refused.err) == (1, True)
    assert logged_in(noun, "delete", f"{name}.2", "--force").out == f"the {words} {name}.2 is deleted\n"
    assert logged_in(noun, "list", "cli.%", "-o", "value").out == ""


def test_names_with_control_characters_do_not_reach_the_terminal(logged_in: Run) -> None:
    """Anybody who makes networks may have chosen them; completion offers them."""
    name, shown = "cli\x1b[2J\u202e\nname", r"cli\x1b[2J\u202e\nname"
    assert f"the network {shown} is created" in logged_in("network", "add", name, "-o", "table").out
    assert f"the network {shown} is changed" in logged_in("network", "change", name, "--description", "x").out
    assert f"the network {shown} is deleted" in logged_in("network", "delete", name).out
    assert f"there is no network {shown}" in logged_in("network", "devices", name).err
    assert f"there is no user {shown}" in logged_in("user", "get", name).err


def test_devices_are_managed(logged_in: Run, shared_gateway: RunningGateway, admin_token: str) -> None:
    """Put creates a device or changes only what its options say; list, get and delete go by id and name. List and get
    tell who is online."""
    assert logged_in("network", "add", "cli.house").code == 0
    assert logged_in("device", "put", "cli-dev", "--data", '{"a":1}').out == "cli-dev is created\n"
    shown = json.loads(logged_in("device", "get", "cli-dev", "-o", "json").out)
    assert shown == {
        "id": "cli-dev", "name": "cli-dev", "data": {"a": 1}, "networkId": 1, "deviceTypeId": 1, "isBlocked": False,
    }  # fmt: skip
    moved = ("--network", "cli.house", "--type", "Cars", "--block", "--name", "cli dev")
    changed = json.loads(logged_in("device", "put", "cli-dev", *moved, "-o", "json").out)
    assert changed.items() >= {"name": "cli dev", "data": {"a": 1}, "deviceTypeId": 7, "isBlocked": True}.items()
    assert logged_in("device", "put", "cli-dev", "--unblock", "--data", "null").out == "cli-dev is changed\n"
    table = logged_in("device", "list", "cli dev%", "--network", "cli.house", "-o", "table").out.splitlines()
    assert table[1].split() == ["cli-dev", "cli", "dev", "cli.house", "Cars"]
    few = logged_in("token", "--action", "GetDevice", "--network", "cli.house", "-o", "value").out.strip()
    table = logged_in("device", "get", "cli-dev", "-o", "table", "--token", few).out.splitlines()
    assert table[1].split() == ["cli-dev", "cli", "dev", str(changed["networkId"]), "7"]
    assert logged_in("device", "list", "cli dev%", "--network", "Sample Network").out == ""
    for text, words in (("{", "is not JSON"), ("[]", "must be a JSON object")):
        refused = logged_in("device", "put", "cli-dev", "--data", text)
        assert (refused.code, words in refused.err) == (2, True)
    missing = "hivewire: error: there is no network cli.nowhere\n"
    assert logged_in("device", "put", "cli-dev", "--network", "cli.nowhere") == (1, "", missing)
    with shared_gateway.socket(admin_token) as device:
        assert device("command/subscribe", deviceId="cli-dev")["status"] == "success"
        for asked in (("list", "cli dev"), ("get", "cli-dev")):
            table = logged_in("device", *asked, "--presence", "-o", "table").out.splitlines()
            assert re.fullmatch(r"cli-dev +online +20\d\d-[^ ]+ [^ ]+ [^ ]+ +cli dev", table[1])
            assert json.loads(logged_in("device", *asked, "--presence", "-o", "json").out)["online"] is True
    assert logged_in("device", "delete", "cli-dev").out == "cli-dev is deleted\n"
    assert logged_in("device", "get", "cli-dev").code == 1
    assert logged_in("network", "delete", "cli.house").code == 0


def test_a_long_list_of_devices_is_whole(logged_in: Run, talk: Talk) -> None:
    """Also if a page of it is too large for one answer."""
    data = {"text": "x" * 30_000}
    for number in range(60):
        assert talk("device/save", deviceId=f"cli-big-{number}", device={"name": "cli.big", "data": data})["status"]
    shown = logged_in("device", "list", "cli.big", "-o", "value").out.splitlines()
    assert shown == [f"cli-big-{number}" for number in range(60)]
    for noun, name in (("network", "Sample Network"), ("type", "Default Device Type")):
        assert {*shown} < {*logged_in(noun, "devices", name, "-o", "value").out.splitlines()}
    for number in range(60):
        talk("device/delete", deviceId=f"cli-big-{number}")


@pytest.fixture
def lamp(talk: Talk) -> Iterator[str]:
    """The id of a new device."""
    assert talk("device/save", deviceId="cli-lamp", device={"name": "cli.lamp"})["status"] == "success"
    yield "cli-lamp"
    talk("device/delete", deviceId="cli-lamp")


@pytest.mark.parametrize("kind", ["command", "notification"])
def test_messages_are_sent_and_read(logged_in: Run, lamp: str, tmp_path: Path, kind: str) -> None:
    """Parameters come from the argument, a file or standard input, as they are; lists are newest first."""
    (tmp_path / "given.json").write_text('{"from":"a file"}\n')
    first = json.loads(logged_in(kind, "send", lamp, "one", '{"n":1.50}', "-o", "json").out)
    assert (first[kind], first["parameters"], first["deviceId"]) == ("one", {"n": 1.5}, lamp)
    second = logged_in(kind, "send", lamp, "two", f"@{tmp_path}/given.json", "-o", "value").out.strip()
    third = logged_in(kind, "send", lamp, "two", "-", "-o", "value", stdin=b'{"from":"stdin"}\n').out.strip()
    assert re.fullmatch(rf"{kind} \d{{16}} .*\n", logged_in(kind, "send", lamp, "bare").out)
    shown = [json.loads(line) for line in logged_in(kind, "list", lamp).out.splitlines()]
    rows = [row for row in shown if row[kind] != "$device-add"]
    assert [row[kind] for row in rows] == ["bare", "two", "two", "one"]
    assert [row["parameters"] for row in rows] == [None, {"from": "stdin"}, {"from": "a file"}, {"n": 1.5}]
    wanted = logged_in(kind, "list", lamp, "--name", "one", "--name", "two", "--take", "2", "-o", "value")
    assert wanted.out.split() == [third, second]
    assert len(logged_in(kind, "list", lamp, "--since", "1h").out.splitlines()) == len(shown)
    assert logged_in(kind, "list", lamp, "--since", "2100-01-01").out == ""
    table = logged_in(kind, "get", lamp, second, "-o", "table").out.splitlines()
    assert (table[0].split()[:3], table[1].split()[3:6]) == (["when", "id", kind], [second, "two", '{"from":"a'])
    unknown = logged_in(kind, "get", lamp, "5")
    assert (unknown.code, "ound" in unknown.err, unknown.err.count("\n")) == (1, True, 1)
    assert logged_in(kind, "send", "cli-nobody", "x") == (
        *(1, ""), "hivewire: error: Device with such deviceId = cli-nobody not found\n",
    )  # fmt: skip
    narrow = on_terminal(kind, "list", lamp, "--take", "1", columns=30).splitlines()
    assert [line.split()[0] for line in narrow][:3] == ["when", "id", kind]


@pytest.mark.parametrize("size", [5, 60_000])
def test_a_long_list_of_messages_is_whole(
    logged_in: Run, talk: Talk, lamp: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Over pages, also if many have one time and others come meanwhile, and if a page is too large for an answer."""
    monkeypatch.setattr(listing, "PAGE", 4 if size == 5 else 1_000)
    moments = ["2026-01-01T00:00:00.001", *["2026-01-01T00:00:00.002"] * 10, *["2026-01-01T00:00:00.003"] * 10]
    ids = []
    for timestamp in moments:
        given = {"command": "long", "timestamp": timestamp, "parameters": {"text": "x" * size}}
        ids.append(talk("command/insert", deviceId=lamp, command=given)["command"]["id"])
    pages = []

    def request(remote: Remote, action: str, **members: Any) -> Any:
        if action == "command/list":
            pages.append(members["take"])
            talk("command/insert", deviceId=lamp, command={"command": "new"})
        return plain(remote, action, **members)

    plain = Remote.request
    monkeypatch.setattr(Remote, "request", request)
    shown = logged_in("command", "list", lamp, "--name", "long", "--take", "1000", "-o", "value").out.split()
    assert shown == [str(number) for number in reversed(ids)]
    assert len(pages) > 2
    assert logged_in("command", "list", lamp, "--name", "long", "--take", "7", "-o", "value").out.split() == shown[:7]


def test_a_command_that_expires_says_so_in_place_of_a_status(logged_in: Run, lamp: str) -> None:
    """When, or that it is over, until the device has answered."""
    number = logged_in("command", "send", lamp, "door", "--expires", "1h", "-o", "value").out.strip()
    row = json.loads(logged_in("command", "get", lamp, number).out)
    assert f" expires {local(row['expires'])}" in logged_in("command", "get", lamp, number, "-o", "table").out
    status = COMMAND.columns["status"]
    shown = [status(row | more) for more in ({"expires": "2020-01-01T00:00:00.000"}, {"status": "done"})]
    assert shown == ["expired", "done"]


def test_a_command_waits_for_its_answer(
    logged_in: Run, shared_gateway: RunningGateway, admin_token: str, lamp: str
) -> None:
    """It prints status and result, also of an answer that comes with the first look; without one it fails in time."""
    answers = [{"status": "ok", "result": {"on": True}}, {"status": "failed"}, {"result": {"n": 1}}, {}]

    def obey() -> None:
        for answer in answers:
            number = device.receive()["command"]["id"]
            device("command/update", deviceId=lamp, commandId=number, command=answer)

    with shared_gateway.socket(admin_token) as device:
        assert device("command/subscribe", deviceId=lamp)["status"] == "success"
        obeying = threading.Thread(target=obey)
        obeying.start()
        send = ("command", "send", lamp, "on", "--wait")
        assert logged_in(*send) == (0, 'cli-lamp answers: ok {"on":true}\n', "")
        assert logged_in(*send).out == "cli-lamp answers: failed\n"
        assert logged_in(*send, "-o", "value").out == '{"n":1}\n'
        assert json.loads(logged_in(*send, "-o", "json").out)["status"] is None
        obeying.join()
        late = logged_in(*send, "--timeout", "0s")
    words = (
        r"hivewire: error: cli-lamp has not answered command (\d+) in 0 s; later: hivewire command get cli-lamp \1\n"
    )
    none = logged_in(*send, "--expires", "0s")
    assert (none.code, "expiresIn" in none.err) == (1, True)
    assert (late.code, late.out) == (1, "")
    assert re.fullmatch(words, late.err)


def test_a_message_is_sent_once_over_two_connections(run: Run, stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first ends before the answer comes, the second has the same key; a refused one is not repeated."""
    monkeypatch.setattr("hivewire.cli.message.RETRY_SECONDS", 0)
    inserts = []

    def answer(frame: dict[str, Any]) -> Any:
        done = {"requestId": frame["requestId"], "status": "success"}
        if frame["action"] == "authenticate":
            return done
        inserts.append(frame)
        if len(inserts) == 3:
            return {**done, "status": "error", "code": 503, "error": "later"}
        return 1001 if len(inserts) == 1 else {**done, "command": {"id": 7}}

    at = ("command", "send", "lamp", "on", "--url", stub(answer), "--token", "t")
    assert run(*at) == (0, "command 7 is sent to lamp\n", "")
    assert inserts[0] == inserts[1]
    assert len(inserts[0]["idempotencyKey"]) == 32
    assert run(*at) == (1, "", "hivewire: error: later\n")
    assert inserts[2]["idempotencyKey"] != inserts[0]["idempotencyKey"]
    assert len(inserts) == 3


def test_who_waits_hears_what_ends_it(shared_gateway: RunningGateway, talk: Talk, lamp: str, logged_in: Run) -> None:
    """A device that is deleted ends the wait at once, and Ctrl-C says how to see the answer later."""
    command = ["command", "send", lamp, "on", "--wait", "--timeout", "10m"]
    assert talk("command/subscribe", deviceId=lamp)["status"] == "success"
    for how in ("interrupted", "deleted"):
        with Piped("hivewire.cli:main", command, dict(os.environ)) as sending:
            number = talk.receive()["command"]["id"]
            if how == "interrupted":
                until_waiting(shared_gateway, 1)
                sending.send_signal(signal.SIGINT)
            else:
                talk("device/delete", deviceId=lamp)
            assert sending.stdout.read() == ""
            err = sending.stderr.read()
            code = sending.wait(PATIENCE)
        if how == "interrupted":
            told = f"hivewire: command {number} stays sent; its answer: hivewire command get {lamp} {number}\n\n"
            assert (code, err) == (130, told)
        else:
            assert (code, err.count("\n")) == (1, 1)


def test_who_locks_oneself_is_asked_to_say_so(logged_in: Run, run: Run, shared_gateway: RunningGateway) -> None:
    """Nobody could undo it but another administrator, so it needs --yes."""
    password = f"{PASSWORD}\n".encode()
    assert logged_in("user", "add", "cli.lonely", "--role", "admin", stdin=password).code == 0
    own = ("--profile", "lonely")
    assert run("login", *own, "--url", shared_gateway.url, "--login", "cli.lonely", stdin=password).code == 0
    refused = run("user", "lock", "cli.lonely", *own)
    assert refused.code == 2
    assert "cli.lonely is you, and you could not unlock yourself; --yes locks it all the same" in refused.err
    assert run("list", "cli.none*", *own).code == 0
    assert run("user", "lock", "cli.lonely", "--yes", *own).out == "cli.lonely is locked out\n"


def test_schemas_are_managed(logged_in: Run, tmp_path: Path) -> None:
    """Put from the argument or a file, listed, checked and deleted; what does not fit is said in a few lines."""
    file = tmp_path / "ports.json"
    file.write_text('{"type":"array","items":{"type":"integer","maximum":65535}}')
    put = ("schema", "put", "cli.ports*", f"@{file}")
    assert logged_in(*put, "--dry-run").out == "the schema of cli.ports* is not written; it would be at version 1\n"
    assert logged_in(*put).out == "the schema of cli.ports* is at version 1\n"
    assert logged_in("put", "cli.ports", "[80]").code == 0
    refused = logged_in("put", "cli.ports", "[70000]")
    words = "Configuration 'cli.ports' does not fit its schema: /0: 70000 is greater than the maximum of 65535"
    assert refused == (1, "", f"hivewire: error: {words}\n")
    assert logged_in("schema", "check", "cli.ports", "[1]").out == "cli.ports fits\n"
    assert logged_in("schema", "check", "cli.unruled", "[1]").out == "cli.unruled has no schema: every value fits\n"
    wrong = logged_in("schema", "check", "cli.ports", "[70000,70001]")
    assert (wrong.code, wrong.err.count("maximum of 65535")) == (1, 2)
    assert logged_in("schema", "check", "cli.ports", "[70000]", "-o", "value") == (1, "false\n", "")
    misfit = logged_in("schema", "check", "cli.ports", "--schema", '{"minItems":2}')
    assert "  cli.ports: [80] has less than 2 items" in misfit.err
    assert logged_in("schema", "put", "cli.ports", '{"minItems":2}').code == 1
    assert logged_in("schema", "put", "cli.ports", '{"minItems":2}', "--force").code == 0
    assert logged_in("schema", "list", "cli.ports", "-o", "value").out == "cli.ports\n"
    assert "cli.ports*" in logged_in("schema", "list").out
    assert logged_in("schema", "delete", "cli.ports", "--expect", "7").code == 1
    assert logged_in("schema", "delete", "cli.ports").out == "the schema of cli.ports is deleted\n"
    assert logged_in("schema", "put", "cli.ports").code == 2
    assert logged_in("schema", "check", "cli.ports").code == 2
    assert "must be a JSON object, true or false" in logged_in("schema", "put", "cli.ports", "5").err
    assert logged_in("schema", "delete", "cli.ports*").code == 0
    changes = logged_in("schema", "history", "cli.ports")
    assert [json.loads(line)["operation"] for line in changes.out.splitlines()] == ["delete", "put"]
    assert logged_in("schema", "history", "cli.ports", "--take", "1", "-o", "value").out == "(deleted)\n"
    table = logged_in("schema", "history", "cli.ports", "-o", "table").out
    assert "(deleted)" in table
    assert '{"minItems":2}' in table
    assert logged_in("schema", "history", "cli.never").code == 1


def test_what_is_written_later_is_listed_and_cancelled(logged_in: Run, tmp_path: Path) -> None:
    """With --ttl, --expires and --at, whose times are in the future; the number of a schedule cancels it."""
    file = tmp_path / "later.json"
    file.write_text('[{"operation":"put","name":"cli.later","value":"1"}]')
    made = logged_in("transact", str(file), "--at", "2099-01-01T00:00:00Z", "-o", "value")
    number = int(made.out)
    assert logged_in("put", "cli.soon", "1", "--ttl", "1h").code == 0
    assert logged_in("put", "cli.then", "1", "--expires", "2098-01-01T00:00:00Z").code == 0
    rows = [json.loads(line) for line in logged_in("schedule", "list", "-o", "json").out.splitlines()]
    found = {part["name"]: row for row in rows for part in row["changes"]}
    assert (found["cli.later"]["at"], found["cli.soon"]["schedule"]) == ("2099-01-01T00:00:00.000", None)
    assert (found["cli.later"]["schedule"], found["cli.then"]["at"]) == (number, "2098-01-01T00:00:00.000")
    assert "put cli.later" in logged_in("schedule", "list", "-o", "table").out
    tried = logged_in("schedule", "cancel", str(number), "--dry-run")
    assert tried.out == f"schedule {number} is not written; it would be cancelled\n"
    assert logged_in("schedule", "cancel", str(number)).out == f"schedule {number} is cancelled\n"
    assert logged_in("schedule", "cancel", str(number)).code == 1
    assert "in the future" in logged_in("transact", str(file), "--at", "2001-01-01").err
    tried = logged_in("put", "cli.later", "1", "--at", "2099-01-01", "--dry-run")
    assert tried.out == "it is not written; it would be scheduled\n"
    number = int(logged_in("put", "cli.later", "1", "--ttl", "7d", "--at", "2099-01-01", "-o", "value").out)
    assert f"scheduled as {number + 1}" in logged_in("transact", str(file), "--at", "2099-01-01", "-o", "table").out
    for each in (number, number + 1):
        assert logged_in("schedule", "cancel", str(each)).code == 0
    assert logged_in("put", "cli.soon", "1", "--ttl", "soon").code == 2


def test_writes_of_users_and_tenants_can_be_tried(logged_in: Run, tmp_path: Path) -> None:
    """--dry-run says what would be, and refuses what would be refused; on a file it makes no sense."""
    file = tmp_path / "hivewire.db"
    file.touch()
    password = f"{PASSWORD}\n".encode()
    tried = logged_in("user", "add", "cli.tried", "--dry-run", stdin=password)
    assert tried.out == "cli.tried is not written; it would be created\n"
    assert logged_in("user", "lock", "cli.tried", "--dry-run").code == 1
    assert logged_in("user", "add", "cli.tried", stdin=password).code == 0
    for command, words in (
        (("lock", "cli.tried"), "locked out"),
        (("role", "cli.tried", "admin"), "given the role admin"),
        (("password", "cli.tried"), "given a new password"),
        (("unlock", "cli.tried"), "active"),
        (("delete", "cli.tried"), "deleted"),
    ):
        tried = logged_in("user", *command, "--dry-run", stdin=password)
        assert tried == (0, f"cli.tried is not written; it would be {words}\n", "")
    assert json.loads(logged_in("user", "get", "cli.tried", "-o", "json").out)["status"] == 0
    assert (
        logged_in("tenant", "add", "cliTried", "--dry-run").out
        == "tenant cliTried is not written; it would be created\n"
    )
    assert logged_in("tenant", "delete", "cliTried", "--dry-run").code == 1
    assert "--dry-run asks a running gateway" in logged_in("tenant", "add", "x", "--dry-run", "--data", str(file)).err


def test_writes_of_networks_devices_and_clients_can_be_tried(logged_in: Run, tmp_path: Path) -> None:
    """Each says what would be, and refuses what would be refused. What is there stays as it is."""
    file = tmp_path / "hivewire.db"
    file.touch()
    assert logged_in("user", "add", "cli.idle", stdin=f"{PASSWORD}\n".encode()).code == 0
    assert logged_in("tenant", "add", "cliIdle").code == 0
    assert logged_in("network", "add", "cli idle").code == 0
    assert logged_in("type", "add", "cli idle").code == 0
    assert logged_in("device", "put", "cli-idle", "--network", "cli idle").code == 0
    assert logged_in("client", "add", "cli.idle", "--tenant", "cliIdle").code == 0
    for command, words in (
        (("network", "add", "cli new"), "the network cli new {} created"),
        (("network", "change", "cli idle", "--name", "cli new"), "the network cli idle {} changed"),
        (("network", "delete", "cli idle", "--force"), "the network cli idle {} deleted"),
        (("type", "add", "cli new"), "the device type cli new {} created"),
        (("type", "delete", "cli idle"), "the device type cli idle {} deleted"),
        (("device", "put", "cli-new"), "cli-new {} created"),
        (("device", "put", "cli-idle", "--block"), "cli-idle {} changed"),
        (("device", "delete", "cli-idle"), "cli-idle {} deleted"),
        (("user", "assign", "cli.idle", "--network", "cli idle", "--all-types"), "cli.idle {} changed"),
        (("user", "unassign", "cli.idle", "--all-types", "--type", "cli idle"), "cli.idle {} changed"),
        (("client", "add", "cli.new", "--tenant", "cliIdle"), "cli.new {} created"),
        (("client", "secret", "cli.idle"), "cli.idle {} given a new secret"),
        (
            ("client", "privileges", "cli.idle", "--tenant", "cliIdle", "--privilege", "UPDATE"),
            "cli.idle {} given the privileges cliIdle: READ, UPDATE",
        ),
        (("client", "delete", "cli.idle"), "cli.idle {} deleted"),
    ):
        tried = logged_in(*command, "--dry-run")
        assert tried == (0, words.format("is not written; it would be") + "\n", ""), command
        if command[0] == "client":
            on_file = logged_in(*command, "--dry-run", "--data", str(file))
            assert "--dry-run asks a running gateway" in on_file.err
    assert logged_in("network", "delete", "cli idle", "--dry-run").code == 1  # it has a device
    assert logged_in("device", "put", "cli-idle", "--data", '"x"', "--dry-run").code == 2
    shown = json.loads(logged_in("device", "get", "cli-idle", "-o", "json").out)
    assert shown["isBlocked"] is False
    user = json.loads(logged_in("user", "get", "cli.idle", "-o", "json").out)
    assert (user["networks"], user["allDeviceTypesAvailable"]) == ([], True)
    clients = [json.loads(line) for line in logged_in("client", "list", "--json").out.splitlines()]
    assert [row["tenants"] for row in clients if row["clientId"] == "cli.idle"] == [{"cliIdle": ["READ"]}]
    for command in (("network", "delete", "cli idle", "--force"), ("type", "delete", "cli idle")):
        assert logged_in(*command).code == 0
    for command in (("client", "delete", "cli.idle"), ("tenant", "delete", "cliIdle"), ("user", "delete", "cli.idle")):
        assert logged_in(*command).code == 0


def test_a_token_is_for_a_user_by_login_or_id(logged_in: Run) -> None:
    """As every command about users takes the login, so does --user."""
    made = logged_in("user", "add", "cli.named", "-o", "value", stdin=f"{PASSWORD}\n".encode()).out.strip()
    for user in ("cli.named", made):
        token = logged_in("token", "--action", "GetCurrentUser", "--user", user).out.strip()
        shown = json.loads(logged_in("whoami", "--token", token, "-o", "json").out)
        assert shown["login"] == "cli.named"
    refused = logged_in("token", "--action", "GetConfiguration", "--user", "nobody.here")
    assert refused == (1, "", "hivewire: error: there is no user nobody.here\n")


def test_a_token_for_yourself_needs_no_right_to_read_your_user(logged_in: Run) -> None:
    """Whose it is, the token itself says."""
    only = logged_in("token", "--action", "ManageToken", "--action", "GetConfiguration").out.strip()
    made = logged_in("token", "--action", "GetConfiguration", "--token", only)
    assert (made.code, made.err) == (0, "")
    assert json.loads(logged_in("whoami", "--token", made.out.strip(), "--json").out)["actions"] == ["GetConfiguration"]


def test_a_token_for_networks_of_others_is_made_with_a_warning(logged_in: Run) -> None:
    """It reaches nothing there until its user is a member; an administrator is one of all."""
    assert logged_in("user", "add", "cli.other", stdin=f"{PASSWORD}\n".encode()).code == 0
    asked = ("token", "--action", "GetDevice", "--network", "Sample Network", "--user")
    warning = "cli.other is no member of Sample Network, so the token reaches no devices there"
    made = logged_in(*asked, "cli.other")
    assert (made.code, made.err) == (0, f"hivewire: warning: {warning}\n")
    assert made.out.strip()
    assert logged_in("user", "assign", "cli.other", "--network", "1").code == 0
    assert [logged_in(*asked, user).err for user in ("cli.other", "admin")] == ["", ""]
    assert logged_in("user", "delete", "cli.other").code == 0


def test_a_token_for_types_of_a_user_who_has_all_is_made_with_a_warning(logged_in: Run) -> None:
    """Such a user has them whatever a token lists (core protocol, section 3.5)."""
    assert logged_in("user", "add", "cli.typed", stdin=f"{PASSWORD}\n".encode()).code == 0
    asked = ("token", "--action", "GetDevice", "--type", "Cameras", "--type", "7")
    words = "has all device types, so the token is not limited to Cameras, 7"
    for user, login in ((), "admin"), (("--user", "cli.typed"), "cli.typed"):
        made = logged_in(*asked, *user)
        assert (made.code, made.err) == (0, f"hivewire: warning: {login} {words}\n")
    assert logged_in("user", "unassign", "cli.typed", "--all-types").code == 0
    assert logged_in(*asked, "--user", "cli.typed").err == ""
    assert logged_in("user", "delete", "cli.typed").code == 0


def test_a_refusal_names_the_option_that_helps(logged_in: Run) -> None:
    """Where there is one: for what still holds something, and for a name that is deleted."""
    for command in (
        ("network", "add", "cli.full"),
        ("device", "put", "cli-full", "--network", "cli.full"),
        ("layer", "put", "cli-full", "900"),
        ("put", "cli.full", "1", "--layer", "cli-full"),
        *(("put", "cli.full", "1"), ("delete", "cli.full")),
    ):
        assert logged_in(*command).code == 0, command
    for full in (("network", "delete", "cli.full"), ("layer", "delete", "cli-full")):
        assert logged_in(*full).err.endswith("\n  --force deletes them too\n")
        assert logged_in(*full, "--force").code == 0
        assert "--force" not in logged_in(*full).err
    hint = "\n  it is deleted: give --revision with one of those that hivewire history shows\n"
    assert logged_in("rollback", "cli.full", "1").err.endswith(f"not found in the database{hint}")
    assert logged_in("rollback", "cli.never", "1").err.endswith("not found in the database\n")


def test_a_login_can_have_a_name(logged_in: Run, shared_gateway: RunningGateway, home: Path) -> None:
    """--profile, or HIVEWIRE_PROFILE, keeps logins apart; the words of an error repeat it."""
    token = profiles.path().read_text()
    login = ("login", "--profile", "staging", "--url", shared_gateway.url)
    assert logged_in(*login, stdin=PASSWORD.encode()).code == 0
    assert profiles.path().read_text() == token
    assert (profiles.path().parent / "profile-staging.json").exists()
    assert profiles.path({"HIVEWIRE_PROFILE": "staging", "XDG_CONFIG_HOME": "/x"}).name == "profile-staging.json"
    assert logged_in("list", "cli.none", "--profile", "staging").code == 0
    outcome = logged_in("list", "--profile", "nobody")
    words = "not logged in: run hivewire login --profile nobody, or give --token"
    assert outcome == (1, "", f"hivewire: error: {words}\n")


def test_status_needs_no_login(run: Run, logged_in: Run, shared_gateway: RunningGateway) -> None:
    """It shows the gateway's state and version; with a login also the user and the number of configurations."""
    at = ("--url", shared_gateway.url)
    told = json.loads(logged_in("status", "-o", "json").out)
    assert (told["state"], told["login"], told["url"]) == ("ready", "admin", shared_gateway.url)
    assert told["version"] == version("hivewire") and told["revision"] > 0
    profiles.path().unlink()
    assert run("status", "-o", "value", *at) == (0, "ready\n", "")
    refused = run("status", "--token", "no token", *at)
    assert refused.code == 0
    assert re.search(r"^login +not logged in: .*Invalid credentials$", refused.out, re.MULTILINE)
    assert re.search(r"^login +not logged in$", run("status", *at).out, re.MULTILINE)
    assert run("status", "--url", NOWHERE).code == 3


def test_a_token_for_all_actions_allows_what_its_creator_may_do(logged_in: Run) -> None:
    """An administrator's is for everything, and so is one that is made with it; with names it is limited to these."""
    everything = logged_in("token", "--action", "*").out.strip()
    again = logged_in("token", "--action", "*", "--token", everything).out.strip()
    assert logged_in("user", "add", "cli.all", "--password-stdin", "--token", again, stdin=b"a password\n").code == 0
    assert logged_in("tenant", "add", "cliall", "--token", again).code == 0
    for limited in (
        logged_in("token", "--action", "*", "--name", "cli.all*", "--token", again).out.strip(),
        logged_in("token", "--action", "ManageUser", "--token", again).out.strip(),
    ):
        assert "unrestricted token" in logged_in("tenant", "add", "clinone", "--token", limited).err


def test_a_token_reaches_the_networks_and_device_types_that_it_is_made_for(logged_in: Run, lamp: str) -> None:
    """Those that are named; the creator's where only the other ones are; none without either."""
    assert logged_in("network", "add", "cli.scope").code == 0
    assert logged_in("user", "add", "cli.scoped", stdin=f"{PASSWORD}\n".encode()).code == 0
    assert logged_in("user", "unassign", "cli.scoped", "--all-types").code == 0
    everything = ("--network", "1", "--network", "cli.scope", "--type", "1", "--type", "Cars")
    assert logged_in("user", "assign", "cli.scoped", *everything).code == 0
    reach = ("token", "--user", "cli.scoped", "--action", "GetDevice")
    for asked, found in (
        ((), ""),
        (("--network", "Sample Network"), lamp),
        (("--network", "cli.scope"), ""),
        (("--type", "1"), lamp),
        (("--network", "1", "--network", "cli.scope", "--type", "Cars"), ""),
    ):
        token = logged_in(*reach, *asked).out.strip()
        assert logged_in("device", "list", "cli.lamp", "-o", "value", "--token", token).out.strip() == found, asked
    assert logged_in(*reach, "--type", "cli.none") == (1, "", "hivewire: error: there is no device type cli.none\n")
    assert logged_in("user", "delete", "cli.scoped").code == 0
    assert logged_in("network", "delete", "cli.scope").code == 0


def test_whoami_shows_what_a_token_allows(logged_in: Run) -> None:
    """Its login, actions, names and expiry; a token that may not read its user shows the number."""
    assert logged_in("whoami", "-o", "value").out == "admin\n"
    token = logged_in("token", "--action", "GetConfiguration", "--name", "cli.who*", "--expires", "2100-01-01").out
    shown = logged_in("whoami", "--token", token.strip()).out
    line = r"login +user \d+\nactions +GetConfiguration\nnames +cli\.who\*\n(?:.+ none\n){2}valid until +\S+ \S+ \w+\n"
    assert re.match(line, shown)
    told = json.loads(logged_in("whoami", "--token", token.strip(), "--json").out)
    assert (told["actions"], told["names"]) == (["GetConfiguration"], ["cli.who*"])
    assert told["expires"] == "2100-01-01T00:00:00"


def test_logout_ends_the_tokens_of_the_login(logged_in: Run, shared_gateway: RunningGateway) -> None:
    """The gateway revokes them and the profile is deleted; tokens that were made for others stay valid."""
    profile = profiles.load(profiles.path())
    assert profile is not None
    made = logged_in("token", "--action", "GetConfiguration").out.strip()
    at = ("--url", shared_gateway.url, "--token")
    assert logged_in("logout") == (0, "admin is logged out\n", "")
    assert not profiles.path().exists()
    assert logged_in("list", "cli.none", *at, profile.access_token).code == 1
    assert logged_in("list", "cli.none", *at, made).code == 0
    assert logged_in("logout") == (1, "", "hivewire: error: not logged in\n")


def test_logout_forgets_the_login_of_a_gateway_that_is_gone(run: Run, home: Path) -> None:
    """It says that the tokens stay valid."""
    profile_of(NOWHERE)
    outcome = run("logout")
    assert outcome.code == 0
    assert "so they stay valid until they expire (cannot reach a gateway" in outcome.out
    assert not profiles.path().exists()


# Tenants and clients.


def test_the_audit_is_read(logged_in: Run) -> None:
    """Newest first, by kind, person, subject and time, in every form."""
    for name in ("cliAudit1", "cliAudit2"):
        assert logged_in("tenant", "add", name).code == 0
    assert logged_in("audit", "--kind", "tenant", "--take", "2", "-o", "value").out == "cliAudit2\ncliAudit1\n"
    (row,) = map(json.loads, logged_in("audit", "--about", "cliAudit1", "--since", "1h").out.splitlines())
    assert (row["kind"], row["user"], row["count"]) == ("tenant", "admin", 1)
    table = logged_in("audit", "--user", "admin", "--about", "cliAudit2", "-o", "table").out.splitlines()
    assert table[0].split() == ["when", "kind", "about", "who", "from", "count", "detail"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+ +tenant +cliAudit2 +admin ", table[1])
    assert logged_in("audit", "--about", "cliAudit1", "--since", "2100-01-01").out == ""
    assert logged_in("audit", "--user", "nobody.here") == (0, "", "")
    assert logged_in("audit", "--since", "soon").code == 2
    assert "'login', 'token'" in logged_in("audit", "--kind", "logins").err


def test_a_row_that_was_written_late_ends_no_audit(logged_in: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are dated with their minute and come after rows that are younger; much older rows end the search."""
    ages = {9: 1, 8: 4, 7: 2, 6: 60, 5: 1}  # minutes, by number
    asked: list[int | None] = []

    def request(remote: Remote, action: str, *, before: int | None = None, **members: Any) -> Any:
        asked.append(before)
        numbers = [number for number in ages if before is None or number < before][:2]
        return {"rows": [row(number) for number in numbers]}

    def row(number: int) -> dict[str, Any]:
        moment = times.render(time.time_ns() // 1_000_000 - ages[number] * 60_000)
        return {"number": number, "time": moment, "kind": "failure", "subject": str(number), "count": 1}

    monkeypatch.setattr(Remote, "request", request)
    monkeypatch.setattr("hivewire.cli.remote.Remote.authenticate", lambda *_: None)
    assert logged_in("audit", "--since", "3m", "-o", "value").out == "9\n7\n"
    assert asked == [None, 8]


def gets_a_token(gateway: RunningGateway, name: str, secret: str) -> dict[str, Any]:
    """The answer to a client's request for a token."""
    answer = httpx.post(gateway.url + "/oauth/token", data={"grant_type": "client_credentials"}, auth=(name, secret))
    return dict(answer.json())


def test_a_tenants_document_is_read_changed_and_written(logged_in: Run, tmp_path: Path) -> None:
    """Nothing is overwritten unseen: not by a file without a date, not by an old one."""
    assert logged_in("tenant", "add", "cliDoc").code == 0
    assert logged_in("tenant", "get", "cliDoc").err.startswith("hivewire: error: 404: ")
    file, uri = tmp_path / "doc.json", "configuration/sources/CRM"
    document = {"label": "one", "schemaVersion": "1", "entityTypes": [], "sources": [{"uri": uri}]}
    file.write_text(json.dumps(document))
    assert logged_in("tenant", "diff", "cliDoc", str(file)).out == f"+ {uri}\n~ configuration\n"
    saved = logged_in("tenant", "put", "cliDoc", str(file)).out
    assert re.match(r"cliDoc is saved, 20\d\d-\d\d-\d\dT[\d:.]+ UTC; get it again ", saved)
    refused = logged_in("tenant", "put", "cliDoc", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert "conflict: cliDoc was saved by admin, 20" in refused.err
    assert f"{file} has no updatedTime. Nothing was written." in refused.err
    hints = refused.err.splitlines()[-3:]
    assert len({re.search(r"\S   *(?=\S)", hint[2:]).end() for hint in hints}) == 1, hints  # type: ignore[union-attr]
    assert "what others changed since is lost" in hints[-1]
    shown = logged_in("tenant", "get", "cliDoc").out
    read = json.loads(shown)
    assert (read["label"], read["sources"]) == ("one", [{"uri": uri, "id": "1"}])
    file.write_text(shown.replace('"one"', '"two"'))
    assert logged_in("tenant", "diff", "cliDoc", str(file)).out == "~ configuration\n"
    assert logged_in("tenant", "put", "cliDoc", str(file)).code == 0
    refused = logged_in("tenant", "put", "cliDoc", str(file))
    assert (refused.code, f"{file} is based on the version of 20" in refused.err) == (1, True)
    assert logged_in("tenant", "put", "cliDoc", str(file), "--overwrite").code == 0
    file.write_text(json.dumps({"entityTypes": []}))
    assert logged_in("tenant", "diff", "cliDoc", str(file)).out == f"- {uri}\n~ configuration\n"
    wrong = logged_in("tenant", "put", "cliDoc", str(file), "--overwrite")
    assert wrong.code == 1
    assert "304  Business model is not valid: label is missing" in wrong.err
    versions = [json.loads(line) for line in logged_in("tenant", "history", "cliDoc").out.splitlines()]
    assert [(each["updatedBy"], each["schemaVersion"], each["label"]) for each in versions] == [
        *[("admin", "1", "two")] * 2,
        ("admin", "1", "one"),
    ]
    heading, *rows = logged_in("tenant", "history", "cliDoc", "-o", "table").out.splitlines()
    assert heading.split() == ["when", "who", "schemaVersion", "label"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+  admin  1 +two", rows[0])
    assert len(logged_in("tenant", "history", "cliDoc", "--max", "1").out.splitlines()) == 1
    file.write_text("{")
    assert "not JSON" in logged_in("tenant", "put", "cliDoc", str(file)).err
    for verb in ("put", "check", "diff"):
        missing = logged_in("tenant", verb, "cliDoc", str(tmp_path / "none"))
        assert (missing.code, missing.err.startswith("hivewire: error: cannot read")) == (2, True)


def test_a_tenants_document_is_checked(logged_in: Run, tmp_path: Path) -> None:
    """`put` gives the number of warnings and ten of them; `check` shows all, and fails only for errors."""
    assert logged_in("tenant", "add", "cliCheck").code == 0
    file, roles = tmp_path / "doc.json", [{"label": f"role {number}"} for number in range(12)]
    document = {"label": "one", "schemaVersion": "1", "entityTypes": [], "roles": roles}
    file.write_text(json.dumps(document))
    saved = logged_in("tenant", "put", "cliCheck", str(file))
    assert (saved.code, saved.out.startswith("cliCheck is saved, 20")) == (0, True)
    lines = saved.err.splitlines()
    assert lines[:2] == ["hivewire: 12 warnings", "  304  roles[0].URI is missing"]
    assert (len(lines), lines[-1]) == (12, "  and 2 more; hivewire tenant check lists them")
    checked = logged_in("tenant", "check", "cliCheck", str(file))
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.splitlines() == [f"warning  304  roles[{number}].URI is missing" for number in range(12)]
    file.write_text(json.dumps(document | {"label": 1, "roles": []}))
    wrong = logged_in("tenant", "check", "cliCheck", str(file))
    assert (wrong.code, wrong.out) == (1, "error  304  label is not a string\n")
    assert wrong.err == "hivewire: error: 1 error: cliCheck would not be saved\n"
    file.write_text(json.dumps(document | {"roles": []}))
    assert logged_in("tenant", "check", "cliCheck", str(file)) == (0, f"{file} has no errors and no warnings\n", "")
    former = logged_in("tenant", "check", str(file), "cliCheck")
    assert former == (0, f"{file} has no errors and no warnings\n", "")


def test_tenants_and_clients_are_managed_on_a_running_gateway(logged_in: Run, shared_gateway: RunningGateway) -> None:
    """Add, list, delete; only the secret goes into a pipe, and it works."""
    for name in ("cliA", "cliB"):
        assert logged_in("tenant", "add", name) == (0, f"tenant {name} is created\n", "")
    assert {"cliA", "cliB"} <= {*logged_in("tenant", "list", "-o", "value").out.splitlines()}
    made = logged_in("client", "add", "cli.sync", "--tenant", "cliB", "--tenant", "cliA", "--privilege", "update")
    assert (made.code, made.err, made.out.count("\n")) == (0, "", 1)
    granted = gets_a_token(shared_gateway, "cli.sync", made.out.strip())
    assert granted["scope"] == "cliA:READ cliA:UPDATE cliB:READ cliB:UPDATE"
    listed = logged_in("client", "list").out.splitlines()
    granted = {"cliA": ["READ", "UPDATE"], "cliB": ["READ", "UPDATE"]}
    assert ("cli.sync", granted) in [(each["clientId"], each["tenants"]) for each in map(json.loads, listed)]
    table = logged_in("client", "list", "-o", "table").out
    assert re.search(r"^cli\.sync +cliA: READ, UPDATE; cliB: READ, UPDATE$", table, re.MULTILINE)
    new = logged_in("client", "secret", "cli.sync").out.strip()
    assert gets_a_token(shared_gateway, "cli.sync", made.out.strip())["error"] == "invalid_client"
    other = logged_in("client", "privileges", "cli.sync", "--tenant", "cliB", "-o", "table")
    assert other == (0, "cli.sync has the privileges cliB: READ\n", "")
    assert gets_a_token(shared_gateway, "cli.sync", new)["scope"] == "cliB:READ"
    assert logged_in("client", "privileges", "cli.sync", "--tenant", "cliA", "--tenant", "cliB").code == 0
    for name in ("cliA", "cliB"):
        assert logged_in("tenant", "delete", name) == (0, f"{name} is deleted\n", "")
    assert '{"clientId":"cli.sync","tenants":{},' in logged_in("client", "list").out
    assert logged_in("client", "delete", "cli.sync") == (0, "cli.sync is deleted\n", "")
    assert gets_a_token(shared_gateway, "cli.sync", new)["error"] == "invalid_client"


def test_connections_are_listed_and_closed(logged_in: Run, shared_gateway: RunningGateway, talk: Talk) -> None:
    """A socket gets 4011, and an event stream an event with it; the command itself is connected while it asks."""
    created = talk("user/insert", user={"login": "cliSeen", "password": "cliSeen's password", "role": 1, "status": 0})
    rights = {"userId": created["user"]["id"], "actions": ["GetConfiguration"]}
    token = talk("token/create", payload=rights)["accessToken"]
    with (
        shared_gateway.socket(token) as seen,
        shared_gateway.http(token) as http,
        http.stream("GET", "/configuration", headers={"Accept": "text/event-stream"}) as events,
    ):
        assert seen("server/info")["status"] == "success"
        rows = [*map(json.loads, logged_in("connections", "--login", "cliSeen").out.splitlines())]
        assert [(row["kind"], row["address"]) for row in rows] == [("websocket", "127.0.0.1"), ("events", "127.0.0.1")]
        assert '"login":"admin"' in logged_in("connections").out
        table = logged_in("connections", "--login", "cliSeen", "-o", "table").out.splitlines()
        assert " ".join(table[0].split()) == "id kind login from since subscriptions behind unread gateway"
        for row in rows:
            id = row["connectionId"]
            assert logged_in("connections", "--close", id, "-o", "table") == (0, f"{id} is closed\n", "")
            refused = f"hivewire: error: Connection with id = {id} not found\n"
            assert logged_in("connections", "--close", id) == (1, "", refused)
        with pytest.raises(ConnectionClosed) as closed:
            seen.receive()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4011, "closed by an administrator")
        assert '"code":4011' in events.read().decode()
    assert logged_in("connections", "--login", "cliSeen") == (0, "", "")
    assert logged_in("connections", "--login", "a", "--close", "b").code == 2
    assert talk("user/delete", userId=created["user"]["id"])["status"] == "success"


def test_refusals_about_tenants_and_clients_are_one_line(logged_in: Run) -> None:
    """Refused commands about tenants and clients print the gateway's text on one line."""
    assert logged_in("tenant", "add", "cliC").code == 0
    for arguments, words in [
        (["tenant", "add", "cliC"], "Tenant with id = cliC exists already"),
        (["tenant", "add", "no-tenant"], "tenantId: the id of a tenant is 1 to 32 letters and digits"),
        (["tenant", "delete", "cliD"], "Tenant with id = cliD not found"),
        (["client", "add", "x", "--tenant", "cliD"], "there is no tenant 'cliD'"),
        (["client", "secret", "nobody"], "Client with id = nobody not found"),
        (["client", "delete", "nobody"], "Client with id = nobody not found"),
    ]:
        assert logged_in(*arguments) == (1, "", f"hivewire: error: {words}\n")


def test_a_secret_is_shown_once_on_a_terminal(logged_in: Run, shared_gateway: RunningGateway) -> None:
    """With its purpose, and a note that it is not shown again; nothing else shows it."""
    assert logged_in("tenant", "add", "cliE").code == 0
    shown = on_terminal("client", "add", "cli.terminal", "--tenant", "cliE")
    secret = re.search(r"^secret +(\S{43})\s*$", shown, re.MULTILINE)
    assert secret is not None
    assert "not shown again" in shown
    assert gets_a_token(shared_gateway, "cli.terminal", secret[1])["scope"] == "cliE:READ"
    assert secret[1] not in logged_in("client", "list").out


@pytest.mark.parametrize("command", [["user", "unlock", "admin"], ["tenant", "add", "t1"]])
def test_an_empty_file_is_left_as_it_is(run: Run, tmp_path: Path, command: list[str]) -> None:
    """Commands on a data file leave an empty file as it is; only a gateway initialises it."""
    empty = tmp_path / "empty.db"
    empty.touch()
    outcome = run(*command, "--data", str(empty))
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "is empty, not a Hivewire ledger" in outcome.err
    assert not empty.stat().st_size


def test_tenants_and_clients_are_managed_on_the_file_of_a_stopped_gateway(run: Run, data: Path) -> None:
    """--data needs no login; while a gateway uses the file, nothing is done."""
    with RunningGateway(data) as gateway:
        busy = run("tenant", "add", "t1", "--data", str(data))
        assert busy.code == 1
        assert "in use" in busy.err
        assert gateway.stop() == 0
    on_file = ("--data", str(data))
    assert run("tenant", "add", "t1", *on_file).out == "tenant t1 is created\n"
    assert run("tenant", "add", "t2", *on_file).code == 0
    assert run("tenant", "list", *on_file).out == '{"tenantId":"t1"}\n{"tenantId":"t2"}\n'
    made = run("client", "add", "sync", "--tenant", "t1", "--privilege", "DELETE", "--privilege", "CREATE", *on_file)
    assert run("client", "add", "gone", "--tenant", "t2", *on_file).code == 0
    assert run("client", "list", *on_file).out == (
        '{"clientId":"gone","tenants":{"t2":["READ"]},"revision":6}\n'
        '{"clientId":"sync","tenants":{"t1":["CREATE","DELETE"]},"revision":5}\n'
    )
    assert run("client", "delete", "gone", *on_file).out == "gone is deleted\n"
    assert run("tenant", "delete", "t2", *on_file).out == "t2 is deleted\n"
    for arguments, words in [
        (["tenant", "add", "t1"], f"there is a tenant t1 already in {data}"),
        (["tenant", "add", "t-1"], "the id of a tenant is 1 to 32 letters and digits"),
        (["tenant", "delete", "t2"], f"there is no tenant t2 in {data}"),
        (["client", "add", "sync", "--tenant", "t1"], f"there is a client sync already in {data}"),
        (["client", "add", "x", "--tenant", "t2"], "there is no tenant 't2'"),
        (["client", "secret", "gone"], "there is no client 'gone'"),
        (["client", "delete", "gone"], f"there is no client gone in {data}"),
    ]:
        assert run(*arguments, *on_file) == (1, "", f"hivewire: error: {words}\n")
    with RunningGateway(data) as gateway:
        assert gets_a_token(gateway, "sync", made.out.strip())["scope"] == "t1:CREATE t1:DELETE"
        assert gateway.stop() == 0
    new = run("client", "secret", "sync", *on_file).out.strip()
    assert run("client", "privileges", "sync", "--tenant", "t1", *on_file).code == 0
    with RunningGateway(data) as gateway:
        assert gets_a_token(gateway, "sync", made.out.strip())["error"] == "invalid_client"
        assert gets_a_token(gateway, "sync", new)["scope"] == "t1:READ"


def test_a_role_is_changed_in_the_file_of_a_stopped_gateway(run: Run, data: Path) -> None:
    """The tokens of the user end with its role. Each start names an active administrator, if there is one."""
    on_file = ("--data", str(data))
    write_users(data, ADMIN, ("second", Role.ADMIN, Status.ACTIVE))
    with RunningGateway(data) as gateway:
        token = gateway.token("second")
        assert announced(gateway) == "admin"
    assert run("user", "role", "admin", "client", *on_file).code == 0
    with RunningGateway(data) as gateway, gateway.http(token) as client:
        assert client.get("/configuration").status_code == 200
        assert announced(gateway) == "second"
    for role in ("client", "admin", "client"):
        assert run("user", "role", "second", role, *on_file).code == 0
    with RunningGateway(data) as gateway, gateway.http(token) as client:
        assert client.get("/configuration").json()["message"] == "Token revoked"
        assert announced(gateway) is None


def announced(gateway: RunningGateway) -> str | None:
    """The administrator that the start named."""
    [started] = gateway.events("started")
    return cast("str | None", started["administrator"])


# With a gateway: configuration.


@pytest.mark.parametrize("value", ["42", "two\nlines\n", " spaces ", "-5", "été \U0001f41d", "\ttab\r\n", "\0"])
def test_what_was_put_comes_out_again_to_the_byte(logged_in: Run, home: Path, value: str) -> None:
    """Through a file and through a pipe."""
    file = home / "value"
    file.write_bytes(value.encode())
    assert logged_in("put", "cli.exact", "--file", str(file)).code == 0
    assert logged_in("get", "cli.exact").out == value
    assert logged_in("put", "cli.exact", "--file", "-", stdin=value.encode()).code == 0
    assert logged_in("get", "cli.exact").out == value


def test_the_newline_of_echo_is_removed_from_a_piped_value(logged_in: Run) -> None:
    """`echo 42 | hivewire put x -` puts 42; a value after `--` may start with a minus sign."""
    assert logged_in("put", "cli.echo", "-", stdin=b"42\n").code == 0
    assert logged_in("get", "cli.echo").out == "42"
    assert logged_in("put", "cli.echo", "--", "-5").code == 0
    assert logged_in("get", "cli.echo").out == "-5"


def test_on_a_terminal_a_newline_follows_the_value(logged_in: Run) -> None:
    """The prompt starts on a new line."""
    logged_in("put", "cli.shown", "42")
    assert on_terminal("get", "cli.shown") == "42\n"


def test_no_value_controls_a_terminal(logged_in: Run) -> None:
    """Lines and tabs are shown as such; JSON escapes everything else, and has the same value."""
    value = "a\tb\n\x1b]0;owned\x07\x9b\u202ec"
    logged_in("put", "cli.steering", value)
    assert on_terminal("get", "cli.steering") == "a\tb\n\\x1b]0;owned\\x07\\x9b\\u202ec\n"
    as_json = on_terminal("get", "cli.steering", "--json")
    assert as_json.rstrip("\n").isprintable()
    assert json.loads(as_json)["value"] == value


def test_no_name_controls_a_terminal(logged_in: Run) -> None:
    """A character that reverses the direction of text is not a control character; it is shown as an escape, too."""
    name = "cli.turned.\u202eeman"
    assert logged_in("put", name, "1").code == 0
    for arguments in (("list", "cli.turned.*"), ("history", name)):
        shown = on_terminal(*arguments)
        assert "\u202e" not in shown
    assert "cli.turned.\\u202eeman" in on_terminal("list", "cli.turned.*")


def test_a_conflict_shows_the_current_version(logged_in: Run) -> None:
    """The gateway's text, the current value, its version, author, time and reason; nothing is written."""
    logged_in("put", "cli.conflict", "lunch", "--description", "the first")
    outcome = logged_in("put", "cli.conflict", "dinner", "--expect", "7")
    assert outcome.code == 1
    assert outcome.out == ""
    first, now, put, reason = outcome.err.splitlines()
    assert first == "hivewire: error: Configuration 'cli.conflict' is at version 1, not 7"
    assert now == "  now: lunch"
    assert re.fullmatch(r"  put by admin at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+, version 1, revision \d+", put)
    assert reason == "  reason: the first"
    assert logged_in("get", "cli.conflict").out == "lunch"
    assert logged_in("put", "cli.conflict", "dinner", "--expect", "1").code == 0
    assert "  now: dinner" in logged_in("delete", "cli.conflict", "--expect", "1").err
    assert logged_in("delete", "cli.conflict", "--expect", "2").code == 0
    assert "  deleted by admin" in logged_in("put", "cli.conflict", "x", "--expect", "2").err
    assert "  it has never existed" in logged_in("put", "cli.never", "x", "--expect", "2").err


def test_expecting_nothing_creates_only(logged_in: Run) -> None:
    """`put --expect 0` creates a name and refuses one that exists."""
    assert logged_in("put", "cli.create", "1", "--expect", "0").code == 0
    assert logged_in("put", "cli.create", "2", "--expect", "0").code == 1


def test_a_missing_name_has_the_gateways_error(logged_in: Run) -> None:
    """`get` of a missing name exits with 1 and prints the gateway's error."""
    outcome = logged_in("get", "cli.missing")
    assert outcome.code == 1
    assert outcome.err == "hivewire: error: Requested config with name = cli.missing not found in the database\n"


@pytest.mark.parametrize(("value", "problem"), [("", "Value is empty"), ("s3cret" * 20_000, "at most 65,536")])
def test_a_refused_value_is_not_repeated(logged_in: Run, value: str, problem: str) -> None:
    """The error is one line without it."""
    outcome = logged_in("put", "cli.refused", "--file", "-", stdin=value.encode())
    assert outcome.code == 1
    assert problem in outcome.err
    assert "s3cret" not in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_value_of_a_json_type_is_checked(logged_in: Run) -> None:
    """Invalid JSON is refused with the place; --no-check stores it."""
    put = ("put", "cli.json", "{a:1}", "--content-type", "application/json")
    refused = logged_in(*put)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert refused.err.startswith("hivewire: error: Value is not valid JSON, which its contentType requires: ")
    assert logged_in(*put, "--no-check").code == 0


def test_a_value_larger_than_a_message_is_refused(logged_in: Run) -> None:
    """The gateway closes the connection meanwhile; whether or not its reason arrives, the error names the size."""
    outcome = logged_in("put", "cli.huge", "--file", "-", stdin=b"x" * (2 << 20))
    assert outcome.code in (1, 3)
    assert re.search("larger than the gateway|too large", outcome.err)
    assert outcome.err.count("\n") == 1


def test_a_refusal_for_size_that_gets_through_is_a_refusal(stub: Any) -> None:
    """Close code 1009 is error 413: the gateway is there and says no."""
    with Remote(stub(lambda _: 1009)) as remote, pytest.raises(RemoteError) as caught:
        remote.request("configuration/put", value="x")
    assert caught.value.code == 413


@pytest.mark.parametrize("arguments", [["put", "cli.bytes", "\udcff"], ["get", "\udcff"], ["list", "\udcff"]])
def test_an_argument_that_is_not_text_is_wrong_usage(logged_in: Run, arguments: list[str]) -> None:
    """So is a value on standard input that is not text."""
    outcome = logged_in(*arguments)
    assert outcome.code == 2
    assert "not UTF-8" in outcome.err
    assert "not UTF-8" in logged_in("put", "cli.bytes", "-", stdin=b"\xff").err


def test_a_list_in_a_pipe_is_one_object_per_line(logged_in: Run) -> None:
    """JSON objects with the members of the API; --after and --take choose the rows."""
    first = '{"name":"cli.list.a","value":"one\\ttwo\\nthree\\\\","entityVersion":1}\n'
    second = '{"name":"cli.list.b","value":"3","entityVersion":2}\n'
    logged_in("put", "cli.list.a", "one\ttwo\nthree\\")
    logged_in("put", "cli.list.b", "2")
    logged_in("put", "cli.list.b", "3")
    assert logged_in("list", "cli.list.*").out == first + second
    assert logged_in("list", "cli.list.b", "cli.list.z") == (0, second, "")
    assert logged_in("list", "cli.list.*", "--after", "cli.list.a").out == second
    assert logged_in("list", "cli.list.*", "--take", "1", "--json").out == first
    assert logged_in("list", "cli.list.*", "--take", "0") == (0, "", "")


def test_the_output_format_can_be_chosen(logged_in: Run) -> None:
    """-o table, json, yaml and value, for writes, for one row and for many."""
    assert logged_in("put", "cli.form.a", "one", "-o", "value").out == "1\n"
    put = json.loads(logged_in("put", "cli.form.b", "two", "-o", "json").out)
    assert (put["name"], put["value"], put["entityVersion"]) == ("cli.form.b", "two", 1)
    assert logged_in("list", "cli.form.*", "-o", "value").out == "one\ntwo\n"
    table = "name        version  value\ncli.form.a  1        one\ncli.form.b  1        two\n"
    assert logged_in("list", "cli.form.*", "-o", "table").out == table
    documents = logged_in("list", "cli.form.*", "-o", "yaml").out
    assert [each["name"] for each in yaml.safe_load_all(documents)] == ["cli.form.a", "cli.form.b"]
    assert logged_in("get", "cli.form.a", "-o", "value").out == "one"
    assert logged_in("get", "cli.form.a", "-o", "table").out == table.removesuffix("cli.form.b  1        two\n")
    assert logged_in("history", "cli.form.a", "-o", "value").out == "one\n"
    assert logged_in("history", "cli.form.a").out.startswith('{"revision":')
    assert yaml.safe_load(logged_in("delete", "cli.form.a", "-o", "yaml").out)["name"] == "cli.form.a"


@pytest.mark.parametrize("value", ["\x1b[31m\u202e", "no\n- one: 1\n", "été 設定", "yes", "0x1"])
def test_yaml_is_read_back_as_it_was_put_and_controls_no_terminal(logged_in: Run, value: str) -> None:
    """Invisible characters are YAML escapes; text that looks like another type is quoted."""
    assert logged_in("put", "cli.yaml", "--file", "-", stdin=value.encode()).code == 0
    shown = logged_in("get", "cli.yaml", "-o", "yaml").out
    assert yaml.safe_load(shown)["value"] == value
    assert lines(shown) == shown


def test_binaries_are_put_and_got(logged_in: Run, tmp_path: Path) -> None:
    """With the type that belongs to the file's name; a conflict shows the other writer, as for text."""
    logo = tmp_path / "logo.png"
    logo.write_bytes(b"\x89PNG\x00\xff\n")
    assert re.match(r"cli\.logo is at version 1 ", logged_in("put", "cli.logo", "--file", str(logo)).out)
    listed = json.loads(logged_in("list", "cli.logo").out)
    assert (listed["contentType"], listed["size"]) == ("image/png", 7)
    assert in_pipes("get", "cli.logo").stdout == logo.read_bytes()
    refused = logged_in("put", "cli.logo", "--file", str(logo), "--expect", "7")
    assert refused.code == 1
    assert "is at version 1, not 7\n  now: (image/png, 7 bytes)\n  put by admin" in refused.err
    assert logged_in("get", "cli.never", "-o", "value").code == 1


def test_a_long_text_is_got_whole(logged_in: Run, shared_gateway: RunningGateway, admin_token: str) -> None:
    """The gateway leaves it out of a message."""
    text = "é" * 100_000
    place, bearer = f"{shared_gateway.rest_url}/configuration/cli.long/content", f"Bearer {admin_token}"
    headers = {"Authorization": bearer, "Content-Type": "text/plain; charset=utf-8"}
    assert httpx.put(place, content=text.encode(), headers=headers).status_code == 200
    assert in_pipes("get", "cli.long").stdout.decode() == text


def test_a_pattern_without_its_star_gets_a_hint(logged_in: Run) -> None:
    """On standard error, only if nothing matched and the star would have matched something."""
    logged_in("put", "cli.hint.a", "1")
    hint = "hivewire: there is no cli.hint; did you mean 'cli.hint*'?\n"
    assert logged_in("list", "cli.hint") == (0, "", hint)
    assert logged_in("list", "cli.nothing.at.all") == (0, "", "")
    assert logged_in("list", "cli.hint", "cli.hint.a").err == ""


def test_a_list_is_complete_however_many_and_however_large(logged_in: Run, talk: Talk) -> None:
    """Pages follow one another, and become smaller when an answer would be too large."""
    for start in (0, 525):
        puts = [{"operation": "put", "name": f"cli.many.{n:04}", "value": "x"} for n in range(start, start + 525)]
        assert talk("configuration/transact", changes=puts)["status"] == "success"
    for number in range(40):
        talk("configuration/put", name=f"cli.large.{number:04}", value="x" * 60_000)
    many = logged_in("list", "cli.many.*").out.splitlines()
    assert [json.loads(line)["name"] for line in many] == [f"cli.many.{number:04}" for number in range(1_050)]
    assert len(logged_in("list", "cli.many.*", "--take", "1020").out.splitlines()) == 1_020
    assert len(logged_in("list", "cli.large.*").out.splitlines()) == 40
    # Other tests list all that this gateway has.
    deletes = [{"operation": "delete", "name": f"cli.large.{number:04}"} for number in range(40)]
    assert talk("configuration/transact", changes=deletes)["status"] == "success"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_pipe_in_the_help_of_list_prints_names(logged_in: Run) -> None:
    """The example in the help is a command to paste."""
    assert logged_in("put", "cli.piped", "1").code == 0
    examples = logged_in("list", "--help").out.partition("Examples:")[2].splitlines()
    example = next(line for line in examples if "|" in line).partition("(")[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", example], env={**os.environ, "PATH": path}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"cli.piped" in done.stdout.splitlines()


@pytest.mark.parametrize("columns", [60, 80])
def test_times_and_numbers_are_whole_in_a_narrow_table(logged_in: Run, columns: int) -> None:
    """Names, values and reasons are cut to make room for them, and the lines still fit."""
    name = "cli.narrow." + "n" * 60
    for value in ("v" * 70, "w" * 70):
        assert logged_in("put", name, value, "--description", "r" * 70).code == 0
    tables = (("history", name), ("list", "cli.narrow.*"), ("user", "list"), ("audit", "--take", "1"))
    history, listed, users, audit = (on_terminal(*table, columns=columns).splitlines() for table in tables)
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+"
    assert re.match(rf"\d+ +\d+ +{when}  adm\S+  w+…  r+…$", history[1])
    assert re.match(r"cli\.narrow\.n*…  \d        w+…$", listed[1])
    assert re.search(rf"{when}$|never$", users[1])
    assert any(re.search(rf"{when}(  |$)", line) for line in audit[:2])  # of 60 columns each cell has a line
    assert max(map(len, (*history, *listed, *users))) <= columns


def test_where_columns_do_not_fit_each_cell_has_a_line(logged_in: Run) -> None:
    """On a very narrow terminal no line of a table is cut into pieces, and rows are set apart."""
    user = r"id +\d+\nlogin +admin\nrole +admin\nstatus +active\nlast login  \d{4}-[^\n]+\n"
    assert re.match(rf"{user}(\n(\w+.*\n){{5}})*$", on_terminal("user", "list", columns=30))
    assert logged_in("device", "put", "cli-thin", "--name", "n" * 60).code == 0
    assert "\nname     " + "n" * 60 + "\n" in on_terminal("device", "list", "nnn%", columns=30)
    assert max(map(len, on_terminal("device", "list", "nnn%", columns=45).splitlines())) <= 45
    assert "\ncli-thin  nn" in on_terminal("device", "list", "nnn%", columns=45)
    sample = "e50d6085-2aba-48e9-b1c3-73c673e414be"
    assert f"\n{sample}  Sam" in on_terminal("device", "list", "Sample%", columns=76)
    assert logged_in("device", "delete", "cli-thin").code == 0


def test_a_table_on_a_terminal_has_a_line_for_each_and_obeys_no_value(logged_in: Run) -> None:
    """A value is cut to the width, and its escape sequences and markup are text."""
    logged_in("put", "cli.table.a", "\x1b]0;owned\x07[bold]x[/bold]\nsecond line")
    logged_in("put", "cli.table.b", "y" * 5_000)
    lines = on_terminal("list", "cli.table.*", columns=60).splitlines()
    assert len(lines) == 3
    assert r"\x1b]0;owned\x07[bold]x[/bold]\nsec" in lines[1]
    assert len(lines[2]) <= 60
    assert lines[2].rstrip().endswith("y…")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full_is_one_line(logged_in: Run) -> None:
    """`hivewire list > file` on a full disk says what is wrong, without a traceback."""
    logged_in("put", "cli.full.a", "x" * 60_000)
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "hivewire", "list", "cli.full.*"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.startswith(b"hivewire: error: ") and b"No space left" in done.stderr


def test_a_closed_pipe_is_not_an_error(logged_in: Run) -> None:
    """`hivewire list | head -1` says nothing on standard error."""
    logged_in("put", "cli.pipe.a", "x" * 60_000)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        done = subprocess.run(
            [sys.executable, "-m", "hivewire", "list", "cli.pipe.*"], stdout=broken, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b""


def test_a_directory_that_is_missing_is_named(run: Run, data: Path) -> None:
    """Before anything is read, and without the name of the temporary file."""
    data.touch()
    for command in (["backup", "--data", str(data), "/no/such/file"], ["export", "--output", "/no/such/file"]):
        assert run(*command) == (1, "", "hivewire: error: cannot write /no/such/file: /no/such: no such directory\n")


def test_a_privilege_is_taken_in_small_letters(run: Run, data: Path) -> None:
    """`--privilege` takes the names of privileges in lower case too."""
    assert (
        run("client", "add", "c", "--tenant", "t", "--privilege", "update", "--url", NOWHERE, "--token", "t").code == 3
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is not JSON: "), (b"\xff", "is not UTF-8 at byte 0"), (b"[]", "is not a JSON object")],
)
def test_an_invalid_document_is_named(run: Run, tmp_path: Path, content: bytes, words: str) -> None:
    """Before anything is requested from a gateway, and with the name of the file."""
    file = tmp_path / "shop.json"
    file.write_bytes(content)
    outcome = run("tenant", "put", "shop", str(file))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"hivewire: error: {file}") and words in outcome.err
    assert "request" not in outcome.err
